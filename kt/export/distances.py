"""Decides whether an artefact's unfamiliarity is near enough to the trained model's to be released with it.

An exact format's distances must be the trained model's. One that rounds has others, and what matters of them is which
examples it calls unfamiliar. Of familiar ones the trained model calls a promised share so. By how much the artefact's
distances are too large on the whole, and how much they scatter, both measured in the spread of familiar distances, says
which share the artefact calls so: at most twice the promised one, and at least half of it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from kt.familiar import FEWEST

STRANGE = 5e-3
"""The largest allowed difference between an exact artefact's unfamiliarity, from 0 to 2, and the trained model's.

An accelerator's convolutions round by up to 1e-3, and LiteRT's, which may have computed the trained model's, by 1e-4.
"""

FACTOR = 2.0
"""A format that rounds may call so many times more, or fewer, familiar examples unfamiliar than the promised share."""


@dataclass(frozen=True)
class Nearness:
    """How near distances are to the trained model's.

    largest: the largest difference; NaN if one is no number. rate: the share of familiar examples that the artefact is
    expected to call unfamiliar; None for an exact format. reason: why it may not be released with them, or "".
    """

    largest: float
    rate: float | None
    reason: str


def judge_distances(
    told: npt.ArrayLike, trained: npt.ArrayLike, *, exact: bool, promised: float | None
) -> Nearness:  # fmt: skip
    """Judge an artefact's distances `[N]` of familiar examples by the trained model's.

    exact: whether the format must not round. promised: the share of familiar examples above the limit; None without a
    limit. Without one, of fewer than `FEWEST` examples, and of examples that are all as far, no share can be told: then
    each distance must be the trained model's within `STRANGE`, as for an exact format.
    """
    own, theirs = np.asarray(told, np.float64), np.asarray(trained, np.float64)
    largest = float(np.abs(own - theirs).max())
    spread = float(theirs.std(ddof=1)) if len(theirs) >= FEWEST else 0.0
    if exact or promised is None or spread == 0:
        far = "" if largest <= STRANGE else _differs(largest)  # it may be NaN
        return Nearness(largest, None, far)
    rate = false_alarms(own - theirs, spread=spread, promised=promised)
    if promised / FACTOR <= rate <= promised * FACTOR:
        return Nearness(largest, rate, "")
    if not np.isfinite(rate):
        return Nearness(largest, None, _differs(largest))
    return Nearness(
        largest,
        rate,
        f"its distances would call {100 * rate:.1f}% of familiar ones unfamiliar, where {100 * promised:.2g}% are "
        "promised",
    )


def false_alarms(differences: npt.ArrayLike, *, spread: float, promised: float) -> float:
    """The share of familiar examples above the limit by distances that differ so from those that the limit is of.

    differences: `[N]`, two or more. spread: the standard deviation of familiar distances. As for normal distances and
    differences that don't depend on them: the differences move the mean by theirs, and widen the spread.
    """
    values = np.asarray(differences, np.float64) / spread
    limit = float(stats.norm.isf(promised))
    return float(stats.norm.sf((limit - values.mean()) / np.sqrt(1 + values.var(ddof=1))))


def _differs(largest: float) -> str:
    return f"its unfamiliarity differs by {largest:.2g} from the trained model's (limit {STRANGE:g})"
