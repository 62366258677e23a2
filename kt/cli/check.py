"""`kt check`: what is wrong with a data set, before anything is trained on it."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kt.base.console import say, shown, tell, tell_json, tell_table
from kt.cli.new import check_label_column
from kt.cli.options import json_option, load_recipe
from kt.cli.typed import typed
from kt.data.tables import is_table
from kt.errors import DataError, RecipeError
from kt.findings import KINDS, Finding, worst_first

if TYPE_CHECKING:
    from kt.checkup.result import Checkup
    from kt.data import Folder, Table


def _kinds(_context: click.Context, _parameter: click.Parameter, text: str | None) -> tuple[str, ...]:
    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    if unknown := [name for name in names if name not in KINDS]:
        raise click.BadParameter(f"{unknown[0]!r} is no kind of finding; they are {', '.join(KINDS)}")
    return names


@click.command("check")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--fix", type=click.Path(path_type=Path, dir_okay=False), metavar="CSV",
              help="Write decisions on single pictures here, to edit and to apply.")  # fmt: skip
@click.option("--accept", callback=_kinds, metavar="KINDS",
              help="With --fix: proposals that count at once, such as group,label_error.")  # fmt: skip
@click.option("--apply", "applied", type=click.Path(path_type=Path, dir_okay=False), metavar="CSV",
              help="Check the data as these decisions change them.")  # fmt: skip
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write a page with the pictures side by side.")  # fmt: skip
@click.option("--label", metavar="COLUMN", help="The column of a table that has the labels, if its name does not say.")
@click.option("--group-by", metavar="WAY",
              help="Which pictures show one thing: folder, prefix, none, a regular expression, a column.")  # fmt: skip
@click.option("--quick", is_flag=True, help="Leave out what needs a network: labels, outliers, groups, another test.")
@click.option("--strict", is_flag=True, help="Exit with code 1 if there is an error or a warning.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the folds and of random draws.")
@json_option
@click.pass_context
def command(
    context: click.Context,
    data: Path,
    fix: Path | None,
    accept: tuple[str, ...],
    applied: Path | None,
    html: Path | None,
    label: str | None,
    group_by: str | None,
    quick: bool,
    strict: bool,
    seed: int,
    as_json: bool,
) -> None:
    """Say what is wrong with pictures before training on them.

    DATA is a folder with one sub-folder a class, a zip of one, a CSV of path,label, or a recipe, whose pictures are
    taken. Looks for files that can't be read, copies (also across splits and classes), likely wrong labels, outliers,
    shortcuts, and things that were photographed several times. Nothing is changed.

    --fix writes a CSV of decisions: what to leave out, relabel or group. What is only likely has "no" in the column
    apply, until you change that to "yes". A recipe applies it: Folder(..., fixes="fixes.csv").
    """
    if accept and fix is None:
        raise click.UsageError("--accept says which proposals count in the file that --fix writes; give --fix too.")
    if not 0 <= seed < 2**31:
        raise RecipeError(f"--seed must be from 0 to 2147483647, not {seed}.")
    for file, option in ((fix, "--fix"), (html, "--html")):
        _check_writable(file, option)
    if not data.exists() and data.suffix != ".py":
        raise DataError(f"There is no {data}; expected a folder with one sub-folder a class, or a CSV of path,label.")

    if data.suffix != ".py":
        check_label_column(label, data)
    if not quick:
        from kt.base import backend

        backend.start(None)  # takes seconds, and 400 MB
    source = _source(data, label=label, group_by=group_by, applied=applied)

    from kt.checkup.main import check_up

    result = check_up(source, seed=seed, quick=quick)
    if html is not None:
        from kt.report.checked import write_page

        write_page(html, result)
    written = None
    if fix is not None:
        from kt.findings import write_fixes

        written = write_fixes(fix, result.findings, accept=accept)
    if as_json:
        tell_json(result.to_json())
    else:
        _tell(result)
        if written is not None and fix is not None:
            tell(
                _in_words(
                    fix, written["yes"], written["no"], applied_by=_command(data, fix, label=label, group_by=group_by)
                )
            )
        if html is not None:
            tell(f"page: {shown(html)}")
    if strict and any(finding.severity != "note" for finding in result.findings):
        context.exit(1)


def _check_writable(file: Path | None, option: str) -> None:
    """Raise RecipeError if the file is there already and may hold a person's decisions, or its folder is missing."""
    if file is None:
        return
    if option == "--fix" and file.exists():
        raise RecipeError(f"{file} is there already, perhaps with decisions of yours; give {option} another name.")
    if not file.absolute().parent.is_dir():
        raise RecipeError(f"There is no folder {file.absolute().parent} for {option} to write to.")


def _source(data: Path, *, label: str | None, group_by: str | None, applied: Path | None) -> "Folder | Table":
    """The source that a run would read the pictures with."""
    given = {"label_column": label, "group_by": group_by, "fixes": None if applied is None else str(applied)}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if data.suffix == ".py":
        return _of_recipe(data, changes)
    from kt.data import Folder, Table

    if is_table(data):
        return Table(str(data), **changes)
    return Folder(str(data), **changes)


def _of_recipe(file: Path, changes: dict[str, Any]) -> "Folder | Table":
    import dataclasses

    from kt.data import Folder, Table

    source = load_recipe(file, backend=None).recipe.data
    if not isinstance(source, Folder | Table):
        raise DataError(
            f"{file} takes its data from {type(source).__name__}; kt check reads the pictures of a Folder or a Table."
        )
    if "label_column" in changes and not isinstance(source, Table):
        raise RecipeError(f"--label names a column of a table, and {file} takes its pictures from a folder.")
    return dataclasses.replace(source, **changes)


# -------------------------------------------------------------------------------------------------------------- output


def _tell(result: "Checkup") -> None:
    """The findings for a person: a row a kind, the worst first."""
    for note in result.left_out:
        say(f"not looked at: {note}")
    if not result.findings:
        tell(f"{result.in_words()}: nothing was found")
        return
    from rich.table import Table as Rows

    rows = Rows(box=None, pad_edge=False, show_edge=False)
    for title in ("", "found", "what to do"):
        rows.add_column(title, overflow="fold")
    for kind in dict.fromkeys(finding.kind for finding in worst_first(result.findings)):
        of_kind = [finding for finding in result.findings if finding.kind == kind]
        rows.add_row(of_kind[0].severity, _sentence(of_kind), of_kind[0].advice)
    tell(result.in_words())
    tell_table(rows)


def _sentence(of_kind: "list[Finding]") -> str:
    """What was found of one kind: its only finding's words, or how many there are and the words of the first."""
    from kt.base.names import printable

    first = of_kind[0]
    if len(of_kind) == 1:
        return printable(first.words)
    told = f"{sum(not finding.sums_up for finding in of_kind):,} {KINDS[first.kind]}"
    return printable(f"{told}. {first.words}" if first.sums_up else f"{told}, such as: {first.words}")


def _in_words(file: Path, counted: int, waiting: int, *, applied_by: str) -> str:
    """What was written: how many decisions count, and how many wait for a person."""
    count = "1 decision counts" if counted == 1 else f"{counted:,} decisions count"
    rest = ""
    if waiting:
        which = "is a proposal, which counts" if waiting == 1 else "are proposals, which count"
        rest = f"; {waiting:,} {which} once you write yes in the column apply"
    return f"fixes: {shown(file)}, {count}{rest}; {applied_by} applies them"


def _command(data: Path, fix: Path, *, label: str | None, group_by: str | None) -> str:
    """The command that trains on the data as it was checked and as the decisions change it."""
    given = {"label_column": label, "group_by": group_by, "fixes": fix}
    settings = (shlex.quote(f"data.{name}={value}") for name, value in given.items() if value is not None)
    return " ".join(["kt run", typed(data), *(f"--set {setting}" for setting in settings)])
