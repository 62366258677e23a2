"""`kt report`: makes the page of a run again, or sets two runs side by side."""

from pathlib import Path

import click

from kt.base.console import shown, tell, tell_json
from kt.cli.options import json_option
from kt.errors import ReleaseError


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("other", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False),
              help="Where the page of two runs goes. Default: into the second run's folder.")  # fmt: skip
@json_option
def command(run: Path, other: Path | None, out: Path | None, as_json: bool) -> None:
    """Make the page of a run again, or set two runs side by side.

    RUN is its folder, such as runs/apples/LATEST. The page has the layout of this version of kt, and the figures of the
    run's report.json; the model card is made again too. Neither the pictures nor the model are needed.

    With OTHER, a page shows both: their figures, the settings that differ, and, where their tests have pictures in
    common, the differences on these (OTHER minus RUN) with intervals.
    """
    for folder in (run, other):
        if folder is not None and not folder.is_dir():
            raise ReleaseError(f"There is no {shown(folder)}; kt runs shows which runs there are.")
    if other is not None:
        _side_by_side(run, other, out=out, as_json=as_json)
        return
    if out is not None or as_json:
        raise click.UsageError("--out and --json go with two runs: kt report RUN OTHER. The report of one run is its "
                               "report.html and report.json.")  # fmt: skip
    from kt import report  # here, because it loads what draws charts; neither TensorFlow nor Keras is loaded

    tell(f"report: {shown(report.again(run))}")


def _side_by_side(run: Path, other: Path, *, out: Path | None, as_json: bool) -> None:
    """Compare two runs, write the page, and print what it says."""
    from kt.base.files import replace_text
    from kt.base.run_folder import SIDE_BY_SIDE
    from kt.report.side_by_side import sentences, side_by_side_page
    from kt.strategy.side_by_side import side_by_side

    results = side_by_side(run, other)
    page = out or other / f"{SIDE_BY_SIDE}{'-'.join(run.resolve().parts[-2:])}.html"
    replace_text(page, side_by_side_page(results))
    if as_json:
        tell_json(results)
        return
    for line in sentences(results):
        tell(line)
    tell(f"report: {shown(page)}")
