"""`kt report`: makes the page of a run again."""

from pathlib import Path

import click

from kt.base.console import shown, tell
from kt.errors import ReleaseError


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
def command(run: Path) -> None:
    """Make the page of a run again.

    RUN is its folder, such as runs/apples/LATEST. The page has the layout of this version of kt, and the figures of the
    run's report.json. Neither the pictures nor the model are needed.
    """
    if not run.is_dir():
        raise ReleaseError(f"There is no {shown(run)}; kt runs shows which runs there are.")
    from kt import report  # here, because it loads what draws charts; neither TensorFlow nor Keras is loaded

    tell(f"report: {shown(report.again(run))}")
