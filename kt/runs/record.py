"""`run.json`: what a run was asked for, written before anything else, and its state.

A process holds a lock on `run.lock` while it works on a run. The system releases the lock however the process ends, so
that a killed run can be distinguished from one that still runs.
"""

import hashlib
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kt.base import run_folder
from kt.base.console import shown
from kt.base.environment import versions
from kt.base.files import read_json, replace_json
from kt.errors import ReleaseError, one_line

FORMAT = 2
"""Increased when a key of `run.json` changes its meaning or is removed."""


@dataclass(frozen=True)
class Asked:
    """What a run was asked for on the command line.

    kind: the verb. name: of the recipe. file: the recipe's; None where it came from Python. source: SHA-256 of its
    text. folder: where the command was given; relative paths start there. data, target, target_labels, settings, seed:
    changes to the recipe. backend: that trains. goal, budget, search: options of `kt run`. options: further options of
    another verb. command: the line as it was given.
    """

    name: str
    kind: str = "run"
    file: str | None = None
    source: str | None = None
    folder: str = ""
    data: str | None = None
    target: str | None = None
    target_labels: bool | None = False
    settings: tuple[str, ...] = ()
    seed: int | None = None
    backend: str | None = None
    mixed_precision: bool = False
    cached: bool = True
    saved_models: str = "saved_models"
    force: bool = False
    goal: str | None = None
    budget: str | None = None
    search: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""

    @property
    def path(self) -> Path | None:
        """The recipe's file, absolute."""
        return None if self.file is None else Path(self.folder).absolute() / self.file


@dataclass(frozen=True)
class Record:
    """The content of `run.json`.

    id: identifies the run even if its folder is moved. state: "running", "finished", "failed" or "interrupted".
    versions: of Python and packages when it began. resumed: when it was resumed, and whether in spite of changes. why:
    the error that it failed by. headline: its main figure on the test pictures, once it has finished.
    """

    id: str
    asked: Asked
    started: str
    state: str = "running"
    versions: Mapping[str, str] = field(default_factory=dict)
    resumed: tuple[Mapping[str, Any], ...] = ()
    ended: str | None = None
    why: str = ""
    headline: Mapping[str, Any] | None = None

    @property
    def forced(self) -> bool:
        """Whether it was resumed in spite of changes since it began."""
        return bool(self.resumed and self.resumed[-1].get("forced"))


def source_of(file: Path) -> str | None:
    """SHA-256 of a recipe's text; None if it can't be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def begin(out: Path, asked: Asked) -> Record:
    """Write what is asked for into a new run's folder, with a copy of the recipe.

    The folder of a finished run may be used again, even with other pictures.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / run_folder.DATA).unlink(missing_ok=True)
    file = asked.path
    if file is not None:
        if file.is_file() and file.resolve() != (out / run_folder.RECIPE).resolve():
            shutil.copyfile(file, out / run_folder.RECIPE)
        asked = replace(asked, source=source_of(file))
    record = Record(id=secrets.token_hex(16), asked=asked, started=_now(), versions=versions())
    _write(out, record)
    return record


def go_on(out: Path, *, forced: bool) -> Record:
    """Record that the run is resumed. forced: in spite of changes since it began."""
    record = read(out)
    assert record is not None
    again = {"at": _now(), "forced": forced, "versions": versions()}
    record = replace(record, state="running", ended=None, why="", resumed=(*record.resumed, again))
    _write(out, record)
    return record


def finish(out: Path, *, headline: Mapping[str, Any] | None) -> None:
    """Record that the run has finished."""
    record = read(out)
    if record is not None:
        _write(out, replace(record, state="finished", ended=_now(), headline=headline))


def read(out: Path) -> Record | None:
    """What is known of a run; None if its `run.json` is damaged or missing, as for runs of an earlier kt.

    A run that is recorded as running, but that no process works on, was interrupted.
    """
    try:
        content = read_json(out / run_folder.RECORD)
        asked = Asked(**_known(Asked, content["asked"]))
        record = Record(**{**_known(Record, content), "asked": asked})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    record = replace(
        record, resumed=tuple(record.resumed), asked=replace(record.asked, settings=tuple(record.asked.settings))
    )
    return replace(record, state="interrupted") if record.state == "running" and not is_at_work(out) else record


def _known(kind: Any, content: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a dataclass has a field for: a later kt may have written more."""
    return {field.name: content[field.name] for field in fields(kind) if field.name in content}


def is_at_work(out: Path) -> bool:
    """Whether a process works on a run."""
    if out.absolute() in _HELD.get():
        return True
    file = out / run_folder.LOCK
    if not file.exists():
        return False
    lock = FileLock(file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # a folder that can't be written: nobody is at work there
        return False
    lock.release()
    return False


_HELD: ContextVar[tuple[Path, ...]] = ContextVar("held", default=())


@contextmanager
def at_work(out: Path) -> Iterator[None]:
    """Lock the run for this process alone, and record how it ends if it does not finish.

    Raises ReleaseError if another process works on it. Within another `at_work` of the same run it does nothing.
    """
    if out.absolute() in _HELD.get():
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / run_folder.LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ReleaseError(f"Another process is at work on {shown(out)}; wait for it, or end it.") from None
    token = _HELD.set((*_HELD.get(), out.absolute()))
    try:
        yield
    except BaseException as error:
        with suppress(Exception):  # the disk may still be full; the first error is the one to report
            _note_end(out, error)
        raise
    finally:
        _HELD.reset(token)
        lock.release()
        with suppress(OSError):
            (out / run_folder.LOCK).unlink(missing_ok=True)


def _note_end(out: Path, error: BaseException) -> None:
    record = read(out)
    if record is None or record.state == "finished":
        return
    stopped = isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
    state, why = ("interrupted", "") if stopped else ("failed", one_line(error))
    _write(out, replace(record, state=state, ended=_now(), why=why))


def _write(out: Path, record: Record) -> None:
    replace_json(out / run_folder.RECORD, {"format": FORMAT, **asdict(record)})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
