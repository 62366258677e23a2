"""What the map of a picture shows, in words and as plain data."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.explain.curves import Removed
from kt.explain.maps import Map


def in_words(drawn: Map, without: Removed | None) -> str:
    """What the map shows, and what its places are worth, for a person.

    without: None where the map points at no place.
    """
    return "; ".join(filter(None, [drawn.in_words(), without.in_words() if without else ""]))


def as_json(drawn: Map, without: Removed | None, classes: Sequence[str]) -> dict[str, Any]:
    """The same as plain data under stable keys. classes: in the order of the scores."""
    half = drawn.half
    return {
        "label": classes[drawn.label],
        "score": round(float(drawn.scores[drawn.label]), 6),
        "predicted": classes[int(drawn.scores.argmax())],
        "half": None if half is None else round(half, 4),
        "place": drawn.place,
        "without": None if without is None else round(without.score, 6),
        "without_elsewhere": None if without is None else round(without.elsewhere, 6),
        "depths": {name: round(share, 4) for name, share in drawn.depths},
        "map": grid(drawn.values),
        "in_words": in_words(drawn, without),
    }


def grid(values: npt.NDArray[Any], *, cells: int = 16) -> list[list[float]]:
    """A map as a small grid of its mean values, relative to the largest, for programs: at most 16 x 16 numbers."""
    rows = [np.array_split(row, min(cells, row.shape[1]), axis=1) for row in np.array_split(values, cells, axis=0)]
    means = np.array([[part.mean() for part in parts] for parts in rows])
    largest = float(means.max())
    return [[round(float(value) / largest, 3) if largest > 0 else 0.0 for value in row] for row in means]
