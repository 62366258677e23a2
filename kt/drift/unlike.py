"""Which new examples are unlike all held-out ones: far from the nearest of them, in the features.

The distance to a near neighbour between features of length 1 needs no model of how features are distributed (Sun, Ming,
Zhu and Li, Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022). What is far follows from the held-out
examples themselves: each has a distance to the others, of other groups. Of examples that come alike, a share of `RATE`
is as far as that by chance (conformal p values: Bates, Candès, Lei, Romano and Sesia, Testing for Outliers with
Conformal p-Values, 2023).
"""

from dataclasses import dataclass

import numpy as np

from kt.drift.reference import Observed, Reference, independent
from kt.familiar.nearest import near_distances, unit
from kt.linear.folds import Ints
from kt.linear.space import Floats

NEIGHBOURS = 5
"""The neighbour whose distance counts; a nearer one may be a copy."""

RATE = 0.01
"""The share of examples that come alike and are listed as new all the same."""

COPY = 1e-3
"""The distance below which an example counts as a copy of a held-out one; float16 rounds by less."""


@dataclass(frozen=True, eq=False)
class Unlike:
    """How far new examples are from the held-out ones.

    distances: `[N]`, from 0 to 2. p: `[N]`, the share of held-out examples that are at least as far from the others.
    rate: an example is new if its p is at most this: `RATE`, or 1 / (held-out groups + 1) where that is larger. copies:
    how many of the new examples are held-out ones.
    """

    distances: Floats
    p: Floats
    rate: float
    copies: int

    @property
    def places(self) -> Ints:
        """The indices of the new ones, the most unlike first."""
        new = np.flatnonzero(self.p <= self.rate)
        return np.asarray(new[np.argsort(-self.distances[new], kind="stable")])


def unlike(reference: Reference, seen: Observed, *, seed: int = 0) -> Unlike:
    """The distance of each new example, and how unlikely it is by chance. The reference has two groups or more."""
    held_out = unit(reference.seen.features)
    own = independent(reference.groups, seed=seed)
    same = reference.groups[own][:, None] == reference.groups[None]
    _, others = near_distances(reference.seen.features[own], held_out, neighbours=NEIGHBOURS, same=same)
    first, distances = near_distances(seen.features, held_out, neighbours=NEIGHBOURS)
    reached = len(own) - np.searchsorted(np.sort(others), distances, side="left")
    p, rate = (1 + reached) / (1 + len(own)), max(RATE, 1 / (1 + len(own)))
    return Unlike(distances, p, rate, copies=int((first < COPY).sum()))
