"""Where frozen outputs are kept: in memory while they fit, else memory-mapped; on disk by content for the next run.

A folder a frozen part, named by its fingerprint; in it files of rows, each named by the SHA-256 of its content and
renamed into place once it is whole, so that a damaged or half-written file is noticed and made again.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from kt import cache
from kt.backbones.fetch import sha256_of
from kt.console import warn
from kt.data.splits import Pixels
from kt.files import replace_json
from kt.scratch import scratch

Hash = bytes
"""SHA-256 of a picture's pixels as the model sees them: 32 bytes."""


@dataclass(frozen=True)
class About:
    """What a folder holds, for `kt cache`. width: numbers a picture. dtype: float32 or float16."""

    backbone: str
    border: str
    width: int
    dtype: str


def hashes(pixels: Pixels) -> Iterator[Hash]:
    """The hash of each picture, in order."""
    shape = str(pixels.shape[1:]).encode()
    for picture in pixels:
        yield hashlib.sha256(shape + np.ascontiguousarray(picture).data).digest()


class Rows:
    """Rows in memory or in mapped files: indexed by an int64 array `[B]` they give float32 `[B, D]`."""

    def __init__(self, files: Sequence[npt.NDArray[Any]], file: npt.NDArray[Any], place: npt.NDArray[Any]) -> None:
        self._files, self._file, self._place = files, file, place
        self.shape = (len(place), files[0]["row"].shape[1])
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        found = np.empty((len(indices), self.shape[1]), np.float32)
        chosen = self._file[indices]
        for number in np.unique(chosen):
            here = np.flatnonzero(chosen == number)
            found[here] = self._files[number]["row"][self._place[indices[here]]]
        return found

    def in_memory(self) -> npt.NDArray[np.float32]:
        """A copy of all rows, float32 `[N, D]`."""
        found = np.empty(self.shape, np.float32)
        for start in range(0, len(found), 1024):
            part = np.arange(start, min(start + 1024, len(found)))
            found[part] = self[part]
        return found


class Store:
    """The stored rows of one frozen part.

    folder: None keeps them in memory, for as long as the store is there. A file that doesn't hold what its name says is
    removed, aloud.
    """

    def __init__(self, folder: Path | None, about: About) -> None:
        self._folder, self.about = folder, about
        self._kind = np.dtype([("hash", "V32"), ("row", about.dtype, (about.width,))])
        self._files: list[npt.NDArray[Any]] = []
        self._places: dict[Hash, tuple[int, int]] = {}
        if folder is not None and folder.is_dir():
            for file in sorted(folder.glob("*.npy")):
                self._open(file)
            with suppress(OSError):
                os.utime(folder)

    def _open(self, file: Path) -> None:
        try:
            rows = np.load(file, mmap_mode="r") if sha256_of(file) == file.stem else None
        except (OSError, ValueError):
            rows = None
        if rows is None or rows.dtype != self._kind or rows.ndim != 1:
            warn(f"stored outputs are damaged and computed again: {file}")
            file.unlink(missing_ok=True)
            return
        self._take(rows)

    def _take(self, rows: npt.NDArray[Any]) -> None:
        number = len(self._files)
        self._files.append(rows)
        self._places |= {rows["hash"][place].tobytes(): (number, place) for place in range(len(rows))}

    @property
    def on_disk(self) -> bool:
        """Whether new rows are written to the disk."""
        return self._folder is not None

    def missing(self, wanted: Iterable[Hash]) -> set[Hash]:
        """Which of the pictures have no row."""
        return set(wanted) - self._places.keys()

    def rows(self, wanted: Sequence[Hash]) -> Rows:
        """The rows of the pictures, which must all be there, in that order."""
        file, place = np.array([self._places[one] for one in wanted], np.int64).reshape(-1, 2).T
        return Rows(self._files, file, place)

    def rows_of(self, wanted: Sequence[Hash]) -> npt.NDArray[np.float32]:
        """The rows of the pictures as an array `[N, D]`."""
        return self.rows(wanted).in_memory()

    @contextmanager
    def writer(self, count: int) -> "Iterator[Writer]":
        """Takes `count` new rows, which are there afterwards. Raises OSError where they can't be written."""
        if self._folder is None:
            held = np.empty(count, self._kind)
            yield _InMemory(held)
            self._take(held)
            return
        cache.make_room(self._folder, count * self._kind.itemsize)
        replace_json(self._folder / "about.json", asdict(self.about))
        # Written and not mapped: a mapping for which the disk has no room kills the process without a word.
        with scratch(self._folder, cache.PART) as beside:
            with beside.open("wb") as file:
                header = {"descr": np.lib.format.dtype_to_descr(self._kind), "fortran_order": False, "shape": (count,)}
                np.lib.format.write_array_header_2_0(file, header)
                yield _IntoFile(file, self._kind)
            whole = beside.replace(self._folder / f"{sha256_of(beside)}.npy")
        self._take(np.load(whole, mmap_mode="r"))


class Writer(Protocol):
    """Takes rows, some pictures at a time, until all that were announced are there."""

    def add(self, keys: Sequence[Hash], rows: npt.NDArray[np.float32]) -> None:
        """Take the rows `[B, D]` of some pictures."""
        ...


class _InMemory:
    def __init__(self, records: npt.NDArray[Any]) -> None:
        self.records, self._filled = records, 0

    def add(self, keys: Sequence[Hash], rows: npt.NDArray[np.float32]) -> None:
        records = self.records[self._filled : self._filled + len(keys)]
        records["hash"], records["row"] = np.frombuffer(b"".join(keys), "V32"), rows
        self._filled += len(keys)


class _IntoFile:
    def __init__(self, file: BinaryIO, kind: np.dtype[Any]) -> None:
        self._file, self._kind = file, kind

    def add(self, keys: Sequence[Hash], rows: npt.NDArray[np.float32]) -> None:
        records = np.empty(len(keys), self._kind)
        records["hash"], records["row"] = np.frombuffer(b"".join(keys), "V32"), rows
        self._file.write(records.view(np.uint8).data)
