"""`kt evaluate`: a released model on labelled pictures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from kt.cli.options import json_option
from kt.console import say, tell, tell_json, warn
from kt.data.groups import check_group_by, find_groups
from kt.data.labels import class_of
from kt.data.layout import read_layout, to_measure
from kt.data.tables import is_table, listing
from kt.data.tables.listing import check_table_group_by
from kt.errors import DataError


@click.command("evaluate")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True,
              help="Your pictures: a folder with one sub-folder a class, or a CSV of path,label.")  # fmt: skip
@click.option("--group-by", default="auto", show_default=True, metavar="WAY",
              help="Which pictures show one thing: folder, prefix, none, a regular expression, a column.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap's resamples.")
@json_option
def command(model: Path, data: Path, group_by: str, seed: int, as_json: bool) -> None:
    """Measure a released model on labelled pictures.

    MODEL is saved_models/NAME (its newest version), one version of it, or one file of that. Figures come with 95%
    bootstrap intervals, drawn over things where several pictures show one. Of a folder above train/ and test/, or a
    table with a column of splits, test alone is measured. A picture that can't be read is told on standard error and
    left out.
    """
    (check_table_group_by if is_table(data) else check_group_by)(group_by)
    from kt import backend

    backend.start("tensorflow")
    from kt.evaluate import evaluate
    from kt.export.artifact import open_artifact
    from kt.report import figures
    from kt.serve import scores_of

    artifact = open_artifact(model)
    read = labelled_table if is_table(data) else labelled_folder
    found = read(data, artifact.classes, group_by=group_by)
    scores, good, bad = scores_of(artifact, found.files)
    for answer in bad:
        warn(f"skipped {answer.path}: {answer.error}")
    if not good:
        raise DataError(f"None of {len(found.files)} pictures in {data} could be read.")
    labels = [found.labels[index] for index in good]
    if lost := sorted(set(found.labels) - set(labels)):
        raise DataError(f"No picture of {', '.join(lost)} in {data} could be read; the warnings above say why.")
    test = evaluate(
        scores,
        [artifact.classes.index(label) for label in labels],
        artifact.classes,
        groups=[found.groups[index] for index in good],
        seed=seed,
    )
    if as_json:
        tell_json({**test, "skipped": [str(answer.path) for answer in bad]})
    else:
        tell(*figures(test).split("\n"))


@dataclass(frozen=True)
class Labelled:
    """Picture files, the model's name for the class of each, and the thing that each shows."""

    files: list[Path]
    labels: list[str]
    groups: list[str]


def labelled_folder(data: Path, classes: Sequence[str], *, group_by: str = "auto") -> Labelled:
    """The pictures of a folder with classes as a model names them. Says how the folder is understood.

    Raises DataError for a class that the model does not know.
    """
    if not data.exists():
        raise DataError(f"There is no folder {data}; expected one with a sub-folder a class.")
    layout = read_layout(data, decided=group_by != "auto", known=classes)
    chosen, fact = to_measure(layout)
    named = _named(chosen.counts(), classes, data)
    # No split is drawn here, so two things of a class are enough to draw intervals over.
    groups = find_groups(chosen.places(), group_by, fewest=2, missing=0)
    _tell([*layout.facts, fact, groups.fact], layout.notes)
    labels = [named[placed.label] for placed in chosen.pictures]
    return Labelled([placed.file for placed in chosen.pictures], labels, list(groups.names))


def labelled_table(data: Path, classes: Sequence[str], *, group_by: str = "auto") -> Labelled:
    """The pictures of a table with classes as a model names them. Says how the table is understood.

    Raises DataError for a class that the model does not know.
    """
    layout = listing.read_table(data, group_by=group_by, known=classes, fewest=2, drawn=False)
    chosen, fact = listing.to_measure(layout)
    named = _named(chosen.counts(), classes, data)
    _tell([*layout.facts, fact], layout.notes)
    return Labelled(
        [picture.file for picture in chosen.pictures],
        [named[picture.label] for picture in chosen.pictures],
        [picture.group for picture in chosen.pictures],
    )


def _named(labels: Iterable[str], classes: Sequence[str], data: Path) -> dict[str, str]:
    """The model's name for each class; raises DataError for one that it does not know."""
    named = {label: class_of(label, classes) for label in labels}
    if unknown := [label for label, name in named.items() if name is None]:
        raise DataError(f"The model knows no class {unknown[0]!r} of {data}; it knows: {', '.join(classes)}.")
    return {label: str(name) for label, name in named.items()}


def _tell(facts: Iterable[str], notes: Iterable[str]) -> None:
    for line in facts:
        if line:
            say(line)
    for note in notes:
        warn(note)
