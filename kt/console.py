"""What kt says: progress to standard error, results to standard output. All of it passes through here.

On a terminal there are colours and progress bars; elsewhere plain lines, and no bars. Names of files and classes come
from others, so every line is made `printable` here, where it leaves: no name can break a line, forge one, colour it, or
end a run because it can't be encoded.
"""

import json
import os
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from kt.names import json_text, printable

console = Console(stderr=True, highlight=False, soft_wrap=True)

_DESCRIPTOR = threading.Lock()
_WARNINGS = threading.Lock()
_IGNORED: Counter[tuple[str, type[Warning]]] = Counter()


def say(text: str) -> None:
    """One line for the person who watches; never markup, since it may quote a file's name."""
    console.print(Text(printable(text)))


def warn(text: str) -> None:
    """A line that should not be overlooked, though the work goes on."""
    console.print(Text(f"warning: {printable(text)}"), style="yellow")


def fail(text: str) -> None:
    """The line that a verb ends with when it can't go on."""
    console.print(Text(f"error: {printable(text)}"))


def tell(*lines: object) -> None:
    """Results for a person: each argument is a line on standard output."""
    _out(in_lines(lines))


def tell_cells(*cells: object) -> None:
    """A row of results on standard output, with tabs between the cells and nowhere else."""
    _out("\t".join(map(printable, cells)))


def tell_table(table: Table) -> None:
    """A table of results on standard output, nothing of it cut off.

    A narrow terminal gets its cells in several lines; a file or another program gets each row in one.
    """
    out = Console(highlight=False, markup=False)
    if not out.is_terminal:
        wide = out.options.update(max_width=sys.maxsize)
        out.width = max(out.width, Measurement.get(out, wide, table).maximum)
    out.print(table)


def tell_json(value: Any, *, indent: int | None = None) -> None:
    """Results for a program: JSON on standard output, in which every name can be read as it is (`kt.names`)."""
    text = json_text(value, indent=indent, strict=False)
    _out(text if _encodable(text) else json.dumps(json.loads(text), indent=indent))


def in_lines(lines: Iterable[object]) -> str:
    """Lines as one text, for whoever wants it whole: no name in it adds a line; `tell` takes its `split("\\n")`."""
    return "\n".join(map(printable, lines))


def _out(text: str) -> None:
    """Write to standard output now, whatever its encoding."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()


def _encodable(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


class _Rate(ProgressColumn):
    """Steps a second, such as images/s."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f} {self._unit}/s" if task.speed else "")


class Bar:
    """A progress bar; does nothing where standard error is not a terminal."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Move on by `steps`; `note` stands behind the bar (a loss, a rate)."""
        self._progress.update(self._task, advance=steps, note=printable(note))

    def restart(self, title: str, total: int) -> None:
        """Begin again from nothing under a new title, such as the next epoch."""
        self._progress.reset(self._task, description=printable(title), total=total, note="")


@contextmanager
def progress_bar(title: str, total: int, *, unit: str = "images") -> Iterator[Bar]:
    """A bar for `total` steps, with the rate in `unit`s a second and the time left."""
    columns = [
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(unit),
        TextColumn("{task.fields[note]}", markup=False),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, progress.add_task(printable(title), total=total, note=""))


@contextmanager
def hushed() -> Iterator[None]:
    """Say nothing for a while: what is tried out is not to look like the work itself."""
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before


@contextmanager
def unwarned(message: str = "", category: type[Warning] = Warning) -> Iterator[None]:
    """Ignore a kind of Python's warnings for a while, in all threads; message: a pattern that its text begins with.

    Several threads may at once, for which `warnings.catch_warnings` is not made: it puts back what it found when it
    began, and so undoes what another thread has set since.
    """
    kind = f"(?#kt){message}", category  # a comment, so that no filter of somebody else's is the same
    with _WARNINGS:
        _IGNORED[kind] += 1
        warnings.filterwarnings("ignore", message=kind[0], category=category)
    try:
        yield
    finally:
        with _WARNINGS:
            _IGNORED[kind] -= 1
            if not _IGNORED[kind]:
                filters: Any = warnings.filters
                filters[:] = [one for one in filters if (getattr(one[1], "pattern", ""), one[2]) != kind]


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what C++ libraries write to standard error's descriptor, such as while they load; one thread at once."""
    with _DESCRIPTOR:
        sys.stderr.flush()
        kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(sink)


def shown(path: Path) -> str:
    """The path as a person would type it: relative where it lies below the working directory."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
