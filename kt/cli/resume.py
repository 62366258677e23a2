"""Resuming an interrupted run: finds it, and checks that it can go on as it was begun."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from kt.base.console import say, shown, warn
from kt.base.environment import versions
from kt.base.run_folder import RECIPE
from kt.cli.options import command_line
from kt.errors import RecipeError
from kt.recipe import Loaded
from kt.runs import Asked, Record, at_work, begin, go_on, new_run, read
from kt.runs.listing import folders, is_run
from kt.runs.record import source_of

F = TypeVar("F", bound=Callable[..., Any])


def resume_option(command: F) -> F:
    """The option `--resume`, for verbs that may take long."""
    return click.option(
        "--resume",
        metavar="[RUN]",
        is_flag=False,
        flag_value="",
        help="Go on with an interrupted run: RUN's folder, or the newest unfinished run of RECIPE.",
    )(command)


force_option = click.option(
    "--force",
    is_flag=True,
    help="With --resume: go on, although the recipe, the pictures or the versions have changed.",
)
"""The option `--force` of verbs that release nothing."""

_FREE = ("recipe", "resume", "runs", "force", "as_json")


def refuse_changes(context: click.Context) -> None:
    """Raise RecipeError for an option that would change the run that is to go on."""
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if given and parameter.name not in _FREE:
            raise RecipeError(
                f"--resume goes on with a run as it was begun; leave out {parameter.opts[0]}, or begin a new run."
            )


@dataclass(frozen=True)
class Job:
    """A verb's job: a new run, or one that is resumed.

    recipe: the file to load. asked: all that was asked for. out: the folder of the resumed run; None for a new one.
    force: resume in spite of changes.
    """

    recipe: Path
    asked: Asked
    out: Path | None = None
    force: bool = False

    def named(self, loaded: Loaded) -> Loaded:
        """The loaded recipe under the name that the run was begun with; the run's copy of the file has another name."""
        return loaded if self.out is None else replace(loaded, name=self.asked.name)

    def folder(self, new: Path) -> Path:
        """The run's own folder; for a new run one in `new`."""
        return new_run(new) if self.out is None else self.out

    @contextmanager
    def at_work(self, out: Path, *, name: str, file: Path | None, backend: str) -> Iterator[None]:
        """Lock the run, and record that it begins or goes on. name, file, backend: of a new run."""
        with at_work(out):
            if self.out is None:
                begin(out, replace(self.asked, name=name, file=str(file) if file else None, backend=backend))
            else:
                go_on(out, forced=self.force)
            yield


def job(
    context: click.Context, recipe: Path | None, asked: Asked, *, resume: str | None, runs: Path, force: bool
) -> Job:
    """The job of a command line.

    asked: what was given; its name, folder and command are filled in here. resume: the run to go on with, "" for the
    newest, None for a new one. A resumed run goes on in the working directory that it was begun in.
    """
    if resume is None:
        if recipe is None:
            raise click.UsageError("Missing argument 'RECIPE'.", context)
        return Job(recipe, replace(asked, name=recipe.stem, folder=str(Path.cwd()), command=command_line()))
    refuse_changes(context)
    out, record = to_resume(recipe, resume, runs=runs, kind=asked.kind)
    out = go_there(record.asked, out)
    return Job(recipe_file(out, record, force=force), record.asked, out, force)


def to_resume(recipe: Path | None, named: str, *, runs: Path, kind: str = "run") -> tuple[Path, Record]:
    """The absolute folder of the run to go on with, and its record.

    recipe: takes the newest unfinished run of this recipe; of any recipe if None. named: the run's own folder; "" for
    the newest. kind: the verb that began it. Raises RecipeError if there is none.
    """
    if named and not is_run(Path(named)):
        if recipe is not None or not Path(named).exists():
            raise RecipeError(f"{named} is no run; kt runs shows what is there.")
        recipe, named = Path(named), ""  # `kt run --resume recipe.py`
    if named:
        out = Path(named).resolve()
        record = read(out)
        if record is None:
            raise RecipeError(
                f"{named} can't be gone on with: it has no run.json, which tells how it was begun, or a damaged one; "
                "begin a new run."
            )
        _check(out, record, kind)
        return out, record
    return _newest(recipe, runs, kind)


def _newest(recipe: Path | None, runs: Path, kind: str) -> tuple[Path, Record]:
    of = f" of {recipe}" if recipe else ""
    unfinished = []
    for folder in folders(runs):
        record = read(folder)
        if record is None or record.asked.kind != kind or record.state not in ("interrupted", "failed"):
            continue
        if recipe is None or _is_of(record.asked, recipe):
            unfinished.append((record.started, folder.name, folder.resolve(), record))
    if not unfinished:
        raise RecipeError(f"There is no unfinished run{of} in {shown(runs)}; kt runs shows what is there.")
    *_, out, record = max(unfinished, key=lambda run: run[:2])
    return out, record


def _is_of(asked: Asked, recipe: Path) -> bool:
    """Whether a run is of this recipe, or of these pictures."""
    file = asked.path
    return file == recipe.absolute() or (file is not None and file.name == RECIPE and asked.name == recipe.stem)


def _check(out: Path, record: Record, kind: str) -> None:
    if record.asked.kind != kind:
        raise RecipeError(f"{shown(out)} goes on with kt {record.asked.kind} --resume {shown(out)}.")
    if record.state == "running":
        raise RecipeError(f"Another process is at work on {shown(out)}; wait for it, or end it.")
    if record.state == "finished":
        raise RecipeError(f"{shown(out)} has finished, so there is nothing to go on with.")
    if record.asked.file is None:
        raise RecipeError(
            f"{shown(out)} was begun from Python with a recipe in no file; give kt.runs.main.run the same recipe and "
            "folder."
        )


def recipe_file(out: Path, record: Record, *, force: bool) -> Path:
    """The file to load: the recipe's own if it has not changed since the run was begun, else the run's copy.

    Raises RecipeError that says what differs, if the recipe or the versions have changed. With `force` it only warns,
    and the run goes on as it was begun.
    """
    copy, asked = out / RECIPE, record.asked
    own, changes = Path(asked.file or copy), []
    same = source_of(own) == asked.source
    if not same:
        changes.append(f"{own} {'has changed' if own.exists() else 'is gone'}")
        if source_of(copy) != asked.source:
            raise RecipeError(
                f"{shown(out)} can't be gone on with: {changes[0]}, and the run has no copy of it; begin a new one."
            )
    changes += _other_versions(record)
    if changes and not force:
        raise RecipeError(
            f"Since {shown(out)} was begun, {'; '.join(changes)}. Begin a new run, or give --force: then it goes on "
            "with the recipe as it was."
        )
    for change in changes:
        warn(f"since the run was begun, {change}")
    return own if same else copy


def _other_versions(record: Record) -> list[str]:
    now = versions()
    names = [name for name in {**record.versions, **now} if record.versions.get(name) != now.get(name)]
    return [f"{name} {record.versions.get(name, 'missing')} became {now.get(name, 'missing')}" for name in names]


def go_there(asked: Asked, out: Path) -> Path:
    """Change to the folder that the run was begun in, where relative paths start; gives the run's path from there."""
    folder = Path(asked.folder)
    if asked.folder and folder != Path.cwd():
        place = shown(folder)  # before the change of folder
        try:
            os.chdir(folder)
        except OSError as error:
            warn(f"the run was begun in {place}, where nobody can work now ({error.strerror}); it goes on here")
        else:
            say(f"the run goes on in {place}, where it was begun")
    return out.relative_to(Path.cwd()) if out.is_relative_to(Path.cwd()) else out
