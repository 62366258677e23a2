"""Which of several trained models is better, judged on the same test pictures; and what a learning curve says.

Two things are random in a comparison: which test pictures there happen to be, and the seed of the training. Both are
drawn again, together for all that is compared (a paired bootstrap), so that what is hard for all cancels out of a
difference. Drawing both at once errs on the safe side: chance that belongs to one picture under one seed alone counts
up to three times (Owen, The pigeonhole bootstrap, Annals of Applied Statistics 2007).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kt.evaluate import CONFIDENCE, clusters_of, draw

RESAMPLES = 2000

BEYOND = 10.0
"""A learning curve is carried on, as a power law, up to so many times the pictures that it was measured with."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Relation = Literal["about", "fewer than", "more than"]

_BLOCK = 250
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Estimate:
    """A figure as measured, `value`, and in each resample, `draws` `[resamples]`."""

    value: float
    draws: Floats

    @property
    def interval(self) -> list[float]:
        """The middle 95% of the resamples."""
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(self.draws, [tail, 1 - tail])
        return [float(low), float(high)]

    def minus(self, other: "Estimate") -> "Estimate":
        """The difference; both must come from one `Resamples`, else nothing cancels out."""
        return Estimate(self.value - other.value, self.draws - other.draws)

    def p_value(self) -> float:
        """How often chance alone brings a difference at least as far from 0, in either direction: 0 to 1."""
        beyond = min(int((self.draws <= 0).sum()), int((self.draws >= 0).sum()))
        return min(1.0, 2 * (beyond + 1) / (len(self.draws) + 1))

    def verdict(self) -> Literal["positive", "none", "negative"]:
        """Of a difference: its sign where the interval leaves out 0, else none."""
        low, high = self.interval
        return "positive" if low > 0 else "negative" if high < 0 else "none"


class Resamples:
    """Draws of a test split's groups, class by class as `kt.evaluate` draws them, and of seeds; the same for all.

    labels: `[N]`. groups: for each picture the thing it shows. seeds: how many there are, at least 1; `seeds - 1` of
    them are drawn each time, with replacement, for drawing all of so few would show too small a spread (Rao and Wu,
    Resampling inference with complex survey data, JASA 1988).
    """

    def __init__(
        self, labels: Ints, groups: Sequence[str], *, seeds: int, seed: int = 0, resamples: int = RESAMPLES
    ) -> None:
        self._labels, self._groups, self._seed, self._resamples = labels, groups, seed, resamples
        order = np.random.default_rng([seed, seeds])
        self._seeds = order.integers(seeds, size=(resamples, max(1, seeds - 1)))

    def balanced_accuracy(self, right: npt.NDArray[np.bool_]) -> Estimate:
        """The mean over seeds of the balanced accuracy; right: `[N, seeds]`, whether each model was right on each.

        Balanced accuracy is the mean recall of the classes that have test pictures, as in `kt.evaluate`.
        """
        hits = right.astype(np.float64)
        clusters = clusters_of(self._labels, self._groups)
        measured = np.mean([hits[pictures].mean(axis=0) for pictures, _, _ in clusters])
        random = np.random.default_rng(self._seed)  # begins anew for each model, so that all meet the same draws
        blocks = []
        for start in range(0, self._resamples, _BLOCK):
            weights = draw(clusters, min(_BLOCK, self._resamples - start), random)
            recalls = [weights[p].T @ hits[p] / weights[p].sum(axis=0)[:, None] for p, _, _ in clusters]
            blocks.append(np.mean(recalls, axis=0))
        of_models = np.concatenate(blocks)
        return Estimate(float(measured), np.take_along_axis(of_models, self._seeds, axis=1).mean(axis=1))


# -------------------------------------------------------------------------------------------------- learning curves


@dataclass(frozen=True)
class Match:
    """How many pictures a learner needs for a given accuracy.

    relation: "about" where the curve reaches it; "more than" or "fewer than" all that it was measured with. low, high:
    a 95% interval; None for an end that lies outside of the measured. carried_on: for "more than", where the curve
    gets there if it goes on as a power law; None where that is past `BEYOND` times the measured, or where it has no
    slope.
    """

    relation: Relation
    pictures: float
    low: float | None
    high: float | None
    carried_on: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain data, in whole pictures."""
        whole = [None if value is None else round(value) for value in (self.low, self.high)]
        return {
            "relation": self.relation,
            "pictures": round(self.pictures),
            "interval": whole,
            "carried_on": None if self.carried_on is None else round(self.carried_on),
        }


def match(pictures: Sequence[int], accuracy: Sequence[Estimate], target: Estimate) -> Match:
    """How many pictures a curve needs to reach `target`.

    pictures: rising, at least 2. accuracy: one for each, from the same `Resamples` as the target. Between two points it
    goes straight over the logarithm of the pictures, after a dip is ironed out (more pictures can't make a learner
    worse, but a few test pictures can make it look so).
    """
    rising = np.log(np.asarray(pictures, np.float64))
    values = np.array([[point.value for point in accuracy]])
    (measured,) = _reaches(rising, values, np.array([target.value]))
    draws = _reaches(rising, np.stack([point.draws for point in accuracy], axis=1), target.draws)
    tail = (1 - CONFIDENCE) / 2
    ends = np.quantile(draws, [tail, 1 - tail], method="closest_observation")  # of infinities there is no mean
    low, high = (float(np.exp(end)) if np.isfinite(end) else None for end in ends)
    if measured == np.inf:
        carried_on = _carried_on(rising, ironed(values)[0], target.value)
        return Match("more than", pictures[-1], low, high, carried_on)
    if measured == -np.inf:
        return Match("fewer than", pictures[0], low, high)
    return Match("about", float(np.exp(measured)), low, high)


def ironed(curves: Floats) -> Floats:
    """The nearest curves, by squares, that never fall: isotonic regression of many at once, `[curves, points]`.

    By its min-max formula, for scikit-learn's takes a call for each curve.
    """
    points = curves.shape[1]
    sums = np.cumsum(np.pad(curves, ((0, 0), (1, 0))), axis=1)
    best = np.empty_like(curves)
    for place in range(points):
        starts = [
            np.min([(sums[:, end + 1] - sums[:, start]) / (end + 1 - start) for end in range(place, points)], axis=0)
            for start in range(place + 1)
        ]
        best[:, place] = np.max(starts, axis=0)
    return best


def _reaches(rising: Floats, curves: Floats, targets: Floats) -> Floats:
    """The logarithm of the pictures at which each curve first reaches its target; infinite where that lies outside."""
    smooth, rows = ironed(curves), np.arange(len(curves))
    above = np.argmax(smooth >= targets[:, None] - _ROUNDING, axis=1)
    before = np.maximum(above - 1, 0)
    low, high = smooth[rows, before], smooth[rows, above]
    share = np.divide(targets - low, high - low, out=np.ones_like(low), where=high > low)
    found = rising[before] + np.clip(share, 0, 1) * (rising[above] - rising[before])
    found[smooth[:, 0] > targets + _ROUNDING] = -np.inf
    found[smooth[:, -1] < targets - _ROUNDING] = np.inf
    return np.asarray(found)


def _carried_on(rising: Floats, smooth: Floats, target: float) -> float | None:
    """Where a power law reaches the target: error falls with the pictures to some power, from the last point on.

    The power is that of the last three points (Hestness et al., Deep Learning Scaling is Predictable, Empirically,
    2017). It knows no error that can't be learned away, so it flatters the learner.
    """
    errors = 1 - smooth
    last = slice(-3, None)
    if target >= 1 or errors.min() <= 0:
        return None
    slope = float(np.polyfit(rising[last], np.log(errors[last]), 1)[0])
    if slope >= 0:
        return None
    further = float(np.log((1 - target) / errors[-1]) / slope)
    return float(np.exp(rising[-1] + further)) if further <= np.log(BEYOND) else None
