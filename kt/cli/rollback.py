"""`kt rollback`: lets a label stand for its version before."""

from pathlib import Path

import click

from kt.base.console import tell, tell_json
from kt.cli.options import json_option, no_wait_option, saved_models_option


@click.command("rollback")
@click.argument("name")
@click.option("--label", default="stable", show_default=True, help="The label to take back.")
@click.option("--to", "version", type=click.IntRange(min=0), help="The version to go to. Default: the one before.")
@saved_models_option
@no_wait_option
@json_option
def command(name: str, label: str, version: int | None, saved_models: Path, no_wait: bool, as_json: bool) -> None:
    """Let a label stand for the version before again.

    NAME is the model's folder in saved_models/. Called again, it goes one version further back. TensorFlow Serving
    keeps the version before loaded, so it answers within seconds.
    """
    from kt.releases.promote import rollback

    move = rollback(saved_models, name, label=label, to=version, wait=not no_wait)
    if as_json:
        tell_json(move.as_json())
    else:
        tell(move.told())
