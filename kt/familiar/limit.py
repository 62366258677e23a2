"""The limit above which an example counts as unfamiliar, from held-out familiar ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RATE = 0.05
"""The promised share of familiar examples that are called unfamiliar all the same."""

FEWEST = 10
"""Below this number of independent held-out examples there is no limit."""


@dataclass(frozen=True)
class Limit:
    """The limit, and what it rests on.

    value: an example is unfamiliar if its score is above it. rate: the promised share of familiar examples above it:
    `RATE`, or 1 / (independent + 1) where that is larger. examples, independent: the numbers of held-out examples, and
    of their groups.
    """

    value: float
    rate: float
    examples: int
    independent: int


def limit_of(scores: npt.ArrayLike, groups: Sequence[str], *, rate: float = RATE) -> Limit | None:
    """The smallest limit that keeps the promise for an example of a new group; None if there are too few groups.

    scores: `[N]`, of held-out examples that the score was not fitted on. groups: of each; examples of one group show
    one thing. Each group counts alike, and a further one, the new example's, counts as above every limit. So if groups
    come alike, the new example is above the limit with a probability of at most `rate` (conformal prediction; for
    groups: Lee, Barber and Willett, Distribution-free Inference with Hierarchical Data, 2023).
    """
    values = np.asarray(scores, np.float64)
    _, group, sizes = np.unique(np.asarray(groups, dtype=str), return_inverse=True, return_counts=True)
    independent = len(sizes)
    if independent < FEWEST:
        return None
    promised = max(rate, 1 / (independent + 1))
    order = np.argsort(values, kind="stable")
    reached = np.cumsum((1 / sizes)[group[order]]) / (independent + 1)
    place = int(np.searchsorted(reached, 1 - promised - 1e-9))
    return Limit(float(values[order[min(place, len(values) - 1)]]), promised, len(values), independent)
