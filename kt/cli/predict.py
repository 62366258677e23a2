"""`kt predict`: ask a released model."""

import json
from pathlib import Path

import click

from kt.cli.options import json_option
from kt.errors import DataError


@click.command("predict")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("pictures", type=click.Path(path_type=Path), nargs=-1, required=True)
@json_option
def command(model: Path, pictures: tuple[Path, ...], as_json: bool) -> None:
    """Label pictures with a released model.

    MODEL is saved_models/NAME (its newest version), one version of it, or one file of that. PICTURES are files and
    folders. Prints path, label and score (0 to 1), a picture a line; with --json an object a line, with all scores.
    A file that can't be read is told on standard error; exit code 3 if none could be read.
    """
    from kt import backend

    backend.start("tensorflow")
    from kt.console import warn
    from kt.export.artifact import open_artifact
    from kt.serve import predict_files

    artifact = open_artifact(model)
    good = bad = 0
    for answer in predict_files(artifact, pictures):
        if answer.error:
            bad += 1
            warn(f"{answer.path}: {answer.error}")
        else:
            good += 1
        if as_json:
            click.echo(json.dumps(answer.as_json(), ensure_ascii=False))
        elif not answer.error:
            click.echo(f"{answer.path}\t{answer.label}\t{answer.score:.3f}")
    if not good:
        raise DataError(f"None of {bad} pictures could be read." if bad else "No pictures found there.")
