"""`kt predict --out`: a table of scores for any number of examples, in bounded memory, that can be resumed.

While it works, finished pieces lie in the folder `FILE.part` beside the table. `job.json` there names the model and the
examples. A complete piece is named by its first row, and has its checksum in a file beside it. The same command goes on
after the last intact piece. In the end the pieces are joined, and the table gets its name once it is complete.
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

from kt.base.console import Bar, progress_bar, say, warn
from kt.base.environment import cores
from kt.base.files import replace_json
from kt.errors import DataError, KtError
from kt.kinds.kind import Kind, Source
from kt.kinds.pictures.find import LeftOut
from kt.predict.decide import Decision, Wanted
from kt.predict.files import check_there, examples_in
from kt.predict.label_shift import LabelShift, as_json, corrected, in_words
from kt.predict.on_ray import load_ray, on_ray
from kt.predict.scorer import BLOCK, Scored, Scorer, choose, in_threads
from kt.predict.table import TableFormat, table_for, text_of

_TOP = Wanted()

_ROWS, _SECONDS = 1024, 10.0
"""A piece is written after this many examples or seconds; a killed run loses no more."""

_SUFFIXES = (".piece", ".sum")
_CORRECTED = "corrected"
_OURS = ("lock", "partial", "job.json", "table", _CORRECTED)
NOTE = ".label_shift.json"
"""The end of the name of the file beside a table that says how its scores are corrected."""

_NAMED = 20  # unreadable examples that are printed while it works; the table has them all


@dataclass(frozen=True)
class Summary:
    """The result of `predict_to`.

    pictures: the number of examples. kind: what they are. before: how many were kept from an
    interrupted run. seconds: for the rest. left_out: the other files in folders, in a few words, such as "3 .txt";
    empty if there are none. label_shift: what the scores are corrected for (`kt.predict.label_shift`), if asked.
    abstains: whether some may get no label because the model is not sure. unsure: how many got none. unfamiliar: how
    many are unlike anything that the model learned from; None where it does not say.
    """

    out: Path
    pictures: int
    errors: int
    before: int
    seconds: float
    engine: str
    left_out: str
    kind: Kind
    label_shift: dict[str, Any] | None = None
    abstains: bool = False
    unsure: int = 0
    unfamiliar: int | None = None

    @property
    def rate(self) -> float:
        """Examples a second, without those that were done before."""
        return (self.pictures - self.before) / self.seconds


def predict_to(
    out: Path,
    *,
    model: Path,
    pictures: Sequence[Path],
    engine: str = "auto",
    restart: bool = False,
    label_shift: bool = False,
    wanted: Wanted = _TOP,
) -> Summary:
    """Write a table with a row for each example, in order. The pieces of an interrupted run are kept.

    engine: one of `kt.predict.scorer.ENGINES`. restart: throw away the pieces of an interrupted run. label_shift: once
    all scores are known, correct them for the shares of the classes that the examples seem to have; a file beside the
    table says how. wanted: which examples get a label, and whether there are sets. Raises KtError if that run was begun
    with another model, engine, decision or examples, or if the shares can't be told.
    """
    started = time.perf_counter()
    table_for(out, ())  # report an unknown suffix before anything is loaded
    if out.is_dir():
        raise KtError(f"{out} is a folder; --out names the file to write.")
    if engine == "ray":
        load_ray()
    check_there(pictures)
    shift = LabelShift.of_model(model) if label_shift else None
    plan, workers, left = choose(model, engine=engine), cores(), LeftOut()
    scorer = Scorer(plan, workers=1 if engine == "ray" else workers)
    decision, many = wanted.of(model, scorer.classes), scorer.kind.many
    total = sum(1 for _ in examples_in(pictures, scorer.kind, left))
    for line in left.lines():
        warn(line)
    if not total:
        raise DataError(f"No {many} found there.")
    job = {
        "engine": plan.by,
        "model": plan.digest(),
        "pictures": [text_of(path.absolute()) for path in pictures],
        "decision": None if decision == Decision() else decision.as_json(),
    }
    folder = out.with_name(f"{out.name}.part")
    with _alone(folder):
        pieces = _Pieces(folder, table_for(out, scorer.classes, decision), many, scorer.classes, shift)
        pieces.begin(job, restart=restart)
        before = pieces.keep(examples_in(pictures, scorer.kind))
        if before:
            say(f"{before} of {total} {many} were done before; going on behind them")
        while True:
            blocks = _in_blocks(islice(examples_in(pictures, scorer.kind), pieces.rows, None))
            answers = on_ray(plan, blocks) if engine == "ray" else in_threads(scorer, blocks, workers=workers)
            if _fill(pieces, answers, total=total, out=out):
                break
            pieces.keep(examples_in(pictures, scorer.kind))
        shutil.rmtree(folder, ignore_errors=True)
    seconds = time.perf_counter() - started
    name = f"{plan.by} on ray" if engine == "ray" else plan.by
    return Summary(
        out,
        pieces.rows,
        pieces.errors,
        before,
        seconds,
        name,
        left.kinds(),
        scorer.kind,
        pieces.shifted,
        decision.abstains,
        pieces.unsure,
        pieces.unfamiliar,
    )


def _fill(pieces: "_Pieces", answers: Iterator[Scored], *, total: int, out: Path) -> bool:
    """Score the rest and join the pieces. False if some pieces are damaged and have to be made again.

    After an error it says how many examples are kept.
    """
    try:
        with progress_bar("predict", total - pieces.rows) as bar:
            pieces.take(answers, bar)
        return pieces.join(out)
    except BaseException:
        if pieces.rows:
            say(
                f"{pieces.rows} of {total} {pieces.many} are kept in {pieces.folder}; the same command goes on behind "
                "them"
            )
        else:
            shutil.rmtree(pieces.folder, ignore_errors=True)
        raise


def _in_blocks(sources: Iterator[Source]) -> Iterator[Sequence[Source]]:
    while block := list(islice(sources, BLOCK)):
        yield block


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the folder for this process; a killed process's lock is released by the system."""
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
            shutil.rmtree(folder, ignore_errors=True)  # Windows can't remove it while the lock is held


class _Pieces:
    """The folder with a table's pieces; `rows` and `errors` count those of the pieces."""

    def __init__(
        self, folder: Path, table: TableFormat, many: str, classes: Sequence[str], shift: LabelShift | None
    ) -> None:  # fmt: skip
        self.folder, self._table, self.many = folder, table, many
        self._classes, self._shift = classes, shift
        self.shifted: dict[str, Any] | None = None
        self.unfamiliar: int | None = None
        self.rows = self.errors = self.unsure = 0
        self._done: list[Path] = []

    def _all(self) -> list[Path]:
        return sorted(self.folder.glob("*.piece"))

    def begin(self, job: dict[str, Any], *, restart: bool) -> None:
        """Write the job's description, or check that an interrupted run had the same one."""
        if strange := [
            path.name for path in self.folder.iterdir() if path.name not in _OURS and path.suffix not in _SUFFIXES
        ]:
            raise KtError(f"{self.folder} holds {strange[0]}, which is not kt's; name another --out.")
        file = self.folder / "job.json"
        begun = None if restart else _read_json(file)
        if begun is None:
            for piece in self._all():
                _remove(piece)
            with _whole(file) as text:
                text.write(json.dumps(job, indent=1).encode())
        elif other := [name for name in job if begun.get(name) != job[name]]:
            what = {
                "engine": "another engine or model",
                "model": "another model",
                "pictures": f"other {self.many}",
                "decision": "other thresholds or sets",
            }[other[0]]
            raise KtError(
                f"{self.folder} was begun with {what}, and is not finished; name another --out, or throw it away with "
                "--restart."
            )

    def keep(self, sources: Iterator[Source]) -> int:
        """Count the rows of the pieces that belong to the first of these examples, and remove all other pieces."""
        self.rows = self.errors = 0
        self._done = []
        for piece in self._all():
            rows = self._read(piece) if int(piece.stem) == self.rows else []
            if rows and [path for path, _, _ in rows] == [
                text_of(source.name) for source in islice(sources, len(rows))
            ]:
                self._done.append(piece)
                self.rows += len(rows)
                self.errors += sum(bool(error) for _, error, _ in rows)
            else:
                _remove(piece)  # later pieces are removed too, since their first row is not the next one
        return self.rows

    def _read(self, piece: Path) -> list[tuple[str, str, str]]:
        if not _is_whole(piece):
            warn(f"{piece} is not what was written there: its {self.many} and those behind them are done again")
            return []
        try:
            return self._table.read(piece)
        except (ValueError, OSError):  # damaged, such as by a power cut
            return []

    def take(self, answers: Iterable[Scored], bar: Bar) -> None:
        """Write all scores into pieces; after an error, those that were made so far."""
        waiting: list[Scored] = []
        written = time.monotonic()
        try:
            for block in answers:
                waiting.append(block)
                bar.advance(len(block.names))
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
        with _whole(_sum_of(piece)) as file:  # first, because a piece without it does not count
            file.write(hashlib.sha256(content.getbuffer()).hexdigest().encode())
        with _whole(piece) as file:
            file.write(content.getbuffer())
        self._done.append(piece)
        for block in blocks:
            for path, error in zip(block.names, block.errors, strict=True):
                if error and self.errors < _NAMED:
                    warn(f"{path}: {error}")
                elif error and self.errors == _NAMED:
                    warn(f"more {self.many} can't be read; the column error names them all")
                self.errors += bool(error)
            self.rows += len(block.names)

    def join(self, out: Path) -> bool:
        """Join all pieces to the table and give it its name; False if a piece is damaged or missing."""
        if not all(map(_is_whole, self._done)):
            return False
        self.unfamiliar = self._strange()
        pieces = self._done if self._shift is None else self._corrected(self._shift)
        self.unsure = sum(not error and not label for piece in pieces for _, error, label in self._table.read(piece))
        with _whole(self.folder / "table") as file:
            self._table.join(pieces, file)
        note = out.with_name(f"{out.name}{NOTE}")
        if self.shifted is None:
            note.unlink(missing_ok=True)  # it would be of an earlier table
        else:
            replace_json(note, self.shifted)
        (self.folder / "table").replace(out)
        return True

    def _strange(self) -> int | None:
        """How many of the rows are called unfamiliar; None if that is not known of a readable one."""
        count = 0
        for piece in self._done:
            block = self._table.scored(piece)
            told = [of for of, error in zip(block.unfamiliar, block.errors, strict=True) if not error]
            if None in told:
                return None
            count += sum(of is True for of in told)
        return count

    def _corrected(self, shift: LabelShift) -> list[Path]:
        """Pieces beside the others, with scores corrected for the shares of the classes in all of them."""
        shares = shift.estimated([self._table.scored(piece) for piece in self._done])
        say(in_words(shares, self._classes))
        self.shifted = as_json(shares, self._classes)
        folder = self.folder / _CORRECTED
        folder.mkdir(exist_ok=True)
        for piece in self._done:
            with (folder / piece.name).open("wb") as file:
                self._table.write([corrected(self._table.scored(piece), shares)], file)
        return [folder / piece.name for piece in self._done]


def _sum_of(piece: Path) -> Path:
    return piece.with_suffix(".sum")


def _is_whole(piece: Path) -> bool:
    """Whether a piece is intact, by its checksum."""
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
    """A file to write, which gets its name once it is complete and on the disk."""
    beside = file.with_name("partial")
    with beside.open("wb") as opened:
        yield opened
        opened.flush()
        os.fsync(opened.fileno())
    beside.replace(file)


def _read_json(file: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
