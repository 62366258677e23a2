"""Listing runs, with how far each is, its headline figure and its size; and removing them."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kt.base.console import shown
from kt.base.files import read_json
from kt.base.run_folder import LATEST, MODEL, RECORD, REPORT, SPLITS, STEPS
from kt.base.stages import MANIFEST
from kt.errors import ReleaseError
from kt.runs.folder import mark_latest
from kt.runs.record import Record, is_at_work, read

FIGURE = "balanced_accuracy"


@dataclass(frozen=True)
class ListedRun:
    """A run. state: "running", "finished", "failed" or "interrupted". place: how far it is, in words, where it has not
    finished. figure: balanced accuracy on the test pictures. size: bytes.
    """

    folder: Path
    name: str
    kind: str
    state: str
    place: str
    started: str | None
    figure: float | None
    size: int
    record: Record | None

    @property
    def in_words(self) -> str:
        """The state, with how far the run is and why it failed."""
        if self.state == "failed" and self.record is not None and self.record.why:
            return f"failed {self.place}: {self.record.why}"
        return f"{self.state} {self.place}".strip() if self.state != "finished" else "finished"

    def as_json(self) -> dict[str, Any]:
        """Plain data under stable keys."""
        return {
            "run": str(self.folder), "recipe": self.name, "kind": self.kind, "state": self.state, "place": self.place,
            "why": self.record.why if self.record else "", "started": self.started, FIGURE: self.figure,
            "bytes": self.size,
        }  # fmt: skip


def listed(runs: Path) -> list[ListedRun]:
    """Every run in a folder of runs, by recipe, the oldest first."""
    return [_described(folder) for folder in folders(runs)]


def folders(runs: Path) -> Iterator[Path]:
    """The folders of all runs: `<recipe>/<time>`, and those of other verbs, `<recipe>/<verb>/<time>`."""
    for folder in sorted([*runs.glob("*/*"), *runs.glob("*/*/*")]):
        if folder.is_dir() and not folder.is_symlink() and not folder.parent.is_symlink() and is_run(folder):
            yield folder


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, of any version of kt."""
    return any((folder / name).is_file() for name in (RECORD, REPORT, SPLITS))


def _described(folder: Path) -> ListedRun:
    record, report = read(folder), _content_of(folder / REPORT)
    state = record.state if record else "finished" if report else "interrupted"
    test: Any = report.get("test")
    figure = test.get(FIGURE) if isinstance(test, dict) else None
    name = record.asked.name if record else folder.parent.name
    return ListedRun(
        folder=folder,
        name=name,
        kind=record.asked.kind if record else "run",
        state=state,
        place="" if state == "finished" else place(folder),
        started=record.started if record else report.get("started"),
        figure=figure if isinstance(figure, float) else None,
        size=size_of(folder),
        record=record,
    )


def place(folder: Path) -> str:
    """How far an unfinished run is, such as "in epoch 3 of fine_tune"."""
    if (folder / MODEL).is_file():
        return "after training"
    for steps in sorted(folder.glob(f"**/{STEPS}/*/{MANIFEST}"), key=_written, reverse=True):
        facts = _content_of(steps).get("told")
        if isinstance(facts, dict) and "epochs" in facts:
            name = steps.parent.name.partition("-")[2]
            return f"after {name}" if facts.get("result") else f"in epoch {facts['epochs'] + 1} of {name}"
    return "in training" if (folder / SPLITS).is_file() else "before training"


def _written(path: Path) -> float:
    with suppress(OSError):
        return path.stat().st_mtime
    return 0.0


def _content_of(path: Path) -> dict[str, Any]:
    """The content of a JSON file; empty if it can't be read."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def size_of(folder: Path) -> int:
    """The bytes of all files in a folder."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file() and not path.is_symlink():
                total += path.stat().st_size
    return total


def too_many(runs: Path, *, keep: int) -> list[Path]:
    """The folders of all but the newest `keep` runs of each recipe and verb.

    Runs that a process works on are not among them, nor is the newest finished run.
    """
    removable: list[Path] = []
    kinds: dict[Path, list[ListedRun]] = {}
    for run in listed(runs):
        kinds.setdefault(run.folder.parent, []).append(run)
    for same in kinds.values():
        newest = next((run for run in reversed(same) if run.state == "finished"), None)
        old = same[: max(0, len(same) - keep)]
        removable += [run.folder for run in old if run is not newest and run.state != "running"]
    return removable


def remove(folder: Path) -> None:
    """Remove a run, and point `LATEST` at the newest finished one that is left.

    Raises ReleaseError for a folder that is no run, or that a process works on.
    """
    folder = folder.resolve()
    if not folder.is_dir() or not is_run(folder):
        raise ReleaseError(f"{shown(folder)} is no run; kt runs shows what is there.")
    if is_at_work(folder):
        raise ReleaseError(f"A process is at work on {shown(folder)}; end it first.")
    link = folder.parent / LATEST
    latest = link.is_symlink() and link.resolve() == folder
    shutil.rmtree(folder)
    if not latest:
        return
    link.unlink(missing_ok=True)
    left = [path for path in sorted(folder.parent.iterdir()) if path.is_dir() and (path / REPORT).is_file()]
    if left:
        mark_latest(left[-1])
