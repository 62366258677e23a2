"""What travels with a model to say of each example how unlike anything it learned from it is."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.familiar.limit import Limit, limit_of
from kt.familiar.scores import Nearest
from kt.linear.space import Floats

MOST = 1000
"""The most known examples that travel with a model."""

DIRECTIONS = 128
"""The most directions in which they are kept."""

FOLDS = 5
"""The parts in which known examples are held out in turn."""

NEIGHBOURS = 1
"""The neighbour whose distance counts; 5 and 10 did no better (benchmarks/README.md, Unfamiliar)."""

NAME = "nearest"
"""The name of the score in `report.json`."""


@dataclass(frozen=True, eq=False)
class Familiarity:
    """The distance to the nearest known example, and the limit above which an example is called unfamiliar.

    limit: None where too few independent examples were held out to set one.
    """

    score: Nearest
    limit: Limit | None

    @classmethod
    def fit(
        cls,
        known: npt.ArrayLike,
        held_out: npt.ArrayLike,
        groups: Sequence[str],
        *,
        known_groups: Sequence[str] | None = None,
    ) -> "Familiarity":
        """From features of examples that the model learned from `[M, D]`, and of held-out ones with their groups.

        known_groups: of the known examples, if what gives the features did not learn from them. Then these are held
        out too, a fifth of the groups at a time, from a score that is fitted on the others. That has fewer known
        examples, so distances are rather too large than too small. None: the limit is that of the held-out ones alone.
        Raises DataError for features that are no finite numbers.
        """
        rows = np.asarray(known)
        score = _as_it_travels(rows)
        distances = score(held_out) if len(np.asarray(held_out)) else np.zeros(0)
        of_all = [f"held out {name}" for name in groups]
        if known_groups is not None and len(set(known_groups)) > 1:
            distances = np.concatenate([distances, _held_out_in_turn(rows, known_groups)])
            of_all += known_groups
        return cls(score, limit_of(distances, of_all))

    def __call__(self, features: npt.ArrayLike) -> Floats:
        """The distance, from 0 to 2, of each example's features `[N, D]`."""
        return self.score(features)

    def unfamiliar(self, distances: npt.ArrayLike) -> npt.NDArray[np.bool_] | None:
        """Whether each example is called unfamiliar; None without a limit."""
        return None if self.limit is None else np.asarray(np.asarray(distances) > self.limit.value)

    def told(self) -> dict[str, Any]:
        """What is no array, as plain data."""
        return {"neighbours": self.score.neighbours, "limit": asdict(self.limit) if self.limit else None}

    def arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """What is kept in arrays."""
        return {
            "directions": self.score.directions.astype(np.float32),
            "known": self.score.known.astype(np.float32),
        }

    @classmethod
    def kept(cls, told: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> "Familiarity":
        """The reverse of `told` and `arrays`."""
        limit = told["limit"]
        directions, known = (arrays[name].astype(np.float64) for name in ("directions", "known"))
        return cls(Nearest(directions, known, int(told["neighbours"])), Limit(**limit) if limit else None)


def _as_it_travels(known: npt.NDArray[Any]) -> Nearest:
    """The score as a model carries it, so that the limit is of the same numbers."""
    exact = Nearest.fit(known, neighbours=NEIGHBOURS, most=DIRECTIONS)
    return Nearest(
        exact.directions.astype(np.float32).astype(np.float64),
        exact.known.astype(np.float32).astype(np.float64),
        NEIGHBOURS,
    )


def _held_out_in_turn(known: npt.NDArray[Any], groups: Sequence[str]) -> Floats:
    """The distance `[M]` of each known example by a score that was not fitted on its group, one of two or more."""
    _, numbers = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    fold = np.random.default_rng(0).permutation(int(numbers.max()) + 1)[numbers] % FOLDS
    distances = np.full(len(known), np.nan)
    for number in np.unique(fold):
        out = fold == number
        distances[out] = _as_it_travels(known[~out])(known[out])
    return distances
