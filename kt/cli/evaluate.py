"""`kt evaluate`: a released model on labelled pictures."""

from pathlib import Path

import click

from kt.cli.options import json_option
from kt.console import tell, tell_json, warn
from kt.errors import DataError


@click.command("evaluate")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True,
              help="Your pictures: a folder with one sub-folder a class, named as the model names them.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the bootstrap's resamples.")
@json_option
def command(model: Path, data: Path, seed: int, as_json: bool) -> None:
    """Measure a released model on labelled pictures.

    MODEL is saved_models/NAME (its newest version), one version of it, or one file of that. Figures come with 95 %
    bootstrap intervals. A picture that can't be read is told on standard error and left out.
    """
    from kt import backend

    backend.start("tensorflow")
    from kt.data.sources import before_double_underscore, class_files
    from kt.evaluate import evaluate
    from kt.export.artifact import open_artifact
    from kt.report import figures
    from kt.serve import scores_of

    artifact = open_artifact(model)
    if not data.is_dir():
        raise DataError(f"There is no folder {data}; expected one with a sub-folder a class.")
    found = class_files(data)
    if unknown := sorted(set(found) - set(artifact.classes)):
        raise DataError(f"The model knows no class {unknown[0]!r} of {data}; it knows: {', '.join(artifact.classes)}.")
    files = [file for label in found for file in found[label]]
    labels = [artifact.classes.index(label) for label in found for _ in found[label]]
    scores, good, bad = scores_of(artifact, files)
    for answer in bad:
        warn(f"skipped {answer.path}: {answer.error}")
    if not good:
        raise DataError(f"None of {len(files)} pictures in {data} could be read.")
    groups = [f"{labels[index]} {before_double_underscore(files[index])}" for index in good]
    test = evaluate(scores, [labels[index] for index in good], artifact.classes, groups=groups, seed=seed)
    if as_json:
        tell_json({**test, "skipped": [str(answer.path) for answer in bad]})
    else:
        tell(*figures(test).split("\n"))
