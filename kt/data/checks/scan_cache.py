"""What is known of the files of a data set, as columns, and how it is kept in kt's cache between two scans.

One folder a data set, `scans/KEY/`: `columns.npz` names its file of thumbnails and is replaced last, in one step. So a
scan that is killed leaves what was there. Nothing in it is trusted: what does not fit is ignored and made anew.
"""

import hashlib
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from filelock import FileLock

from kt.base.cache import SPARE, cache_home
from kt.base.files import whole
from kt.base.scratch import scratch
from kt.errors import EnvironmentProblem
from kt.kinds.pictures import Pixels
from kt.kinds.pictures.examine import THUMBNAIL, Facts, state_of

LIMIT = 20 * 2**30
"""The most bytes that all scans may take on disk; those used longest ago are removed first."""

SHAPE = (THUMBNAIL, THUMBNAIL, 3)
_BYTES = THUMBNAIL * THUMBNAIL * 3

_FORMAT = 2  # of what is kept; another one is not read
_SETTLED = 2_000_000_000  # ns: a file that was younger than this when it was read may change without a new time
_AT_ONCE = 512  # thumbnails that are copied at once

_ANY = "utf-8", "surrogatepass"

_TEXTS = tuple(each.name for each in fields(Facts) if isinstance(each.default, str))
_NUMBERS = {each.name: np.asarray(each.default) for each in fields(Facts) if not isinstance(each.default, str)}


@dataclass(frozen=True, eq=False)
class FileColumns:
    """The facts of N files, by the names that `Facts` has for them. settled: which of them hold the next time too."""

    texts: dict[str, list[str]]
    numbers: dict[str, npt.NDArray[Any]]
    settled: npt.NDArray[np.bool_]

    @classmethod
    def blank(cls, count: int) -> "FileColumns":
        """FileColumns of files of which nothing is known yet."""
        numbers = {name: np.repeat(default[None], count, axis=0) for name, default in _NUMBERS.items()}
        return cls({name: [""] * count for name in _TEXTS}, numbers, np.zeros(count, bool))

    def put(self, row: int, facts: Facts, *, now_ns: int) -> None:
        """Write the facts of one file. now_ns: the time before it was read."""
        for name in _TEXTS:
            self.texts[name][row] = getattr(facts, name).replace("\0", " ")
        for name, column in self.numbers.items():
            column[row] = getattr(facts, name)
        # What depends on the moment, such as rights or memory, is tried again the next time.
        lasting = bool(facts.sha256 or facts.size == 0) and not facts.reason.startswith("takes more")
        self.settled[row] = lasting and facts.mtime_ns < now_ns - _SETTLED

    def copy(self, rows: npt.NDArray[np.int64], source: "FileColumns", sources: npt.NDArray[np.int64]) -> None:
        """Copy rows from others."""
        for name in _TEXTS:
            column, other = self.texts[name], source.texts[name]
            for row, place in zip(rows.tolist(), sources.tolist(), strict=True):
                column[row] = other[place]
        for name, numbers in self.numbers.items():
            numbers[rows] = source.numbers[name][sources]
        self.settled[rows] = source.settled[sources]


@dataclass(frozen=True, eq=False)
class KnownFiles:
    """What an earlier scan knew. rows: int64 `[N]`, where the facts of each file are in it, or -1 if they aren't.

    sizes: int64 `[N]`, of the files now; -1 for one that isn't there.
    """

    rows: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    columns: FileColumns
    thumbnails: Pixels | None

    @property
    def complete(self) -> bool:
        """Whether it knew these files and no others, in the same order."""
        return len(self.rows) == len(self.columns.settled) and bool((self.rows == np.arange(len(self.rows))).all())


class ScanCache:
    """The place in the cache of one data set, a folder. Raises EnvironmentProblem if the cache can't be written."""

    def __init__(self, base: Path) -> None:
        key = hashlib.sha256(os.fsencode(base)).hexdigest()[:32]
        self._home = cache_home() / "scans"
        self.folder = self._home / key
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(self.folder, error) from None

    def known(self, files: Sequence[Path]) -> KnownFiles:
        """What the last scan knew of these files, as far as they have not changed since."""
        states = [state_of(file) for file in files]
        sizes = np.array([size for size, _ in states], np.int64)
        nothing = KnownFiles(np.full(len(files), -1, np.int64), sizes, FileColumns.blank(0), None)
        with self._locked():
            try:
                paths, columns, thumbnails = self._read()
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError, MemoryError):
                return nothing
            with suppress(OSError):
                os.utime(self.folder)  # it is in use
        places = {path: row for row, path in enumerate(paths)}
        rows = np.array([places.get(os.fsencode(file), -1) for file in files], np.int64)
        times = np.array([time for _, time in states], np.int64)
        same = (rows >= 0) & (sizes >= 0)
        if len(paths):
            same &= columns.settled[rows] & (columns.numbers["size"][rows] == sizes)
            same &= columns.numbers["mtime_ns"][rows] == times
        return KnownFiles(np.where(same, rows, -1), sizes, columns, thumbnails)

    @contextmanager
    def writing(self, count: int) -> Iterator["Writing"]:
        """A file for the thumbnails of `count` pictures, to write before `publish`; else it is removed again.

        Raises EnvironmentProblem if the disk lacks the room, or the writing fails.
        """
        self._make_room(count * _BYTES)
        try:
            with scratch(self.folder, ".part-") as part, part.open("w+b") as file:
                yield Writing(part, file, count)
        except OSError as error:
            raise _unwritable(self.folder, error) from None

    def publish(self, files: Sequence[Path], columns: FileColumns, written: "Writing") -> Pixels:
        """Keep what was learned, and return the thumbnails, uint8 `[N, 64, 64, 3]`, mapped from their file."""
        name = f"thumbnails-{secrets.token_hex(8)}.npy"
        place = self.folder / name
        written.finish()
        arrays: dict[str, Any] = {
            name: _joined([text.encode(*_ANY) for text in columns.texts[name]]) for name in _TEXTS
        }
        arrays |= {**columns.numbers, "settled": columns.settled, "format": np.array(_format())}
        arrays |= {"paths": _joined([os.fsencode(path) for path in files])}
        with self._locked():
            written.part.replace(place)
            arrays["thumbnails"] = np.array([name, str(place.stat().st_mtime_ns)])
            with whole(self.folder / "columns.npz") as file:
                np.savez(file, **arrays)
            mapped = _mapped(place)
            for other in self.folder.glob("thumbnails-*.npy"):
                if other != place:
                    with suppress(OSError):  # on Windows another process may have it open; the next scan removes it
                        other.unlink()
        return mapped

    def _locked(self) -> FileLock:
        return FileLock(self.folder / ".lock")

    def _read(self) -> tuple[list[bytes], FileColumns, Pixels]:
        """Paths, columns and thumbnails of the last scan. Raises one of many errors if they are not as they were."""
        with np.load(self.folder / "columns.npz", allow_pickle=False) as stored:
            if str(stored["format"]) != _format():
                raise ValueError("of another kt")
            paths = _split(stored["paths"])
            texts = {name: [text.decode(*_ANY) for text in _split(stored[name])] for name in _TEXTS}
            numbers = {name: stored[name] for name in _NUMBERS}
            settled = stored["settled"]
            name, time = stored["thumbnails"].tolist()
        for column, default in _NUMBERS.items():
            if numbers[column].shape != (len(paths), *default.shape) or numbers[column].dtype != default.dtype:
                raise ValueError("damaged")
        if settled.shape != (len(paths),) or settled.dtype != bool or {*map(len, texts.values())} != {len(paths)}:
            raise ValueError("damaged")
        place = self.folder / Path(name).name
        thumbnails = _mapped(place)
        if thumbnails.shape != (len(paths), *SHAPE) or str(place.stat().st_mtime_ns) != time:
            raise ValueError("damaged")
        return paths, FileColumns(texts, numbers, settled), thumbnails

    def _make_room(self, size: int) -> None:
        others = sorted(
            (folder for folder in self._home.iterdir() if folder.is_dir() and folder != self.folder),
            key=lambda folder: folder.stat().st_mtime,
        )
        taken = {folder: sum(file.stat().st_size for file in folder.iterdir() if file.is_file()) for folder in others}
        total = size + sum(taken.values())
        for folder in others:
            if total <= LIMIT:
                break
            shutil.rmtree(folder, ignore_errors=True)
            total -= taken[folder]
        free = shutil.disk_usage(self.folder).free
        if size + min(SPARE, size) > free:
            raise EnvironmentProblem(
                f"The thumbnails take {size / 1e9:.1f} GB, and {self._home} has {free / 1e9:.1f} GB free. Make room, "
                "or set KT_HOME to a directory on another disk."
            )


class Writing:
    """A file of thumbnails that is being written, in any order; what is not written stays black."""

    def __init__(self, part: Path, file: BinaryIO, count: int) -> None:
        self.part = part
        self._file = file
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, *SHAPE)}
        np.lib.format.write_array_header_2_0(file, header)
        self._start = file.tell()
        file.truncate(self._start + count * _BYTES)

    def put(self, row: int, thumbnail: Pixels) -> None:
        """Write the thumbnail of one picture; one thread at a time."""
        self._file.seek(self._start + row * _BYTES)
        self._file.write(thumbnail.tobytes())

    def copy(self, rows: npt.NDArray[np.int64], source: Pixels, sources: npt.NDArray[np.int64]) -> None:
        """Copy rows from other thumbnails. rows: rising."""
        # Runs of rows that follow each other in both, which is nearly all of them if a few files have changed.
        breaks = np.flatnonzero((np.diff(rows) != 1) | (np.diff(sources) != 1)) + 1
        for to, origin in zip(np.split(rows, breaks), np.split(sources, breaks), strict=True):
            for start in range(0, len(to), _AT_ONCE):
                self.put(int(to[start]), source[origin[start] : origin[start : start + _AT_ONCE][-1] + 1])

    def finish(self) -> None:
        """Write what is left to the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()  # Windows moves no open file


def _mapped(place: Path) -> Pixels:
    with place.open("rb") as file:
        if np.lib.format.read_magic(file) != (2, 0):
            raise ValueError("damaged")
        shape, fortran, kind = np.lib.format.read_array_header_2_0(file)
        start = file.tell()
    if fortran or kind != np.uint8 or shape[1:] != SHAPE or place.stat().st_size != start + shape[0] * _BYTES:
        raise ValueError("damaged")
    if not shape[0]:  # nothing can't be mapped
        return np.zeros(shape, np.uint8)
    return np.memmap(place, np.uint8, "r", start, shape)


def _joined(texts: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    """Texts without zeros in them as one array, each with a zero at its end."""
    return np.frombuffer(b"".join(text + b"\0" for text in texts), np.uint8)


def _split(joined: npt.NDArray[np.uint8]) -> list[bytes]:
    if joined.dtype != np.uint8 or joined.ndim != 1:
        raise ValueError("damaged")
    return joined.tobytes().split(b"\0")[:-1]


def _format() -> str:
    """What the facts depend on besides the files: the form they are kept in, and the decoders."""
    return " ".join([str(_FORMAT), *(f"{name} {_version(name)}" for name in ("pillow", "pillow-heif", "pydicom"))])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _unwritable(folder: Path, error: OSError) -> EnvironmentProblem:
    why = error.strerror or str(error)
    return EnvironmentProblem(
        f"kt can't write to its cache {folder}: {why}. Set KT_HOME to a directory that can be written."
    )
