"""Lays a picture over the part of another that it may show, to a fraction of a cell, and compares what remains.

The window's four edges, and what the light does to the levels (a factor and an offset), are fitted together by
Gauss and Newton's method, as Lucas and Kanade (1981) register pictures; coarse cells first, since these reach farther.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kt.data.duplicates.light import brightness, curved, cut_off, flat, lighter, recoloured, slope
from kt.data.duplicates.views import SIDE, Floats, Numbers

_PASSES = ((16, 4), (32, 3))
"""Cells a side, and how often the fit is repeated with these."""

_SMALLEST = 0.6
"""A window has at least this share of each side."""

_STEP = 0.05
_CUT = 0.3
"""A cell is not compared if the lighter picture is cut off in this share of it more than the other one."""

_LEAST_KNOWN = 0.15
"""Where less of a picture than this share is not cut off, all of it is compared."""

FINE = 32
CROPPED = 0.03
"""A window counts as cropped if this share or more is missing on a side.

Then the outermost cells are not compared: what lay beyond the cut is in the whole's thumbnail, and not in the part's.
"""

_ALL = np.array([0, 1, 0, 1], np.float32)
_WITHIN = np.zeros((FINE, FINE), bool)
_WITHIN[1:-1, 1:-1] = True

ROUGHLY = 0.3
"""Pairs that differ by more than this share of the contrast, once they are aligned, are not compared further."""


@dataclass(frozen=True)
class Aligned:
    """Pairs laid over each other. rows: int64 `[P]`, which of the given pairs; the others are nowhere near.

    window: float32 `[P, 4]`, top, bottom, left, right, as shares of the whole. factor: float32 `[P]`, how much lighter
    the part is. seen, part: float32 `[P, FINE, FINE, 3]`, the window of the whole under the light of the part, and the
    part. known: bool `[P, FINE, FINE, 1]`, where both tell something: not where one was cut off at white. fine_seen,
    fine_part: the same two at `[P, SIDE, SIDE, 3]`. cut: bool `[P, SIDE, SIDE]`, where one alone is cut off.
    """

    rows: Numbers
    window: Floats
    factor: Floats
    seen: Floats
    part: Floats
    known: npt.NDArray[np.bool_]
    fine_seen: Floats
    fine_part: Floats
    cut: npt.NDArray[np.bool_]

    def chosen(self, rows: npt.NDArray[np.generic]) -> "Aligned":
        """These rows alone."""
        return Aligned(**{name: values[rows] for name, values in vars(self).items()})


def align(part: Floats, whole: Floats, window: Floats) -> Aligned:
    """Thumbnails `[P, SIDE, SIDE, 3]` of both, and a window to begin with, float32 `[P, 4]`."""
    one, other = brightness(part), brightness(whole)
    one_cut, other_cut = cut_off(part), cut_off(whole)
    rows, edges = np.arange(len(part)), window.astype(np.float32)
    for cells, times in _PASSES:
        target, target_cut = means(one, cells), means(one_cut, cells)
        above = lighter(
            seen_through(other, edges, cells),
            target,
            seen_cut=seen_through(other_cut, edges, cells),
            target_cut=target_cut,
        )
        for _ in range(times):
            edges = _moved(edges, *_in_one_light(seen_through(other, edges, cells), target, above))
        near = _unexplained(*_in_one_light(seen_through(other, edges, cells), target, above), above) < ROUGHLY
        rows, edges, one, other = rows[near], edges[near], one[near], other[near]
        one_cut, other_cut = one_cut[near], other_cut[near]
    return _compared(rows, edges, seen_through(whole[rows], edges, SIDE), part[rows])


def _compared(rows: Numbers, edges: Floats, seen: Floats, part: Floats) -> Aligned:
    """Pairs whose windows are known. seen, part: `[P, SIDE, SIDE, 3]`."""
    seen_cut, part_cut = cut_off(seen), cut_off(part)
    above = lighter(seen, part, seen_cut=seen_cut, target_cut=part_cut)[:, None, None]
    cut = np.where(above, means(part_cut, FINE) - means(seen_cut, FINE), means(seen_cut, FINE) - means(part_cut, FINE))
    known = cut < _CUT
    known |= known.mean(axis=(1, 2), keepdims=True) < _LEAST_KNOWN
    inside = np.abs(edges - _ALL).max(axis=1, initial=0) > CROPPED
    known[inside] &= _WITHIN
    above = above[..., None]
    weight = known.astype(np.float32)
    lower, upper = np.where(above, seen, part), np.where(above, part, seen)
    lower = recoloured(means(lower, FINE), means(upper, FINE), weight, apply=lower)
    fine_seen, fine_part = np.where(above, lower, upper), np.where(above, upper, lower)
    factor = slope(
        flat(means(brightness(seen), FINE)),
        flat(means(brightness(part), FINE)),
        flat(means(np.maximum(seen_cut, part_cut), FINE)),
    )
    return Aligned(
        rows,
        edges,
        factor,
        means(fine_seen, FINE),
        means(fine_part, FINE),
        known[..., None],
        fine_seen,
        fine_part,
        seen_cut != part_cut,
    )


def _in_one_light(seen: Floats, target: Floats, above: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Both under the light of the one that is cut off more. above: bool `[P]`, whether that is the target."""
    up = above[:, None]
    lower, upper = np.where(up, flat(seen), flat(target)), np.where(up, flat(target), flat(seen))
    lower = curved(lower, upper)
    return np.where(up, lower, upper).reshape(seen.shape), np.where(up, upper, lower).reshape(seen.shape)


def _unexplained(seen: Floats, target: Floats, above: npt.NDArray[np.bool_]) -> Floats:
    """What remains of the difference in one light, as a share of the contrast."""
    upper = np.where(above[:, None], flat(target), flat(seen))
    left = np.sqrt(((flat(target) - flat(seen)) ** 2).mean(axis=1))
    return np.asarray(left / np.maximum(upper.std(axis=1), 1), np.float32)


def means(pictures: Floats, cells: int) -> Floats:
    """Means over `cells` x `cells` equal parts of pictures `[N, SIDE, SIDE, ...]`."""
    size = SIDE // cells
    # Sums of slices: numpy takes many times as long to reduce short axes.
    rows = sum((pictures[:, step::size] for step in range(1, size)), pictures[:, ::size])
    total = sum((rows[:, :, step::size] for step in range(1, size)), rows[:, :, ::size])
    return np.asarray(total / np.float32(size * size), np.float32)


def seen_through(pictures: Floats, window: Floats, cells: int) -> Floats:
    """Means over `cells` x `cells` equal parts of a window into each picture `[N, SIDE, SIDE, ...]`."""
    down, across = _areas(window[:, :2], cells), _areas(window[:, 2:], cells)
    count = len(pictures)
    colours = math.prod(pictures.shape[3:])
    bands = (down @ pictures.reshape(count, SIDE, SIDE * colours)).reshape(count, cells, SIDE, colours)
    return np.asarray((across[:, None] @ bands).reshape(count, cells, cells, *pictures.shape[3:]), np.float32)


def _areas(spans: Floats, cells: int) -> Floats:
    """How much of each cell of a span lies in each pixel, `[N, cells, SIDE]`; rows sum to 1."""
    start, length = spans[:, :1] * SIDE, (spans[:, 1:] - spans[:, :1]) * SIDE
    edges = start + length * (np.arange(cells + 1, dtype=np.float32) / cells)
    within = np.clip(edges[:, :, None] - np.arange(SIDE, dtype=np.float32), 0, 1)
    return np.asarray(np.diff(within, axis=1) * (cells / length)[:, :, None], np.float32)


def _moved(edges: Floats, seen: Floats, target: Floats) -> Floats:
    """The window after one step. seen, target: float32 `[P, cells, cells]`, in one light."""
    cells = seen.shape[1]
    height, width = edges[:, 1] - edges[:, 0], edges[:, 3] - edges[:, 2]
    down = np.gradient(seen, axis=1) * (cells / height)[:, None, None]
    across = np.gradient(seen, axis=2) * (cells / width)[:, None, None]
    place = ((np.arange(cells, dtype=np.float32) + 0.5) / cells)[None]
    columns = [
        down * (1 - place[..., None]),
        down * place[..., None],
        across * (1 - place[:, None]),
        across * place[:, None],
        seen,
        np.ones_like(seen),
    ]
    design = np.stack([flat(column) for column in columns], axis=-1)
    turned = design.transpose(0, 2, 1)
    normal = turned @ design
    diagonal = np.einsum("nii->ni", normal)
    normal += np.eye(6, dtype=np.float32) * (1e-3 * diagonal + 1e-3)[:, None, :]
    step = np.linalg.solve(normal, turned @ flat(target - seen)[..., None])[:, :4, 0]
    moved = np.clip(edges + np.clip(step, -_STEP, _STEP), 0, 1)
    for start, end in ((0, 1), (2, 3)):
        narrow = moved[:, end] - moved[:, start] < _SMALLEST
        moved[narrow, start : end + 1] = edges[narrow, start : end + 1]
    return np.asarray(moved, np.float32)
