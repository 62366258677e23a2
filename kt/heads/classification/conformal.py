"""Sets of classes that contain the true one in a promised share of cases (split conformal prediction)."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from kt.base.chance import share_and_interval
from kt.base.metrics import CONFIDENCE

LEVELS = (0.8, 0.9, 0.95, 0.99)
"""The coverages that a run promises sets for."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SetRule:
    """How a set is made: all classes whose score is at least `least`, and always the top class.

    level: the promised share of sets with the true class. groups: how many independent examples it rests on. between:
    the coverage that sets of just these examples have, in 95% of cases; the promise is the mean of all such draws.
    """

    level: float
    least: float
    groups: int
    between: tuple[float, float]

    def sets(self, scores: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether each class is in the set of each example, `[N, C]`, of scores `[N, C]`."""
        return in_sets(scores, self.least)


def in_sets(scores: npt.ArrayLike, least: float) -> npt.NDArray[np.bool_]:
    """Whether each class is in the set, `[N, C]`: its score is at least `least`, or it is the top class."""
    values = np.asarray(scores)
    inside = np.asarray(values >= least)
    inside[np.arange(len(values)), values.argmax(axis=1)] = True
    return inside


def set_rule(
    scores: npt.ArrayLike, labels: npt.ArrayLike, groups: Sequence[str], *, level: float, seed: int = 0
) -> SetRule | None:
    """The rule by held-out examples; None where there are too few groups for this level.

    scores: `[N, C]`, probabilities. labels: `[N]`. level: the promised coverage, above 0 and below 1.

    A set holds the classes whose score is not among the lowest scores that true classes have (Sadinle et al., Least
    Ambiguous Set-Valued Classifiers, 2019). A new example's set has the true class in at least the promised share of
    cases, whatever the model and the number of examples, if the example comes as the held-out ones do (Vovk et al.,
    2005). Pictures of one group don't come on their own, so one of each group is drawn, and the promise is for a
    picture of a new thing.
    """
    values, truth = np.asarray(scores, np.float64), np.asarray(labels, np.int64)
    chosen = _one_of_each(groups, seed=seed)
    number = len(chosen)
    rank = ceil((number + 1) * level - 1e-9)
    if rank > number:
        return None
    of_truth = np.sort(values[chosen, truth[chosen]])[::-1]
    least = floor(of_truth[rank - 1] * 1e6) / 1e6  # rounded down, so that the set may only grow
    tail = (1 - CONFIDENCE) / 2
    low, high = stats.beta.ppf([tail, 1 - tail], rank, number + 1 - rank)
    return SetRule(level, least, number, (float(low), float(high)))


def fewest_for(level: float) -> int:
    """How many groups a level needs at least."""
    return ceil(level / (1 - level) - 1e-9)


def measured_sets(
    rule: SetRule, scores: npt.ArrayLike, labels: npt.ArrayLike, groups: Sequence[str]
) -> dict[str, Any]:  # fmt: skip
    """How good the sets of a rule are on other examples: `coverage` with `interval`, `mean_size` and `single`.

    single: the share of sets with one class.
    """
    truth = np.asarray(labels, np.int64)
    inside = rule.sets(scores)
    covered = share_and_interval(inside[np.arange(len(truth)), truth], groups)
    assert covered is not None
    sizes = inside.sum(axis=1)
    return {
        "coverage": covered[0],
        "interval": covered[1],
        "mean_size": float(sizes.mean()),
        "single": float((sizes == 1).mean()),
    }


def _one_of_each(groups: Sequence[str], *, seed: int) -> npt.NDArray[np.int64]:
    """The index of one random example of each group."""
    order = np.random.default_rng(seed).permutation(len(groups))
    _, first = np.unique(np.asarray(groups, dtype=str)[order], return_index=True)
    return np.asarray(order[first], np.int64)
