"""Distances to near neighbours between features of length 1."""

import numpy as np
import numpy.typing as npt

from kt.linear.space import Floats

_BLOCK = 1024


def unit(features: npt.ArrayLike) -> Floats:
    """Features `[N, D]` of length 1, as float64; those that are all 0 stay so."""
    rows = np.asarray(features, np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1.0))


def near_distances(
    rows: npt.ArrayLike, known: Floats, *, neighbours: int, same: npt.NDArray[np.bool_] | None = None
) -> tuple[Floats, Floats]:
    """The distance of each row to the nearest known one, and to the `neighbours`-th or the last that there is.

    rows: `[N, D]`, of any length. known: `[M, D]`, of length 1. same: `[N, M]`, which of them do not count. Distances
    are from 0 to 2. Works in blocks, since rows may be many.
    """
    given = np.asarray(rows)
    result = np.empty((2, len(given)))
    for start in range(0, len(given), _BLOCK):
        block = slice(start, start + _BLOCK)
        near = unit(given[block]) @ known.T
        if same is not None:
            near[same[block]] = -np.inf
        near = -np.sort(-near, axis=1)[:, :neighbours]
        last = np.isfinite(near).sum(axis=1) - 1
        for row, place in enumerate((0, last)):
            result[row, block] = np.sqrt(np.maximum(2 - 2 * near[np.arange(len(near)), place], 0.0))
    first, far = np.round(result, 9)  # equal examples differ by rounding
    return first, far
