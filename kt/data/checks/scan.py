"""Looks at every file of a data set once, in parallel, and keeps what it learned for the next time.

What was learned of a file is kept by its path, size and time of change; a file that has changed is read again.
"""

import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kt.base.console import progress_bar
from kt.data.checks.examiners import Examiner
from kt.data.checks.scan_cache import FileColumns, ScanCache, Writing
from kt.kinds.pictures import Pixels
from kt.kinds.pictures.room import Room

Strings = tuple[str, ...]
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_FILES, _BYTES = 32, 4_000_000
"""The most files that a process gets at once, and the most bytes, unless a single file has more."""

_MOST_WORKERS = 8


@dataclass(frozen=True, eq=False)
class Scan:
    """What is known of N files, in their order. names: as `kt run` names the pictures.

    reasons: why a file can't be read as a picture, as `kt run` would say; empty for one that can be. damages: what is
    damaged although it can be read, or empty. kinds: the format by content, such as "JPEG", empty for what is no
    picture. sha256, pixels_sha256: hexadecimal, of the file's bytes and of the decoded pixels; empty if not known.
    modes: Pillow's mode; cameras: make and model by EXIF, or empty.

    bytes: of each file, -1 if it isn't there. sizes: int64 `[N, 2]`, height and width, upright; 0 if not known.
    bits: of each value. transparent: whether any pixel is. frames: how many; kt takes the first. orientations: of EXIF,
    1 to 8, of which kt turns 2 to 8 upright. taken: seconds since 1970 by the camera's own clock (EXIF), or NaN.
    brightness, contrast, colourfulness, sharpness: as `kt.kinds.pictures.properties` has them, of the picture with its
    sides reduced to at most 224 pixels. border: float64 `[N, 3]`, the mean colour of the border; border_spread: its
    standard deviation. All of these are NaN or 0 if the picture can't be read.

    thumbnails: uint8 `[N, 64, 64, 3]`, each picture stretched to a square; black if it can't be read. The array is
    mapped from a file: take rows of it as they are needed. looked_at: how many files were read for this scan; the
    others were known. place: the data set's folder in kt's cache, where checks may keep what they find; None for none.
    """

    names: Strings
    files: tuple[Path, ...]
    reasons: Strings
    damages: Strings
    kinds: Strings
    sha256: Strings
    pixels_sha256: Strings
    modes: Strings
    cameras: Strings
    bytes: Integers
    sizes: Integers
    bits: Integers
    transparent: npt.NDArray[np.bool_]
    frames: Integers
    orientations: Integers
    taken: Floats
    brightness: Floats
    contrast: Floats
    colourfulness: Floats
    sharpness: Floats
    border: Floats
    border_spread: Floats
    thumbnails: Pixels
    looked_at: int
    place: Path | None = None

    def __len__(self) -> int:
        return len(self.names)

    @property
    def readable(self) -> npt.NDArray[np.bool_]:
        """Which files can be read as pictures, `[N]`."""
        return np.array([not reason for reason in self.reasons], bool)


def scan(
    files: Sequence[Path], *, names: Sequence[str] | None = None, root: Path | None = None, workers: int | None = None
) -> Scan:
    """Look at every file, in parallel, with a progress bar. A file that can't be read has a reason in the result.

    names: what to call the files; by default their paths below `root`. root: the folder that the data set is kept
    under in kt's cache; by default the one that holds all files. workers: how many processes; by default one a
    processor, at most 8. Each takes about 100 MB. Large pictures take 8 bytes a pixel while they are read, of which
    there are at most 100 million at a time in all processes together.
    Raises EnvironmentProblem if the cache can't be written. If it is interrupted, what was learned is kept.
    """
    paths = tuple(Path(os.path.abspath(file)) for file in files)  # noqa: PTH100 - links must not be resolved
    base = _base(paths) if root is None else Path(os.path.abspath(root))  # noqa: PTH100
    called = tuple(_below(path, base) for path in paths) if names is None else tuple(names)
    if len(called) != len(paths):
        raise ValueError(f"{len(called)} names for {len(paths)} files")
    kept = ScanCache(base)
    known = kept.known(paths)
    if known.complete and known.thumbnails is not None:
        return _scan(called, paths, known.columns, known.thumbnails, looked_at=0, place=kept.folder)
    old, new = np.flatnonzero(known.rows >= 0), np.flatnonzero(known.rows < 0)
    columns = FileColumns.blank(len(paths))
    with kept.writing(len(paths)) as written:
        if known.thumbnails is not None:
            columns.copy(old, known.columns, known.rows[old])
            written.copy(old, known.thumbnails, known.rows[old])
        try:
            _look(paths, _batches(new, known.sizes), columns, written, workers=workers)
        finally:  # also if it is interrupted
            thumbnails = kept.publish(paths, columns, written)
    return _scan(called, paths, columns, thumbnails, looked_at=len(new), place=kept.folder)


def _base(paths: Sequence[Path]) -> Path:
    """The folder that all files lie in."""
    try:
        return Path(os.path.commonpath([path.parent for path in paths])) if paths else Path.cwd()
    except ValueError:  # on several drives
        return Path(paths[0].anchor)


def _below(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()


def _batches(rows: Integers, sizes: Integers) -> list[list[int]]:
    """The rows to look at, in parts for one process at a time."""
    batches: list[list[int]] = []
    room = 0
    for row, size in zip(rows.tolist(), sizes[rows].tolist(), strict=True):
        room -= max(0, size)
        if not batches or room < 0 or len(batches[-1]) == _FILES:
            batches.append([])
            room = _BYTES - max(0, size)
        batches[-1].append(row)
    return batches


def _look(
    paths: Sequence[Path], batches: list[list[int]], columns: FileColumns, written: Writing, *, workers: int | None
) -> None:
    """Examine the files of all batches, and write what is learned into `columns` and `written`."""
    if not batches:
        return
    waiting, lock = iter(batches), threading.Lock()
    room = Room()
    examiners = [Examiner(room) for _ in range(min(workers or _processors(), len(batches)))]
    files = sum(map(len, batches))
    with progress_bar("looking at files", files, unit="files") as bar, ThreadPoolExecutor(len(examiners)) as pool:

        def work(examiner: Examiner) -> None:
            while True:
                with lock:
                    batch = next(waiting, None)
                if batch is None:
                    return
                now = time.time_ns()
                facts, thumbnails = examiner.examine([paths[row] for row in batch])
                with lock:
                    for row, learned, thumbnail in zip(batch, facts, thumbnails, strict=True):
                        columns.put(row, learned, now_ns=now)
                        if thumbnail is not None:
                            written.put(row, thumbnail)
                    bar.advance(len(batch))

        working = [pool.submit(work, examiner) for examiner in examiners]
        try:
            for done in wait(working, return_when=FIRST_EXCEPTION).done:
                done.result()
        finally:
            for examiner in examiners:
                examiner.end()


def _processors() -> int:
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_WORKERS, available)


def _scan(
    names: Strings, files: tuple[Path, ...], columns: FileColumns, thumbnails: Pixels, *, looked_at: int, place: Path
) -> Scan:
    texts, numbers = columns.texts, columns.numbers
    return Scan(
        names=names,
        files=files,
        reasons=tuple(texts["reason"]),
        damages=tuple(texts["damage"]),
        kinds=tuple(texts["kind"]),
        sha256=tuple(texts["sha256"]),
        pixels_sha256=tuple(texts["pixels_sha256"]),
        modes=tuple(texts["mode"]),
        cameras=tuple(texts["camera"]),
        bytes=numbers["size"],
        sizes=np.stack([numbers["height"], numbers["width"]], axis=1),
        bits=numbers["bits"],
        transparent=numbers["transparent"],
        frames=numbers["frames"],
        orientations=numbers["orientation"],
        taken=numbers["taken"],
        brightness=numbers["brightness"],
        contrast=numbers["contrast"],
        colourfulness=numbers["colourfulness"],
        sharpness=numbers["sharpness"],
        border=numbers["border"],
        border_spread=numbers["border_spread"],
        thumbnails=thumbnails,
        looked_at=looked_at,
        place=place,
    )
