"""Candidates: pairs of pictures of which one may be the other, or a crop of it, mirrored or turned.

No picture is compared with all others. Descriptions lie on a sphere that is divided by random pictures: each
description belongs to the nearest of these, and one that asks looks only at what belongs to the nearest few.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kt.data.duplicates.thumbnails import Thumbnails
from kt.data.duplicates.views import DIMENSIONS, TURNS, WINDOWS, Floats, Numbers, numbers, transforms, turned_transforms

LIKE = 0.85
"""Pairs whose descriptions have a smaller cosine than this are no candidates."""

FEW = 60
"""With more candidates than this for each picture, `LIKE` rises until there are fewer."""

MOST = 12
"""Of each picture, only so many of the most similar others are candidates."""

_SEED, _SAMPLE = 0, 2000
_FLOOR = 0.01
"""Added to the standard deviation of each number, relative to a contrast of 1: what varies less is noise."""

_CELLS, _PROBES, _BLOCK = 2048, 8, 8192
_HELD = 4_000_000
"""So many hits are held before only the best are kept, which bounds the memory."""

_OF_CELL = 128
"""So many hits of a form of a picture count in a cell: of thousands of frames alike each would hit all others."""


@dataclass(frozen=True)
class Candidates:
    """Pairs of pictures that may be copies. part, whole: int64 `[P]`, indices.

    turn: int64 `[P]`, how the part must be turned to lie upright in the whole. window: int64 `[P]`, which of `WINDOWS`
    of the whole the part may be. likeness: the cosine of both descriptions, float32 `[P]`.
    """

    part: Numbers
    whole: Numbers
    turn: Numbers
    window: Numbers
    likeness: Floats

    def __len__(self) -> int:
        return len(self.part)

    def chosen(self, rows: npt.NDArray[np.generic]) -> "Candidates":
        """These rows alone."""
        return Candidates(self.part[rows], self.whole[rows], self.turn[rows], self.window[rows], self.likeness[rows])


@dataclass(frozen=True)
class _Scale:
    """Centres and scales descriptions by what the pictures of this data set, turned in all ways, have in common."""

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, transform: Floats) -> "_Scale":
        chosen = np.random.default_rng(_SEED).permutation(len(transform))[:_SAMPLE]
        rows = numbers(turned_transforms(transform[chosen])).reshape(-1, DIMENSIONS)
        return cls(rows.mean(axis=0), rows.std(axis=0) + np.float32(_FLOOR))

    def descriptions(self, transform: Floats) -> Floats:
        rows = (numbers(transform) - self.mean) / self.deviation
        return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-6), np.float32)


def find_candidates(thumbnails: Thumbnails, *, advance: Callable[[int], object] = lambda _: None) -> Candidates:
    """The candidates among N pictures; a pair comes at most twice, as it is and mirrored or turned.

    advance: is told of each block of pictures that was looked for, by their number.
    """
    count = len(thumbnails)
    whole = np.concatenate([transforms(thumbnails.take(rows), cropped=False)[:, 0] for rows in _blocks(count, 512)])
    scale = _Scale.of(whole)
    asking = np.concatenate(
        [scale.descriptions(turned_transforms(whole[rows])).astype(np.float16) for rows in _blocks(count, 512)]
    ).reshape(-1, DIMENSIONS)
    random = np.random.default_rng(_SEED)
    cells = min(_CELLS, int(6 * np.sqrt(count)))
    centres = asking[random.permutation(len(asking))[:cells]].astype(np.float32)
    asked, ends = _looked_at(asking, centres)
    least = _least(scale, whole)
    found = _none()
    for rows in _blocks(count, max(256, min(_BLOCK, count))):
        descriptions = np.concatenate(
            [
                scale.descriptions(transforms(thumbnails.take(rows[start : start + 512]), cropped=True))
                for start in range(0, len(rows), 512)
            ]
        ).reshape(-1, DIMENSIONS)
        gathered, held = [found], 0
        for hits in _hits(asking, asked, ends, descriptions, centres, rows, least=least):
            gathered.append(hits)
            held += len(hits)
            if held > _HELD:
                gathered, held = [_best(gathered, count)], 0
        found = _best(gathered, count)
        advance(len(rows))
    return found


def _least(scale: _Scale, whole: Floats) -> float:
    """`LIKE`, or more if each picture would have more than `FEW` candidates, by a sample of the pictures.

    So it is with frames of a film: then only what is nearer than most frames is looked at.
    """
    chosen = np.random.default_rng(_SEED).permutation(len(whole))[:_SAMPLE]
    forms = scale.descriptions(turned_transforms(whole[chosen[:256]]))
    likeness = np.full((len(forms), len(chosen)), -1, np.float32)
    others = scale.descriptions(whole[chosen])
    for turn in range(TURNS):
        np.maximum(likeness, forms[:, turn] @ others.T, out=likeness)
    likeness[np.arange(len(forms)), np.arange(len(forms))] = -1
    share = 1 - FEW / len(whole)
    return LIKE if share <= 0 else max(LIKE, float(np.quantile(likeness, share)))


def _blocks(count: int, step: int) -> Iterator[Numbers]:
    for start in range(0, count, step):
        yield np.arange(start, min(start + step, count))


def _looked_at(asking: npt.NDArray[np.float16], centres: Floats) -> tuple[npt.NDArray[np.int32], Numbers]:
    """For each cell the rows of `asking` that look into it, one after another, and where those of each cell end."""
    probes = min(_PROBES, len(centres))
    cells = np.empty((len(asking), probes), np.int32)
    for rows in _blocks(len(asking), 4096):
        likeness = asking[rows].astype(np.float32) @ centres.T
        cells[rows] = np.argpartition(-likeness, probes - 1, axis=1)[:, :probes]
    flat = cells.ravel()
    order = np.argsort(flat, kind="stable")
    ends = np.searchsorted(flat[order], np.arange(len(centres) + 1))
    return (order // probes).astype(np.int32), ends


def _hits(
    asking: npt.NDArray[np.float16],
    asked: npt.NDArray[np.int32],
    ends: Numbers,
    descriptions: Floats,
    centres: Floats,
    rows: Numbers,
    *,
    least: float,
) -> Iterator[Candidates]:
    """Pairs of one who asks and a description with a cosine above `least`, cell by cell.

    rows: the pictures that are described.
    """
    cells = np.concatenate(
        [np.argmax(descriptions[some] @ centres.T, axis=1) for some in _blocks(len(descriptions), 4096)]
    )
    order = np.argsort(cells, kind="stable")
    starts = np.searchsorted(cells[order], np.arange(len(centres) + 1))
    for cell in range(len(centres)):
        members = order[starts[cell] : starts[cell + 1]]
        who = asked[ends[cell] : ends[cell + 1]]
        if not len(members) or not len(who):
            continue
        stored = descriptions[members]
        for start in range(0, len(who), max(1, 2**22 // len(members))):
            some = who[start : start + max(1, 2**22 // len(members))]
            likeness = asking[some].astype(np.float32) @ stored.T
            near = likeness > least
            many = np.flatnonzero(near.sum(axis=1) > _OF_CELL)
            if len(many):
                near[many] &= likeness[many] >= np.partition(likeness[many], -_OF_CELL, axis=1)[:, -_OF_CELL, None]
            one, other = np.nonzero(near)
            part, turn = np.divmod(some[one].astype(np.int64), TURNS)
            picture, window = np.divmod(members[other], len(WINDOWS))
            whole = rows[picture]
            apart = part != whole
            yield Candidates(part[apart], whole[apart], turn[apart], window[apart], likeness[one[apart], other[apart]])


def _none() -> Candidates:
    empty = np.empty(0, np.int64)
    return Candidates(empty, empty, empty, empty, np.empty(0, np.float32))


def _best(found: list[Candidates], count: int) -> Candidates:
    """Each pair once as it is and once mirrored or turned, in the best window; only the `MOST` best of each picture.

    Both are kept because many things look nearly the same in a mirror.
    """
    every = Candidates(
        np.concatenate([some.part for some in found]),
        np.concatenate([some.whole for some in found]),
        np.concatenate([some.turn for some in found]),
        np.concatenate([some.window for some in found]),
        np.concatenate([some.likeness for some in found]),
    )
    # Of a picture and its copy the whole is as good as a crop of it; then the whole is taken.
    plain = every.likeness + np.float32(0.02) * (every.window == 0)
    key = np.minimum(every.part, every.whole) * count + np.maximum(every.part, every.whole)
    key = 2 * key + (every.turn > 0)
    order = np.lexsort((-plain, key))
    every = every.chosen(order[np.flatnonzero(np.diff(key[order], prepend=-1))])
    kept = np.zeros(len(every), bool)
    for pictures in (every.part, every.whole):
        order = np.lexsort((-every.likeness, pictures))
        starts = np.flatnonzero(np.diff(pictures[order], prepend=-1))
        rank = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
        kept[order[rank < MOST]] = True
    return every.chosen(kept)
