"""All output of kt: progress to standard error, results to standard output.

On a terminal there are colours and progress bars; elsewhere plain lines, and no bars. Names of files and classes come
from others, so every line is made `printable` here before it is written: no name can break, forge or colour a line, or
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

from kt.base.names import json_text, printable

console = Console(stderr=True, highlight=False, soft_wrap=True)

_DESCRIPTOR = threading.Lock()
_WARNINGS = threading.Lock()
_IGNORED: Counter[tuple[str, type[Warning]]] = Counter()


def say(text: str) -> None:
    """Print a line of progress. It is never markup, since it may quote a file's name."""
    console.print(Text(printable(text)))


def warn(text: str) -> None:
    """Print a warning; the work goes on."""
    console.print(Text(f"warning: {printable(text)}"), style="yellow")


def fail(text: str) -> None:
    """Print the error that a verb ends with."""
    console.print(Text(f"error: {printable(text)}"))


def tell(*lines: object) -> None:
    """Print results for a person: each argument is a line on standard output."""
    _out(in_lines(lines))


def tell_cells(*cells: object) -> None:
    """Print a row of results on standard output, with tabs only between the cells."""
    _out("\t".join(map(printable, cells)))


def tell_table(table: Table) -> None:
    """Print a table of results on standard output without cutting anything off.

    A narrow terminal gets cells of several lines; a file or another program gets each row in one line.
    """
    out = Console(highlight=False, markup=False)
    if not out.is_terminal:
        wide = out.options.update(max_width=sys.maxsize)
        out.width = max(out.width, Measurement.get(out, wide, table).maximum)
    out.print(table)


def tell_json(value: Any, *, indent: int | None = None) -> None:
    """Print results for a program: JSON on standard output, from which every name can be read (`kt.base.names`)."""
    text = json_text(value, indent=indent, strict=False)
    _out(text if _encodable(text) else json.dumps(json.loads(text), indent=indent))


def in_lines(lines: Iterable[object]) -> str:
    """Lines as one text, in which no name adds a line; `tell` takes its `split("\\n")`."""
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
        """Move on by `steps`; `note` is shown behind the bar (a loss, a rate)."""
        self._progress.update(self._task, advance=steps, note=printable(note))

    def restart(self, title: str, total: int) -> None:
        """Begin again from 0 under a new title, such as the next epoch."""
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
    """Within it nothing is printed, so that a trial does not look like the work itself."""
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before


@contextmanager
def unwarned(message: str = "", category: type[Warning] = Warning) -> Iterator[None]:
    """Within it a kind of Python's warnings is ignored in all threads. message: a pattern that its text begins with.

    Several threads may use it at once. `warnings.catch_warnings` is not made for that: it restores the filters of when
    it began, and so undoes what another thread has set since.
    """
    kind = f"(?#kt){message}", category  # a comment in the pattern, so that no other filter is equal
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
                filters[:] = [each for each in filters if (getattr(each[1], "pattern", ""), each[2]) != kind]


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what C++ libraries write to standard error's descriptor, as when they load; one thread at a time."""
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
    """The path as a person would type it: relative if it lies below the working directory."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
