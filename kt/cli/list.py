"""`kt list`: lists the recipes in a folder."""

from pathlib import Path

import click

from kt.base.console import tell, tell_json
from kt.base.names import printable
from kt.cli.options import json_option
from kt.errors import RecipeError
from kt.recipe import is_recipe, summary_of


@click.command("list")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("recipes"))
@json_option
def command(folder: Path, as_json: bool) -> None:
    """List the recipes in a folder.

    Shows each with the first line of its docstring; none is run. FOLDER is recipes/ by default.
    """
    if not folder.is_dir():
        raise RecipeError(
            f"There is no folder {folder}; name one that holds recipes, or make one with: kt new recipes/mine.py"
        )
    summaries = {str(file): summary_of(file) for file in sorted(folder.glob("*.py")) if is_recipe(file)}
    if as_json:
        tell_json([{"file": file, "summary": summary} for file, summary in summaries.items()], indent=2)
        return
    width = max((len(printable(file)) for file in summaries), default=0)
    for file, summary in summaries.items():
        tell(f"{printable(file):<{width}}  {summary}")
    if not summaries:
        tell(f"no recipe in {folder}")
