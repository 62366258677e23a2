"""Where cached activations are kept: in memory, or on disk for the next run and memory-mapped from there.

Each frozen part has a folder, named by its fingerprint. Each file in it is named by the SHA-256 of its content and
renamed into place once it is complete, so that a damaged or half-written file is noticed and made again.
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

from kt.backbones.fetch import sha256_of
from kt.base import cache
from kt.base.console import warn
from kt.base.files import replace_json
from kt.base.scratch import scratch

Hash = bytes
"""SHA-256 of an example as the model sees it, such as a picture's pixels: 32 bytes."""


@dataclass(frozen=True)
class StoredLayers:
    """What a folder holds, for `kt cache`. border: the layers at the cut. width: numbers a picture. dtype: of these."""

    backbone: str
    border: str
    width: int
    dtype: str


def hashes(examples: npt.NDArray[Any] | tuple[npt.NDArray[Any], ...]) -> Iterator[Hash]:
    """The hash of each example `[N, ...]`, in order; an example with several inputs has one hash of them all."""
    parts = examples if isinstance(examples, tuple) else (examples,)
    kinds = [f"{part.shape[1:]}" if part.dtype == np.uint8 else f"{part.dtype}{part.shape[1:]}" for part in parts]
    for example in zip(*parts, strict=True):
        digest = hashlib.sha256()
        for kind, part in zip(kinds, example, strict=True):
            digest.update(kind.encode())
            digest.update(np.ascontiguousarray(part).data)
        yield digest.digest()


class CachedRows:
    """Cached activations in memory or in mapped files: indexed by an int64 array `[B]` they give float32 `[B, D]`."""

    def __init__(self, files: Sequence[npt.NDArray[Any]], file: npt.NDArray[Any], place: npt.NDArray[Any]) -> None:
        self._files, self._file, self._place = files, file, place
        self.shape = (len(place), files[0]["row"].shape[1])
        self.dtype = np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        rows = np.empty((len(indices), self.shape[1]), np.float32)
        chosen = self._file[indices]
        for number in np.unique(chosen):
            of_file = np.flatnonzero(chosen == number)
            rows[of_file] = self._files[number]["row"][self._place[indices[of_file]]]
        return rows

    def chosen(self, indices: npt.NDArray[np.int64]) -> "CachedRows":
        """The activations of these examples, without reading them."""
        return CachedRows(self._files, self._file[indices], self._place[indices])

    def in_memory(self) -> npt.NDArray[np.float32]:
        """A copy of all activations, float32 `[N, D]`."""
        copy = np.empty(self.shape, np.float32)
        for start in range(0, len(copy), 1024):
            part = np.arange(start, min(start + 1024, len(copy)))
            copy[part] = self[part]
        return copy


class Store:
    """The cached activations of one frozen part, a row for each picture.

    folder: None keeps them in memory only. A file whose hash is not that of its name is removed with a warning.
    """

    def __init__(self, folder: Path | None, about: StoredLayers) -> None:
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
        """The pictures that have no activations yet."""
        return set(wanted) - self._places.keys()

    def rows(self, wanted: Sequence[Hash]) -> CachedRows:
        """The activations of the pictures, in this order. None of them may be missing."""
        file, place = np.array([self._places[key] for key in wanted], np.int64).reshape(-1, 2).T
        return CachedRows(self._files, file, place)

    def rows_of(self, wanted: Sequence[Hash]) -> npt.NDArray[np.float32]:
        """The activations of the pictures as an array `[N, D]`."""
        return self.rows(wanted).in_memory()

    @contextmanager
    def writer(self, count: int) -> "Iterator[Writer]":
        """Takes the activations of `count` pictures and adds them to the store. Raises OSError if it can't write."""
        if self._folder is None:
            held = np.empty(count, self._kind)
            yield _InMemory(held)
            self._take(held)
            return
        cache.make_room(self._folder, count * self._kind.itemsize)
        replace_json(self._folder / "about.json", asdict(self.about))
        # Written, not mapped: writing to a mapping on a full disk kills the process without a message.
        with scratch(self._folder, cache.PART) as beside:
            with beside.open("wb") as file:
                header = {"descr": np.lib.format.dtype_to_descr(self._kind), "fortran_order": False, "shape": (count,)}
                np.lib.format.write_array_header_2_0(file, header)
                yield _IntoFile(file, self._kind)
            whole = beside.replace(self._folder / f"{sha256_of(beside)}.npy")
        self._take(np.load(whole, mmap_mode="r"))


class Writer(Protocol):
    """Takes activations, some pictures at a time, until it has the announced number."""

    def add(self, keys: Sequence[Hash], rows: npt.NDArray[np.float32]) -> None:
        """Take the activations `[B, D]` of some pictures."""
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
