"""`kt runs`: shows runs and how far each is; `kt runs rm` and `kt runs clean` remove some."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from kt.base.console import shown, tell, tell_json, tell_table
from kt.base.numbers import figure, size
from kt.cli.options import json_option, runs_option
from kt.errors import RecipeError, ReleaseError


@click.group("runs", invoke_without_command=True)
@runs_option
@json_option
@click.pass_context
def command(context: click.Context, runs: Path, as_json: bool) -> None:
    """Show all runs, and how far each is.

    A run that was interrupted or has failed goes on with kt run --resume RUN.
    """
    context.obj = runs
    if context.invoked_subcommand is not None:
        return
    from rich.table import Table

    from kt.runs.listing import listed

    entries = listed(runs)
    if as_json:
        tell_json([run.as_json() for run in entries])
        return
    if not entries:
        tell(f"There are no runs in {shown(runs)}; kt run RECIPE makes one.")
        return
    table = Table(box=None, pad_edge=False)
    for head in ("run", "state", "balanced accuracy", "size"):
        table.add_column(head, justify="right" if head in ("balanced accuracy", "size") else "left")
    for run in entries:
        accuracy = figure(run.figure) if run.figure is not None else "-"
        table.add_row(*map(_cell, (shown(run.folder), run.in_words, accuracy, size(run.size))))
    tell_table(table)
    unfinished = [run for run in entries if run.kind == "run" and run.state in ("interrupted", "failed") and run.record]
    if unfinished:
        tell(f"go on with one    kt run --resume {shown(unfinished[-1].folder)}")


def _cell(text: str) -> str:
    from kt.base.names import printable

    return printable(text)


@command.command("rm")
@click.argument("which", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Remove without asking.")
def rm(which: Sequence[Path], yes: bool) -> None:
    """Remove runs, such as runs/apples/20260131-090000.

    What they released stays in saved_models/.
    """
    from kt.runs.listing import is_run

    for run in which:
        if not run.is_dir() or not is_run(run.resolve()):
            raise ReleaseError(f"{shown(run)} is no run; kt runs shows what is there.")
    _remove([run.resolve() for run in which], yes=yes)


@command.command("clean")
@click.option("--keep", type=click.IntRange(min=0), default=5, show_default=True,
              help="How many of the newest runs of each recipe stay.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Remove without asking.")
@click.pass_obj
def clean(runs: Path, keep: int, yes: bool) -> None:
    """Remove all but the newest runs of each recipe.

    A run that a process works on stays, and so does the newest finished one.
    """
    from kt.runs.listing import too_many

    old = too_many(runs, keep=keep)
    if not old:
        tell(f"There is nothing to remove in {shown(runs)}.")
        return
    _remove(old, yes=yes)


def _remove(folders: Sequence[Path], *, yes: bool) -> None:
    from kt.runs.listing import remove, size_of

    for folder in folders:
        tell(f"{shown(folder)}  {size(size_of(folder))}")
    if not yes:
        if not sys.stdin.isatty():
            raise RecipeError("Nobody is there to be asked whether to remove these; --yes removes without asking.")
        click.confirm(f"Remove {len(folders)} run{'s' if len(folders) != 1 else ''}?", abort=True, err=True)
    for folder in folders:
        remove(folder)
    tell(f"removed {len(folders)} run{'s' if len(folders) != 1 else ''}")
