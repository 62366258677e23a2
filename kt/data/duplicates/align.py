"""Lays a picture over the part of another that it may show, to a fraction of a cell, and compares what remains.

The window's four edges, and what the light does to the levels (a factor and an offset), are fitted together by
Gauss and Newton's method, as Lucas and Kanade (1981) register pictures; coarse cells first, since these reach farther.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kt.data.duplicates.views import SIDE, Floats, Numbers

_PASSES = ((16, 4), (32, 3))
"""Cells a side, and how often the fit is repeated with these."""

_SMALLEST = 0.6
"""A window has at least this share of each side."""

_STEP = 0.05
_WHITE, _BLACK, _CHANGED = 240.0, 4.0, 1.04
"""Beyond these levels a picture that was made lighter or darker holds no more."""

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
    part. known: bool `[P, FINE, FINE, 1]`, where both tell something: not where one was cut off at white.
    """

    rows: Numbers
    window: Floats
    factor: Floats
    seen: Floats
    part: Floats
    known: npt.NDArray[np.bool_]


def align(part: Floats, whole: Floats, window: Floats) -> Aligned:
    """Thumbnails `[P, SIDE, SIDE, 3]` of both, and a window to begin with, float32 `[P, 4]`."""
    light = np.full(3, 1 / 3, np.float32)
    one, other = part @ light, whole @ light
    rows, edges = np.arange(len(part)), window.astype(np.float32)
    factor = np.ones(len(part), np.float32)
    for cells, times in _PASSES:
        target = means(one, cells)
        for _ in range(times):
            seen = seen_through(other, edges, cells)
            factor, offset = _light(_flat(seen), _flat(target))
            edges = _moved(edges, seen, target, factor, offset)
        left = _unexplained(seen_through(other, edges, cells), target)
        near = left < ROUGHLY
        rows, edges, factor, one, other = rows[near], edges[near], factor[near], one[near], other[near]
    factor, offset = _light(_flat(seen_through(other, edges, FINE)), _flat(means(one, FINE)))
    seen, target = _in_one_light(seen_through(whole[rows], edges, SIDE), part[rows], factor, offset)
    known = _known(seen.max(axis=3), target.max(axis=3), factor)
    known |= known.mean(axis=(1, 2), keepdims=True) < _LEAST_KNOWN
    cut = np.abs(edges - _ALL).max(axis=1, initial=0) > CROPPED
    known[cut] &= _WITHIN
    known = known[..., None]
    return Aligned(rows, edges, factor, _under(seen, target, known), target, known)


def _in_one_light(seen: Floats, part: Floats, factor: Floats, offset: Floats) -> tuple[Floats, Floats]:
    """Means of both under the lighter one's light, `[P, FINE, FINE, 3]`, each clipped before the mean is taken."""
    factor, offset = factor[:, None, None, None], offset[:, None, None, None]
    lighter = factor > 1
    seen = np.where(lighter, np.clip(factor * seen + offset, 0, 255), seen)
    part = np.where(lighter, part, np.clip((part - offset) / factor, 0, 255))
    return means(seen, FINE), means(part, FINE)


def _flat(pictures: Floats) -> Floats:
    return pictures.reshape(len(pictures), math.prod(pictures.shape[1:]))  # -1 is not known if there are none


def _unexplained(seen: Floats, target: Floats) -> Floats:
    """What a change of light leaves of the difference, as a share of the contrast."""
    seen, target = _flat(seen), _flat(target)
    factor, offset = _light(seen, target)
    known = _known(seen, target, factor)
    left = (np.clip(factor[:, None] * seen + offset[:, None], 0, 255) - target) * known
    shares = known.sum(axis=1) + 1e-3
    middle = (target * known).sum(axis=1) / shares
    contrast = np.sqrt(((target - middle[:, None]) ** 2 * known).sum(axis=1) / shares)
    return np.asarray(np.sqrt((left**2).sum(axis=1) / shares) / np.maximum(contrast, 1), np.float32)


def _known(seen: Floats, target: Floats, factor: Floats) -> npt.NDArray[np.bool_]:
    """Where neither was cut off at white or black by a change of light by this factor."""
    factor = factor.reshape(-1, *(1,) * (seen.ndim - 1))
    brighter, darker = factor > _CHANGED, factor < 1 / _CHANGED
    cut = (brighter & ((target >= _WHITE) | (target <= _BLACK))) | (darker & ((seen >= _WHITE) | (seen <= _BLACK)))
    return np.asarray(~cut)


def _under(seen: Floats, target: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """What is seen, under the light of the target: by the nearest parabola of levels, the same for all colours."""
    levels = _flat(seen) / np.float32(255) - np.float32(0.5)
    weight = _flat(np.broadcast_to(known.astype(np.float32), seen.shape)) + np.float32(1e-3)
    design = np.stack([np.ones_like(levels), levels, levels**2], axis=-1)
    weighted = (design * weight[..., None]).transpose(0, 2, 1)
    # The parabola is kept nearly straight unless there is something to bend it for.
    normal = weighted @ design + np.diag([0, 0, 1]).astype(np.float32)
    # A picture of one colour has no slope; this much can't be seen elsewhere.
    normal += (1e-5 * np.einsum("nii->n", normal))[:, None, None] * np.eye(3, dtype=np.float32)
    curve = np.linalg.solve(normal, weighted @ _flat(target)[..., None])
    return np.asarray(np.clip((design @ curve).reshape(seen.shape), 0, 255), np.float32)


def means(pictures: Floats, cells: int) -> Floats:
    """Means over `cells` x `cells` equal parts of pictures `[N, SIDE, SIDE, ...]`."""
    size = SIDE // cells
    return np.asarray(
        pictures.reshape(len(pictures), cells, size, cells, size, *pictures.shape[3:]).mean(axis=(2, 4)), np.float32
    )


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


def _light(seen: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Factor and offset that bring what is seen nearest to the target, by the levels that are not cut off."""
    # White stays white under any light, and would hide what the light does to the rest.
    told = (np.maximum(seen, target) < _WHITE) & (np.minimum(seen, target) > _BLACK)
    weight = np.where(told, np.float32(1), np.float32(1e-3))
    weight /= weight.sum(axis=1, keepdims=True)
    at, to = (weight * seen).sum(axis=1), (weight * target).sum(axis=1)
    one, other = seen - at[:, None], target - to[:, None]
    slope = (weight * one * other).sum(axis=1) / np.maximum((weight * one * one).sum(axis=1), 1e-3)
    slope = np.clip(slope, 0.3, 3).astype(np.float32)
    return slope, np.asarray(to - slope * at, np.float32)


def _moved(edges: Floats, seen: Floats, target: Floats, factor: Floats, offset: Floats) -> Floats:
    """The window after one step."""
    cells = seen.shape[1]
    height, width = edges[:, 1] - edges[:, 0], edges[:, 3] - edges[:, 2]
    down = np.gradient(seen, axis=1) * (factor * cells / height)[:, None, None]
    across = np.gradient(seen, axis=2) * (factor * cells / width)[:, None, None]
    place = ((np.arange(cells, dtype=np.float32) + 0.5) / cells)[None]
    columns = [
        down * (1 - place[..., None]),
        down * place[..., None],
        across * (1 - place[:, None]),
        across * place[:, None],
        seen,
        np.ones_like(seen),
    ]
    light = factor[:, None, None] * seen + offset[:, None, None]
    weight = np.where(_known(seen, target, factor), np.float32(1), np.float32(0.01))
    weight = _flat(weight)[..., None]
    design = np.stack([_flat(column) for column in columns], axis=-1)
    left = target - np.clip(light, 0, 255)
    weighted = design * weight
    normal = weighted.transpose(0, 2, 1) @ design
    diagonal = np.einsum("nii->ni", normal)
    normal += np.eye(6, dtype=np.float32) * (1e-3 * diagonal + 1e-3)[:, None, :]
    step = np.linalg.solve(normal, weighted.transpose(0, 2, 1) @ _flat(left)[..., None])[:, :4, 0]
    moved = np.clip(edges + np.clip(step, -_STEP, _STEP), 0, 1)
    for start, end in ((0, 1), (2, 3)):
        narrow = moved[:, end] - moved[:, start] < _SMALLEST
        moved[narrow, start : end + 1] = edges[narrow, start : end + 1]
    return np.asarray(moved, np.float32)
