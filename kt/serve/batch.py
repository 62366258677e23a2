"""`kt predict --out`: a table of scores for any number of pictures, in bounded memory, that survives an interruption.

While it works, what is done lies in the folder `FILE.part` beside the table: `job.json` says by which model and for
which pictures, and each piece is named by its first row, once it is complete, with its checksum in a file beside it.
The same command goes on behind the last piece that is still what was written. In the end the pieces are joined, and the
table appears whole under its name.
"""

import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kt.console import Bar, progress_bar, say, warn
from kt.data.find import LeftOut
from kt.environment import cores
from kt.errors import DataError, KtError
from kt.serve.on_ray import load_ray, on_ray
from kt.serve.predict import check_there, pictures_of
from kt.serve.scorer import BLOCK, Scored, Scorer, choose, in_threads
from kt.serve.table import Table, table_for, text_of

_ROWS, _SECONDS = 1024, 10.0
"""A piece is written after so many pictures, or so many seconds: what a killed run loses at most."""

_SUFFIXES = (".piece", ".sum")
_OURS = ("lock", "partial", "job.json", "table")
_TOLD = 20  # broken files that are named while it works; the table has them all


@dataclass(frozen=True)
class Summary:
    """What `predict_to` did; `before` of the pictures were kept from an interrupted run, `seconds` are for the rest.

    left_out: what folders hold besides pictures, in a few words, such as "3 .txt"; empty where that is nothing.
    """

    out: Path
    pictures: int
    errors: int
    before: int
    seconds: float
    engine: str
    left_out: str = ""

    @property
    def rate(self) -> float:
        """Pictures a second, of those that were done now."""
        return (self.pictures - self.before) / self.seconds


def predict_to(
    out: Path, *, model: Path, pictures: Sequence[Path], engine: str = "auto", restart: bool = False
) -> Summary:
    """Write a table with a row for each picture, in order; what an interrupted run has done is not done again.

    engine: one of `kt.serve.scorer.ENGINES`. restart: throw away what an interrupted run has left. Raises KtError where
    that was begun with another model, engine or pictures.
    """
    started = time.perf_counter()
    table_for(out, ())  # an unknown suffix is told before anything is loaded
    if out.is_dir():
        raise KtError(f"{out} is a folder; --out names the file to write.")
    if engine == "ray":
        load_ray()
    check_there(pictures)
    left = LeftOut()
    total = sum(1 for _ in pictures_of(pictures, left))
    for line in left.lines():
        warn(line)
    if not total:
        raise DataError("No pictures found there.")
    plan, workers = choose(model, engine=engine), cores()
    scorer = Scorer(plan, workers=1 if engine == "ray" else workers)
    job = {"engine": plan.by, "model": plan.digest(), "pictures": [text_of(path.absolute()) for path in pictures]}
    folder = out.with_name(f"{out.name}.part")
    with _alone(folder):
        pieces = _Pieces(folder, table_for(out, scorer.classes))
        pieces.begin(job, restart=restart)
        before = pieces.keep(pictures_of(pictures))
        if before:
            say(f"{before} of {total} pictures were done before; going on behind them")
        while True:
            blocks = _in_blocks(islice(pictures_of(pictures), pieces.rows, None))
            answers = on_ray(plan, blocks) if engine == "ray" else in_threads(scorer, blocks, workers=workers)
            if _fill(pieces, answers, total=total, out=out):
                break
            pieces.keep(pictures_of(pictures))
        shutil.rmtree(folder, ignore_errors=True)
    seconds = time.perf_counter() - started
    name = f"{plan.by} on ray" if engine == "ray" else plan.by
    return Summary(out, pieces.rows, pieces.errors, before, seconds, name, left.kinds())


def _fill(pieces: "_Pieces", answers: Iterator[Scored], *, total: int, out: Path) -> bool:
    """Work to the end, or say what is kept. False: some of that is not what was written, and is to be done again."""
    try:
        with progress_bar("predict", total - pieces.rows) as bar:
            pieces.take(answers, bar)
        return pieces.join(out)
    except BaseException:
        if pieces.rows:
            say(f"{pieces.rows} of {total} pictures are kept in {pieces.folder}; the same command goes on behind them")
        else:
            shutil.rmtree(pieces.folder, ignore_errors=True)
        raise


def _in_blocks(files: Iterator[Path]) -> Iterator[Sequence[Path]]:
    while block := list(islice(files, BLOCK)):
        yield block


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The folder, for one process at a time; what a killed process held is free again."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise KtError(f"Another kt predict is at work in {folder}; wait for it, or name another --out.") from None
    try:
        yield
    finally:
        lock.release()
        if os.name == "nt" and [path.name for path in folder.glob("*")] == ["lock"]:
            shutil.rmtree(folder, ignore_errors=True)  # there it can't be removed while it is held


class _Pieces:
    """The folder in which a table grows; `rows` and `errors` count what lies there."""

    def __init__(self, folder: Path, table: Table) -> None:
        self.folder, self._table = folder, table
        self.rows = self.errors = 0
        self._done: list[Path] = []

    def _there(self) -> list[Path]:
        return sorted(self.folder.glob("*.piece"))

    def begin(self, job: dict[str, Any], *, restart: bool) -> None:
        """Write down what the job is, or see that it is the one that was begun."""
        if strange := [
            path.name for path in self.folder.iterdir() if path.name not in _OURS and path.suffix not in _SUFFIXES
        ]:
            raise KtError(f"{self.folder} holds {strange[0]}, which is not kt's; name another --out.")
        file = self.folder / "job.json"
        begun = None if restart else _read_json(file)
        if begun is None:
            for piece in self._there():
                _remove(piece)
            with _whole(file) as text:
                text.write(json.dumps(job, indent=1).encode())
        elif other := [name for name in job if begun.get(name) != job[name]]:
            what = {"engine": "another engine or model", "model": "another model", "pictures": "other pictures"}[
                other[0]
            ]
            raise KtError(
                f"{self.folder} was begun with {what}, and is not finished; name another --out, or throw it away with "
                "--restart."
            )

    def keep(self, files: Iterator[Path]) -> int:
        """Count the rows that are the answers for the first of these files, and remove any that are not."""
        self.rows = self.errors = 0
        self._done = []
        for piece in self._there():
            rows = self._read(piece) if int(piece.stem) == self.rows else []
            if rows and [path for path, _ in rows] == [text_of(file) for file in islice(files, len(rows))]:
                self._done.append(piece)
                self.rows += len(rows)
                self.errors += sum(bool(error) for _, error in rows)
            else:
                _remove(piece)  # and so those behind it, whose first row is not the next
        return self.rows

    def _read(self, piece: Path) -> list[tuple[str, str]]:
        if not _is_whole(piece):
            warn(f"{piece} is not what was written there: its pictures and those behind them are done again")
            return []
        try:
            return self._table.read(piece)
        except (ValueError, OSError):  # damaged, as when the power went
            return []

    def take(self, answers: Iterable[Scored], bar: Bar) -> None:
        """Write all answers into pieces; what has come is written too when something goes wrong."""
        waiting: list[Scored] = []
        written = time.monotonic()
        try:
            for block in answers:
                waiting.append(block)
                bar.advance(len(block.files))
                if len(waiting) * BLOCK >= _ROWS or time.monotonic() - written > _SECONDS:
                    self._write(waiting)
                    waiting, written = [], time.monotonic()
        finally:
            if waiting:
                self._write(waiting)

    def _write(self, blocks: Sequence[Scored]) -> None:
        content = io.BytesIO()
        self._table.write(blocks, content)
        piece = self.folder / f"{self.rows:012d}.piece"
        with _whole(_sum_of(piece)) as file:  # first: a piece without it would not count
            file.write(hashlib.sha256(content.getbuffer()).hexdigest().encode())
        with _whole(piece) as file:
            file.write(content.getbuffer())
        self._done.append(piece)
        for block in blocks:
            for path, error in zip(block.files, block.errors, strict=True):
                if error and self.errors < _TOLD:
                    warn(f"{path}: {error}")
                elif error and self.errors == _TOLD:
                    warn("more files can't be read; the column error names them all")
                self.errors += bool(error)
            self.rows += len(block.files)

    def join(self, out: Path) -> bool:
        """Make the table of all pieces, and give it its name; False where one is not what was written, or is gone."""
        if not all(map(_is_whole, self._done)):
            return False
        with _whole(self.folder / "table") as file:
            self._table.join(self._done, file)
        (self.folder / "table").replace(out)
        return True


def _sum_of(piece: Path) -> Path:
    return piece.with_suffix(".sum")


def _is_whole(piece: Path) -> bool:
    """Whether a piece is still what was written, by its checksum."""
    try:
        with piece.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == _sum_of(piece).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return False


def _remove(piece: Path) -> None:
    piece.unlink()
    _sum_of(piece).unlink(missing_ok=True)


@contextmanager
def _whole(file: Path) -> Iterator[Any]:
    """A file to write that gets its name when it is complete and on the disk."""
    beside = file.with_name("partial")
    with beside.open("wb") as opened:
        yield opened
        opened.flush()
        os.fsync(opened.fileno())
    beside.replace(file)


def _read_json(file: Path) -> dict[str, Any] | None:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None
