"""From a list of pictures to `Splits`: read, skip what can't be read, find duplicates, split.

Shared by every source. Pictures of one thing (a group) and near-duplicates never straddle two splits.
"""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kt.console import progress_bar, warn
from kt.data.images import read_rgb, resize
from kt.data.splits import Pixels, Skipped, Split, Splits
from kt.errors import DataError, RecipeError

SPLITS = ("train", "validation", "test")

NEAR = 5.0
"""Two pictures nearer than this are one picture: root mean square over 16 x 16 thumbnails, in levels of 255.

Copies that were saved again or scaled lie below 2; on four sets of photos no two different ones came below 7, except
frames of one turning apple.
"""

MEMORY_BUDGET = 2 * 2**30
"""Bytes of decoded pictures that are held in memory; more are memory-mapped in a temporary file."""


@dataclass(frozen=True)
class Item:
    """One picture before it is read: a file, or a function that gives its pixels; `split` where the source has one."""

    source: Path | Callable[[], Pixels]
    label: str
    name: str
    group: str
    split: str | None = None


@dataclass(frozen=True)
class Shares:
    """How to split what has no splits: the shares of validation and test, and the seed."""

    validation: float
    test: float
    seed: int

    def __post_init__(self) -> None:
        for name, share in (("validation", self.validation), ("test", self.test)):
            if not 0 < share < 1:
                raise RecipeError(f"{name} is a share of the pictures between 0 and 1, such as 0.2, not {share}.")
        if self.validation + self.test >= 1:
            raise RecipeError(f"validation {self.validation} and test {self.test} leave nothing to train on.")


@dataclass(frozen=True)
class Pictures:
    """What was read: pixels uint8 `[N, H, W, 3]` in the order of `items`, the SHA-256 of each, and what was skipped."""

    pixels: Pixels
    items: tuple[Item, ...]
    hashes: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def check_geometry(image_size: tuple[int, int], batch_size: int) -> None:
    """Raise RecipeError unless the picture size and the batch size can be worked with."""
    if min(image_size) < 8 or max(image_size) > 4096:
        raise RecipeError(f"image_size must be from 8 to 4096 pixels a side, not {image_size[0]}x{image_size[1]}.")
    if not 1 <= batch_size <= 65536:
        raise RecipeError(f"batch_size must be from 1 to 65536, not {batch_size}.")


def read(items: Sequence[Item], image_size: tuple[int, int]) -> Pictures:
    """Decode and resize every picture, in parallel; one that can't be read is skipped, named and counted.

    Raises DataError if none is left.
    """
    pixels = _allocate(len(items), image_size)
    kept: list[Item] = []
    hashes: list[str] = []
    skipped: list[Skipped] = []

    def one(item: Item) -> tuple[Pixels, str] | Skipped:
        try:
            if not isinstance(item.source, Path):
                image = item.source()
                return resize(image, image_size), hashlib.sha256(image.tobytes()).hexdigest()
            data = item.source.read_bytes()
            return resize(read_rgb(data), image_size), hashlib.sha256(data).hexdigest()
        except (DataError, OSError) as error:
            return Skipped(item.name, " ".join(str(error).split()))

    with progress_bar("reading pictures", len(items)) as bar, ThreadPoolExecutor(max_workers=4) as pool:
        for item, result in zip(items, pool.map(one, items), strict=True):
            bar.advance()
            if isinstance(result, Skipped):
                skipped.append(result)
                continue
            pixels[len(kept)] = result[0]
            kept.append(item)
            hashes.append(result[1])
    _tell_skipped(skipped)
    if not kept:
        raise DataError(
            f"None of {len(items)} pictures can be read; the first, {skipped[0].name}: {skipped[0].reason}."
        )
    return Pictures(pixels[: len(kept)], tuple(kept), tuple(hashes), tuple(skipped))


def _allocate(count: int, image_size: tuple[int, int]) -> Pixels:
    shape = (count, *image_size, 3)
    if np.prod(shape, dtype=np.int64) <= MEMORY_BUDGET:
        return np.empty(shape, np.uint8)
    with tempfile.TemporaryFile(prefix="kt-pixels-") as file:  # unlinked at once: it goes when the mapping goes
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)


def _tell_skipped(skipped: Sequence[Skipped]) -> None:
    for one in skipped[:5]:
        warn(f"skipped {one.name}: {one.reason}")
    if len(skipped) > 5:
        warn(f"skipped {len(skipped)} files in all; the report names each")


def assemble(
    items: Sequence[Item], *, image_size: tuple[int, int], batch_size: int, shares: Shares, origin: str
) -> Splits:
    """Read the pictures and complete their splits: what lacks validation or test is split by class, group and seed.

    Raises DataError where there are too few classes or pictures to split.
    """
    classes = tuple(sorted({item.label for item in items}))
    if len(classes) < 2:
        found = f"only one, {classes[0]!r}" if classes else "none"
        raise DataError(f"At least two classes are needed, and there is {found} in {origin}.")
    pictures = read(items, image_size)
    lost = sorted(set(classes) - {item.label for item in pictures.items})
    if lost:
        raise DataError(f"Class {lost[0]!r} has no picture that can be read in {origin}.")
    labels = np.array([classes.index(item.label) for item in pictures.items], np.int64)
    near = near_duplicates(pictures.pixels)
    groups = _groups(pictures.items, near)
    splits = _complete([item.split for item in pictures.items], labels, groups, classes=classes, shares=shares)
    keep, notes = _without_leaks(splits, near)
    notes += _two_labels(labels, near, pictures.items)
    notes += [f"{len(pictures.skipped)} files could not be read and were skipped"] if pictures.skipped else []
    parts = {name: _part(pictures, labels, groups, chosen=np.flatnonzero((splits == name) & keep)) for name in SPLITS}
    notes += _absent(parts, classes, origin)
    for note in notes:
        warn(note)
    return Splits(
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        classes=classes,
        batch_size=batch_size,
        origin=origin,
        digest=_digest(splits[keep], [classes[label] for label in labels[keep]], np.array(pictures.hashes)[keep]),
        skipped=pictures.skipped,
        notes=tuple(notes),
    )


def near_duplicates(pixels: Pixels) -> npt.NDArray[np.int64]:
    """Pairs `[P, 2]` of indices, the smaller first, of pictures that show the same within `NEAR`."""
    thumbnails = _thumbnails(pixels)
    squares = (thumbnails**2).sum(axis=1)
    found = []
    for start in range(0, len(thumbnails), 1024):
        block = slice(start, start + 1024)
        squared = squares[block, None] + squares[None, :] - 2 * thumbnails[block] @ thumbnails.T
        rows, columns = np.nonzero(squared < NEAR**2 * thumbnails.shape[1])
        later = columns > rows + start
        found.append(np.stack([rows[later] + start, columns[later]], axis=1))
    return np.concatenate(found).astype(np.int64)


def _thumbnails(pixels: Pixels) -> npt.NDArray[np.float32]:
    """Mean colours of a 16 x 16 grid, float32 `[N, 768]`."""
    height, width = (side - side % 16 if side >= 16 else side for side in pixels.shape[1:3])
    rows, columns = (min(16, side) for side in (height, width))
    cells = np.empty((len(pixels), rows * columns * 3), np.float32)
    for start in range(0, len(pixels), 256):
        part = pixels[start : start + 256, :height, :width]
        grid = part.reshape(len(part), rows, height // rows, columns, width // columns, 3)
        cells[start : start + 256] = grid.mean(axis=(2, 4), dtype=np.float32).reshape(len(part), -1)
    return cells


def _groups(items: Sequence[Item], near: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """A number for each picture, shared by all of its group and their near-duplicates."""
    first: dict[tuple[str, str], int] = {}
    owner = [first.setdefault((item.label, item.group), index) for index, item in enumerate(items)]
    rows = np.concatenate([np.arange(len(items)), near[:, 0]])
    columns = np.concatenate([np.array(owner), near[:, 1]])
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(items), len(items)))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _complete(
    given: Sequence[str | None],
    labels: npt.NDArray[np.int64],
    groups: npt.NDArray[np.int64],
    *,
    classes: Sequence[str],
    shares: Shares,
) -> npt.NDArray[np.str_]:
    """The split of each picture: the given one, else drawn. Missing validation and test are drawn from the rest."""
    splits = np.array([split or "train" for split in given], dtype="<U10")
    missing = [name for name in ("test", "validation") if not (splits == name).any()]
    wanted = {"test": shares.test, "validation": shares.validation}
    random = np.random.default_rng(shares.seed)
    for label, name in enumerate(classes):
        members = np.flatnonzero((labels == label) & (splits == "train"))
        numbers = random.permutation(np.unique(groups[members]))
        if len(numbers) < 1 + len(missing):
            raise DataError(
                f"Class {name!r} has {len(numbers)} independent pictures, and {1 + len(missing)} are needed for "
                f"{', '.join(['train', *sorted(missing)])}; add pictures, or give the splits as train/, validation/ and "
                "test/ folders. (Copies, and files that share the part of the name before '__', count as one.)"
            )
        sizes = {number: int((groups[members] == number).sum()) for number in numbers}
        for split in missing:
            goal, taken = wanted[split] * len(members), 0
            # The last groups stay: each split that is still to come and train need one.
            reserve = 1 + (split == "test" and "validation" in missing)
            while len(numbers) > reserve and (taken == 0 or taken < goal):
                taken += sizes[numbers[0]]
                splits[np.isin(groups, numbers[0]) & (splits == "train")] = split
                numbers = numbers[1:]
    return splits


def _without_leaks(
    splits: npt.NDArray[np.str_], near: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.bool_], list[str]]:
    """Which pictures stay: one that shows the same as one of a later split (train, validation, test) goes."""
    rank = np.array([SPLITS.index(split) for split in splits])
    first, second = near[:, 0], near[:, 1]
    straddling = rank[first] != rank[second]
    earlier = np.where(rank[first] < rank[second], first, second)[straddling]
    keep = np.ones(len(splits), bool)
    keep[earlier] = False
    dropped = Counter(splits[~keep])
    notes = [
        f"{count} pictures of {split} show the same as one of a later split and were left out"
        for split, count in sorted(dropped.items())
    ]
    return keep, notes


def _two_labels(labels: npt.NDArray[np.int64], near: npt.NDArray[np.int64], items: Sequence[Item]) -> list[str]:
    clash = near[labels[near[:, 0]] != labels[near[:, 1]]]
    if not len(clash):
        return []
    one, other = (items[index].name for index in clash[0])
    return [f"{len(clash)} pairs of pictures look the same but have different labels, such as {one} and {other}"]


def _part(
    pictures: Pictures, labels: npt.NDArray[np.int64], groups: npt.NDArray[np.int64], *, chosen: npt.NDArray[np.int64]
) -> Split:
    height, width = pictures.pixels.shape[1:3]
    pixels = _allocate(len(chosen), (height, width))
    for row, index in enumerate(chosen):
        pixels[row] = pictures.pixels[index]
    files = [pictures.items[index].source for index in chosen]
    return Split(
        pixels=pixels,
        labels=labels[chosen],
        names=tuple(pictures.items[index].name for index in chosen),
        groups=tuple(str(groups[index]) for index in chosen),
        files=tuple(file for file in files if isinstance(file, Path)) if _all_files(files) else None,
    )


def _all_files(sources: Iterable[object]) -> bool:
    return all(isinstance(source, Path) for source in sources)


def _absent(parts: dict[str, Split], classes: Sequence[str], origin: str) -> list[str]:
    """Notes on classes that validation or test lacks; DataError where train lacks one, or a split is empty."""
    notes = []
    for name, part in parts.items():
        if not len(part):
            raise DataError(f"{name} has no pictures in {origin}.")
        absent = [classes[label] for label in sorted(set(range(len(classes))) - set(part.labels.tolist()))]
        if absent and name == "train":
            raise DataError(f"Class {absent[0]!r} has no picture in train of {origin}.")
        if absent:
            notes.append(f"{name} has no picture of {', '.join(absent)}")
    return notes


def _digest(splits: Iterable[str], labels: Iterable[str], hashes: Iterable[str]) -> str:
    lines = sorted(
        f"{split}\0{label}\0{content}\n" for split, label, content in zip(splits, labels, hashes, strict=True)
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()
