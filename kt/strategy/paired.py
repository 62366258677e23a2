"""Comparing trained models on the same test pictures, and reading learning curves.

Two things are random in a comparison: the sample of test pictures, and the seed of the training. Both are resampled
together for all models (a paired bootstrap), so that pictures that are hard for all models cancel out of a difference.
Resampling both at once is conservative: the variance of one picture under one seed counts up to three times (Owen, The
pigeonhole bootstrap, Annals of Applied Statistics 2007).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kt.base.metrics import CONFIDENCE
from kt.heads.classification.measure import clusters_of, draw

RESAMPLES = 2000

BEYOND = 10.0
"""A learning curve is extrapolated, as a power law, up to this many times the pictures that it was measured with."""

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
        """The difference; both must come from one `Resamples`, otherwise they are not paired."""
        return Estimate(self.value - other.value, self.draws - other.draws)

    def p_value(self) -> float:
        """The probability, 0 to 1, of a difference at least as far from 0 by chance alone, in either direction."""
        beyond = min(int((self.draws <= 0).sum()), int((self.draws >= 0).sum()))
        return min(1.0, 2 * (beyond + 1) / (len(self.draws) + 1))

    def verdict(self) -> Literal["positive", "none", "negative"]:
        """The sign of a difference whose interval does not contain 0, else none."""
        low, high = self.interval
        return "positive" if low > 0 else "negative" if high < 0 else "none"


class Resamples:
    """Resamples of a test split's groups, drawn within each class as in the evaluation, and of seeds; for all models.

    labels: `[N]`. groups: of each picture. seeds: how many there are, at least 1. Each time `seeds - 1` of them are
    drawn with replacement, because drawing all of so few would show too small a spread (Rao and Wu, Resampling
    inference with complex survey data, JASA 1988).
    """

    def __init__(
        self, labels: Ints, groups: Sequence[str], *, seeds: int, seed: int = 0, resamples: int = RESAMPLES
    ) -> None:
        self._labels, self._groups, self._seed, self._resamples = labels, groups, seed, resamples
        order = np.random.default_rng([seed, seeds])
        self._seeds = order.integers(seeds, size=(resamples, max(1, seeds - 1)))

    def balanced_accuracy(self, right: npt.NDArray[np.bool_]) -> Estimate:
        """The mean over seeds of the balanced accuracy. right: `[N, seeds]`, whether it was classified correctly.

        Balanced accuracy is the mean recall of the classes that have test pictures, as in the evaluation.
        """
        hits = right.astype(np.float64)
        clusters = clusters_of(self._labels, self._groups)
        measured = np.mean([hits[pictures].mean(axis=0) for pictures, _, _ in clusters])
        blocks = []
        for weights in self._weights(clusters):
            recalls = [weights[p].T @ hits[p] / weights[p].sum(axis=0)[:, None] for p, _, _ in clusters]
            blocks.append(np.mean(recalls, axis=0))
        of_models = np.concatenate(blocks)
        return Estimate(float(measured), np.take_along_axis(of_models, self._seeds, axis=1).mean(axis=1))

    def mean(self, values: Floats) -> Estimate:
        """The mean over the pictures of a figure of one model, such as its log loss. values: `[N]`."""
        clusters = clusters_of(self._labels, self._groups)
        draws = [values @ weights / weights.sum(axis=0) for weights in self._weights(clusters)]
        return Estimate(float(np.mean(values)), np.concatenate(draws))

    def _weights(self, clusters: list[tuple[Ints, Ints, int]]) -> Iterator[Floats]:
        """How often each picture is drawn, block by block: the same at each call, so all models share the draws."""
        random = np.random.default_rng(self._seed)
        for start in range(0, self._resamples, _BLOCK):
            yield draw(clusters, min(_BLOCK, self._resamples - start), random)


# -------------------------------------------------------------------------------------------------- learning curves


@dataclass(frozen=True)
class Match:
    """How many pictures a learner needs for a given accuracy.

    relation: "about" if the curve reaches it; else "more than" the pictures of its last point or "fewer than" those of
    its first. low, high: a 95% interval; None for an end outside the measured range. carried_on: for "more than", the
    pictures at which the curve reaches it if it goes on as a power law; None if these are more than `BEYOND` times the
    measured ones, or if the curve does not rise.
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

    pictures: rising, at least 2. accuracy: one for each, from the same `Resamples` as the target. The curve is linear
    in the logarithm of the pictures between two points, after dips are removed by isotonic regression: more pictures
    can't make a learner worse, but a small test split can make it look so.
    """
    rising = np.log(np.asarray(pictures, np.float64))
    values = np.array([[point.value for point in accuracy]])
    (measured,) = _reaches(rising, values, np.array([target.value]))
    draws = _reaches(rising, np.stack([point.draws for point in accuracy], axis=1), target.draws)
    tail = (1 - CONFIDENCE) / 2
    ends = np.quantile(draws, [tail, 1 - tail], method="closest_observation")  # infinite values can't be interpolated
    low, high = (float(np.exp(end)) if np.isfinite(end) else None for end in ends)
    if measured == np.inf:
        carried_on = _carried_on(rising, ironed(values)[0], target.value)
        return Match("more than", pictures[-1], low, high, carried_on)
    if measured == -np.inf:
        return Match("fewer than", pictures[0], low, high)
    return Match("about", float(np.exp(measured)), low, high)


def ironed(curves: Floats) -> Floats:
    """The isotonic regression of many curves at once, `[curves, points]`: the closest curves that never fall.

    It uses the min-max formula, because scikit-learn needs a call for each curve.
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
    """The logarithm of the pictures at which each curve first reaches its target; infinite if outside the range."""
    smooth, rows = ironed(curves), np.arange(len(curves))
    above = np.argmax(smooth >= targets[:, None] - _ROUNDING, axis=1)
    before = np.maximum(above - 1, 0)
    low, high = smooth[rows, before], smooth[rows, above]
    share = np.divide(targets - low, high - low, out=np.ones_like(low), where=high > low)
    needed = rising[before] + np.clip(share, 0, 1) * (rising[above] - rising[before])
    needed[smooth[:, 0] > targets + _ROUNDING] = -np.inf
    needed[smooth[:, -1] < targets - _ROUNDING] = np.inf
    return np.asarray(needed)


def _carried_on(rising: Floats, smooth: Floats, target: float) -> float | None:
    """The number of pictures at which a power law reaches the target; None if it is too far away or never reached.

    From the last point of the curve on, the error is a power of the number of pictures. The exponent is fitted to the
    last three points (Hestness et al., Deep Learning Scaling is Predictable, Empirically, 2017). The law has no
    irreducible error, so it is optimistic.
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
