"""What kt says while it works: to standard error, so that standard output is free for results.

On a terminal there are colours and progress bars; elsewhere plain lines, and no bars.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
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
from rich.text import Text

console = Console(stderr=True, highlight=False, soft_wrap=True)

_DESCRIPTOR = threading.Lock()


def say(text: str) -> None:
    """One line for the person who watches; never markup, since it may quote a file's name."""
    console.print(text, markup=False)


def warn(text: str) -> None:
    """A line that should not be overlooked, though the work goes on."""
    console.print(f"warning: {text}", style="yellow", markup=False)


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
        self._progress.update(self._task, advance=steps, note=note)

    def restart(self, title: str, total: int) -> None:
        """Begin again from nothing under a new title, such as the next epoch."""
        self._progress.reset(self._task, description=title, total=total, note="")


@contextmanager
def progress_bar(title: str, total: int, *, unit: str = "images") -> Iterator[Bar]:
    """A bar for `total` steps, with the rate in `unit`s a second and the time left."""
    columns = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(unit),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield Bar(progress, progress.add_task(title, total=total, note=""))


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
