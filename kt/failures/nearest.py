"""The training examples nearest to a model's errors: whether a label is wrong, or training lacks such examples."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.failures.results import Neighbours
from kt.linear.space import Floats, scale_of

NEAREST = 3


def nearest(train: npt.NDArray[Any], groups: Sequence[str], errors: npt.NDArray[Any]) -> tuple[Neighbours, ...]:
    """The nearest training examples of each error, of different groups.

    train, errors: features `[N, D]` and `[M, D]`. groups: of the training examples. Features are standardised by train,
    and compared by the cosine.
    """
    standard = Standard(train)
    own, ids = standard(train), np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1].reshape(-1)
    alike = own @ own.T
    alike[ids[:, None] == ids[None]] = -1.0
    among = np.sort(alike.max(axis=1))
    told = []
    for row in standard(errors) @ own.T:
        places: list[int] = []
        for place in np.argsort(-row, kind="stable").tolist():
            if ids[place] not in ids[places]:
                places.append(place)
            if len(places) == NEAREST:
                break
        closer = len(among) - np.searchsorted(among, row[places[0]] + 1e-9)
        told.append(Neighbours(tuple(places), tuple(float(row[p]) for p in places), float(closer / len(among))))
    return tuple(told)


class Standard:
    """A function of features `[N, D]`: standardised by those given here, and of length 1."""

    def __init__(self, rows: npt.NDArray[Any]) -> None:
        values = np.asarray(rows, np.float64)
        self._mean, self._scale = values.mean(axis=0), scale_of(values)

    def __call__(self, rows: npt.NDArray[Any]) -> Floats:
        """The features float64 `[N, D]`."""
        values = (np.asarray(rows, np.float64) - self._mean) / self._scale
        return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))
