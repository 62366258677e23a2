"""`kt evaluate`: measures a released model on labelled examples."""

from pathlib import Path

import click

from kt.base.console import tell, tell_json, warn
from kt.cli.exported import exported
from kt.cli.options import json_option
from kt.errors import DataError
from kt.runs.listing import is_run


@click.command("evaluate")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path),
              help="Your pictures: a folder with one sub-folder a class, or a CSV of path,label. "
                   "For a model of rows: a CSV or Parquet table.")  # fmt: skip
@click.option("--label", metavar="COLUMN", help="The column of a table that has the labels, if its name does not say.")
@click.option("--group-by", default="auto", show_default=True, metavar="WAY",
              help="Which pictures show one thing: folder, prefix, none, a regular expression, a column.")  # fmt: skip
@click.option("--seed", type=int, help="Seed of the bootstrap's resamples. Default: 0, or that of the run.")
@json_option
def command(model: Path, data: Path | None, label: str | None, group_by: str, seed: int | None, as_json: bool) -> None:
    """Measure a released model on pictures or rows with labels.

    MODEL is saved_models/NAME (its newest version), one version of it, or one file of a version. Figures come with 95%
    bootstrap intervals, drawn over groups where several pictures show one thing. If a folder has train/ and test/, or a
    table has a column of splits, only test is measured. An example that can't be read is reported on standard error
    and left out.

    MODEL may be a run, such as runs/apples/LATEST: then its export is measured. Without --data the scores of its test
    pictures, which a run keeps, are measured again; neither the pictures nor the model are needed for that.
    """
    if data is None:
        if label is not None:
            raise click.UsageError("--label goes with --data PATH.")
        _measure_run(model, seed=seed, as_json=as_json)
        return
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


def _measure_run(run: Path, *, seed: int | None, as_json: bool) -> None:
    """Measure the scores that a run keeps of its test pictures again."""
    if not is_run(run.resolve()):
        raise DataError(f"{run} needs pictures to be measured on: --data PATH. Only a run holds what it answered.")
    from kt.base import backend

    backend.start("tensorflow")
    from kt.heads.classification.measure import evaluate
    from kt.report import figures
    from kt.runs.answers import answers_of

    kept = answers_of(run)
    test = evaluate(
        kept.scores, kept.labels, kept.classes, groups=kept.groups, seed=kept.seed if seed is None else seed
    )
    if as_json:
        tell_json({**test, "skipped": []})
    else:
        tell(*figures(test, kind=kept.kind).split("\n"))
