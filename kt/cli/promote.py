"""`kt promote`: lets a label stand for a version."""

from pathlib import Path

import click

from kt.base.console import tell, tell_json
from kt.cli.options import json_option, no_wait_option, saved_models_option


@click.command("promote")
@click.argument("name")
@click.argument("version", type=click.IntRange(min=0), required=False)
@click.option("--label", default="stable", show_default=True, help="The label, such as stable or canary.")
@saved_models_option
@no_wait_option
@json_option
def command(name: str, version: int | None, label: str, saved_models: Path, no_wait: bool, as_json: bool) -> None:
    """Let a label of a released model stand for a version.

    NAME is the model's folder in saved_models/, VERSION by default its newest. From then on this version answers
    clients that ask for the label; kt rollback takes it back.

    A label in use moves only after a running TensorFlow Serving has had the time to load the version, up to 15 s.
    """
    from kt.releases.promote import promote

    move = promote(saved_models, name, version=version, label=label, wait=not no_wait)
    if as_json:
        tell_json(move.as_json())
    else:
        tell(move.told())
