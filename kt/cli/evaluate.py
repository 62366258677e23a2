"""`kt evaluate`: measures a released model on labelled examples."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kt.base.console import tell, tell_json, warn
from kt.cli.exported import exported
from kt.cli.options import by_class, json_option
from kt.errors import DataError, did_you_mean
from kt.runs.listing import is_run

if TYPE_CHECKING:
    from kt.heads.classification.thresholds import Figure
    from kt.runs.answers import KeptAnswers


@click.command("evaluate")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path),
              help="Your pictures: a folder with one sub-folder a class, or a CSV of path,label. "
                   "For a model of rows: a CSV or Parquet table.")  # fmt: skip
@click.option("--label", metavar="COLUMN", help="The column of a table that has the labels, if its name does not say.")
@click.option("--group-by", default="auto", show_default=True, metavar="WAY",
              help="Which pictures show one thing: folder, prefix, none, a regular expression, a column.")  # fmt: skip
@click.option("--seed", type=int, help="Seed of the bootstrap's resamples. Default: 0, or that of the run.")
@click.option("--precision", multiple=True, callback=by_class, metavar="LABEL=SHARE",
              help="Of a run: the lowest score of a class with this precision, such as good=0.9.")  # fmt: skip
@click.option("--recall", multiple=True, callback=by_class, metavar="LABEL=SHARE",
              help="Of a run: the highest score of a class with this recall, such as bad=0.9.")  # fmt: skip
@json_option
def command(
    model: Path,
    data: Path | None,
    label: str | None,
    group_by: str,
    seed: int | None,
    precision: tuple[tuple[str, float], ...],
    recall: tuple[tuple[str, float], ...],
    as_json: bool,
) -> None:
    """Measure a released model on pictures or rows with labels.

    MODEL is saved_models/NAME (its newest version), one version of it, or one file of a version. Figures come with 95%
    bootstrap intervals, drawn over groups where several pictures show one thing. If a folder has train/ and test/, or a
    table has a column of splits, only test is measured. An example that can't be read is reported on standard error
    and left out.

    MODEL may be a run, such as runs/apples/LATEST: then its export is measured. Without --data the scores of its test
    pictures, which a run keeps, are measured again; neither the pictures nor the model are needed for that.

    With --precision and --recall, the thresholds come from its validation pictures, each with a lower bound of 95%
    confidence; then they are measured on test. kt predict --threshold uses them.
    """
    if data is None:
        if label is not None:
            raise click.UsageError("--label goes with --data PATH.")
        _measure_run(model, seed=seed, asked=_asked(precision, recall), as_json=as_json)
        return
    if precision or recall:
        raise click.UsageError("--precision and --recall go with a run without --data: validation gives thresholds.")
    from kt.base import backend

    backend.start("tensorflow")
    from kt.data.labelled import Question, labelled
    from kt.export.artifact import open_artifact
    from kt.heads.classification.measure import evaluate
    from kt.predict import scores_of
    from kt.report import figures

    artifact = open_artifact(exported(model))
    known = labelled(data, artifact.kind, artifact.classes, Question(group_by, label))
    scores, good, bad = scores_of(artifact, known.sources)
    for answer in bad:
        warn(f"skipped {answer.path}: {answer.error}")
    many = artifact.kind.many
    if not good:
        raise DataError(f"None of {len(known.sources)} {many} in {data} could be read.")
    labels = [known.labels[index] for index in good]
    if lost := sorted(set(known.labels) - set(labels)):
        raise DataError(f"None of the {many} of {', '.join(lost)} in {data} could be read; the warnings above say why.")
    test = evaluate(
        scores,
        [artifact.classes.index(label) for label in labels],
        artifact.classes,
        groups=[known.groups[index] for index in good],
        seed=seed or 0,
    )
    if as_json:
        tell_json({**test, "skipped": [str(answer.path) for answer in bad]})
    else:
        tell(*figures(test, kind=artifact.kind.name).split("\n"))


def _asked(
    precision: tuple[tuple[str, float], ...], recall: tuple[tuple[str, float], ...]
) -> "list[tuple[Figure, str, float]]":  # fmt: skip
    """The wanted figures, with class and share."""
    return [*(("precision", *each) for each in precision), *(("recall", *each) for each in recall)]


def _measure_run(run: Path, *, seed: int | None, asked: "list[tuple[Figure, str, float]]", as_json: bool) -> None:
    """Measure the scores that a run keeps of its test pictures again, and the thresholds that are asked for."""
    if not is_run(run.resolve()):
        raise DataError(f"{run} needs pictures to be measured on: --data PATH. Only a run holds what it answered.")
    from kt.base import backend

    backend.start("tensorflow")
    from kt import kinds
    from kt.heads.classification.measure import evaluate
    from kt.report import figures
    from kt.runs.answers import answers_of

    kept = answers_of(run)
    test = evaluate(
        kept.scores, kept.labels, kept.classes, groups=kept.groups, seed=kept.seed if seed is None else seed
    )
    thresholds = _thresholds(run, kept, asked) if asked else []
    if as_json:
        tell_json({**test, "skipped": [], **({"thresholds": thresholds} if asked else {})})
    else:
        tell(*figures(test, kind=kept.kind).split("\n"))
        for row in thresholds:
            tell(*_in_words(row, kinds.nouns(kept.kind).many))


def _thresholds(run: Path, test: "KeptAnswers", asked: "list[tuple[Figure, str, float]]") -> list[dict[str, Any]]:
    """Each threshold by validation, or why there is none, and what it gives on test."""
    from dataclasses import asdict

    from kt import kinds
    from kt.heads.classification.thresholds import measured_threshold, threshold_for
    from kt.runs.answers import answers_of

    validation = answers_of(run, "validation")
    rows = []
    for figure, label, wanted in asked:
        if label not in test.classes:
            raise DataError(f"The run has no class {label!r}. {did_you_mean(label, test.classes)}")
        found = threshold_for(
            figure, wanted, validation.scores, validation.labels, validation.groups, classes=validation.classes,
            label=label, many=kinds.nouns(test.kind).many,
        )  # fmt: skip
        column = test.classes.index(label)
        measured = None
        if found.score is not None:
            measured = measured_threshold(found.score, test.scores, test.labels, test.groups, column=column)
        rows.append({**asdict(found), "test": measured})
    return rows


def _in_words(row: dict[str, Any], many: str) -> list[str]:
    """The lines of a threshold for a person."""
    from kt.base.metrics import CONFIDENCE

    wanted = f"{row['figure']} {row['label']}={row['wanted']:g}"
    if row["score"] is None:
        return [f"{wanted}: no threshold: {row['reason']}"]
    option = shlex.quote(f"{row['label']}={row['score']:g}")
    test = row["test"]
    figures = []
    for name in ("precision", "recall"):
        if test[name] is not None:
            low, high = test["intervals"][name]
            figures.append(f"{name} {test[name]:.3f} ({low:.3f} to {high:.3f})")
    return [
        f"{wanted}: --threshold {option}; on validation at least {row['bound']:.3f} with {CONFIDENCE:.0%} confidence "
        f"({row['examples']:,} {many} of {row['groups']:,} things)",
        f"    on test {', '.join(figures) or 'none reaches it'}; {test['reached']:,} of {test['examples']:,} reach it",
    ]
