"""Label shift: the shares of the classes among new examples, and scores corrected for them.

If only the classes' shares have changed, and the examples of each class look as before, the shares can be estimated
without labels. The scores are calibrated on the held-out examples first, by a factor and an offset for each class
(Alexandari, Kundaje and Shrikumar, Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat at Label Shift
Adaptation, ICML 2020). Expectation maximisation then gives the shares with the highest likelihood, and the scores
under them (Saerens, Latinne and Decaestecker, Adjusting the Outputs of a Classifier to New a Priori Probabilities,
2002).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from kt.base.metrics import CONFIDENCE
from kt.drift.reference import Reference, independent
from kt.linear.folds import Ints
from kt.linear.space import Floats
from kt.linear.threads import one_thread

FEWEST = 10
"""Below this number of independent held-out examples of a class, and of new examples, shares are not estimated."""

SINGULAR = 0.1
"""The smallest singular value of the confusion matrix below which shares are not estimated.

An error in the rates of the answers grows by its inverse (Lipton, Wang and Smola, Detecting and Correcting for Label
Shift with Black Box Predictors, ICML 2018). It is 1 for a model without errors, and 0 if two classes get the same
answers.
"""

RESAMPLES = 200
MOST_RESAMPLED = 2000
"""The resamples of the bootstrap that gives the intervals, and the most new examples that are resampled."""

_FLOOR = 1e-6
_STEPS, _SETTLED, _SETTLED_AGAIN, _RESTART = 2000, 1e-7, 1e-5, 1e-3
_PULL = 0.1
"""How strongly the calibration is drawn to none at all, in nats; so it is finite where no held-out answer is wrong."""


@dataclass(frozen=True, eq=False)
class Correction:
    """Scores for other shares of the classes.

    factor, offsets: of the calibration, the latter `[C]`. before, after: the shares `[C]`.
    """

    factor: float
    offsets: Floats
    before: Floats
    after: Floats

    def __call__(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Corrected scores `[N, C]`; rows of NaN stay so."""
        shift = np.log(np.maximum(self.after, _FLOOR)) - np.log(np.maximum(self.before, _FLOOR))
        corrected = softmax(_logits(scores) * self.factor + self.offsets + shift, axis=1)
        return np.asarray(corrected, np.float32)


@dataclass(frozen=True, eq=False)
class ClassShares:
    """The shares of the classes: `[C]` each. intervals: `[C, 2]`, 95%. correct: gives scores under these shares."""

    reference: Floats
    new: Floats
    intervals: Floats
    correct: Correction

    @property
    def changed(self) -> npt.NDArray[np.bool_]:
        """For each class, whether its interval excludes the share in the reference."""
        return (self.reference < self.intervals[:, 0]) | (self.reference > self.intervals[:, 1])


def why_untold(reference: Reference, new: int) -> str:
    """Why the shares can't be told from these held-out examples and this number of new ones, or ""."""
    classes = reference.seen.scores.shape[1]
    pairs = np.unique(np.stack([reference.labels, reference.groups]), axis=1)[0]
    counts = np.bincount(pairs, minlength=classes)
    if counts.min() < FEWEST:
        return f"there are {counts.min()} independent held-out examples of a class, and {FEWEST} are needed"
    if new < FEWEST:
        return f"there are {new} new ones, and {FEWEST} are needed"
    smallest = float(np.linalg.svd(_confusion(reference), compute_uv=False)[-1])
    if smallest < SINGULAR:
        return f"the model confuses classes: its confusion matrix is nearly singular ({smallest:.2f}, below {SINGULAR})"
    return ""


def _confusion(reference: Reference) -> Floats:
    """The share of each answer (row) among the held-out examples of each class (column)."""
    classes = reference.seen.scores.shape[1]
    counts = np.zeros((classes, classes))
    np.add.at(counts, (reference.seen.scores.argmax(axis=1), reference.labels), 1.0)
    return np.asarray(counts / counts.sum(axis=0))


def estimate(
    reference: Reference, seen: npt.NDArray[np.float32], groups: Ints, *, seed: int = 0
) -> ClassShares:  # fmt: skip
    """The shares of the classes among new examples, with intervals of a bootstrap over groups.

    seen: scores `[N, C]` of the new examples. groups: of the new examples. `why_untold` must have been asked before.
    """
    with one_thread():  # several threads take ten times as long on such small problems
        return _estimated(reference, seen, groups, seed=seed)


def _estimated(reference: Reference, seen: npt.NDArray[np.float32], groups: Ints, *, seed: int) -> ClassShares:
    classes, labels, scores = reference.seen.scores.shape[1], reference.labels, reference.seen.scores
    calibration = _calibrated(_logits(scores), labels, start=np.zeros(1 + classes))
    correct = _fitted(calibration, np.bincount(labels, minlength=classes) / len(labels), seen)
    random, drawn = np.random.default_rng(seed), []
    few = np.sort(random.permutation(len(seen))[:MOST_RESAMPLED])
    new_units = list(_units(np.zeros(len(few), np.int64), groups[few]))
    reference_units = list(_units(labels, reference.groups))
    for _ in range(RESAMPLES):
        one, other = _resampled(reference_units, random), few[_resampled(new_units, random)]
        again = _calibrated(_logits(scores[one]), labels[one], start=calibration, steps=10)
        before = np.bincount(labels[one], minlength=classes) / len(one)
        drawn.append(_fitted(again, before, seen[other], start=correct.after).after)
    tail = 100 * (1 - CONFIDENCE) / 2
    intervals = np.percentile(drawn, [tail, 100 - tail], axis=0).T
    return ClassShares(correct.before, correct.after, intervals, correct)


def _fitted(
    calibration: Floats, before: Floats, scores: npt.NDArray[np.float32], *, start: Floats | None = None
) -> Correction:
    """The correction for the shares with the highest likelihood, by expectation maximisation.

    start: shares from which fewer steps are needed, as for a resample; unless given, those before.
    """
    factor, offsets = float(np.exp(calibration[0])), calibration[1:]
    ratios = softmax(_logits(scores) * factor + offsets, axis=1) / np.maximum(before, _FLOOR)
    # A share of 0 could never grow again.
    shares, settled = (before, _SETTLED) if start is None else (np.maximum(start, _RESTART), _SETTLED_AGAIN)
    for _ in range(_STEPS):
        weighted = ratios * shares
        after = (weighted / weighted.sum(axis=1, keepdims=True)).mean(axis=0)
        moved, shares = float(np.abs(after - shares).max()), after
        if moved < settled:
            break
    return Correction(factor, offsets, before, shares)


def _logits(scores: npt.NDArray[np.float32]) -> Floats:
    return np.log(np.maximum(scores.astype(np.float64), _FLOOR))


def _calibrated(logits: Floats, labels: Ints, *, start: Floats, steps: int = 200) -> Floats:
    """The logarithm of the factor, and the offsets, with the lowest log loss on the held-out examples."""
    truth = np.eye(logits.shape[1])[labels]

    def loss(values: Floats) -> tuple[float, Floats]:
        scaled = logits * np.exp(values[0])
        logs = log_softmax(scaled + values[1:], axis=1)
        errors = np.exp(logs) - truth
        gradient = np.concatenate([[(errors * scaled).sum()], errors.sum(axis=0)]) + 2 * _PULL * values
        return float(-(logs * truth).sum() + _PULL * (values**2).sum()), gradient

    bounds = [(-3.0, 3.0)] + [(-10.0, 10.0)] * logits.shape[1]
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": steps}).x)


def _units(labels: Ints, groups: Ints) -> Iterator[list[Ints]]:
    """For each class, the indices of the examples of each group."""
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        members = members[np.argsort(groups[members], kind="stable")]
        yield np.split(members, np.flatnonzero(np.diff(groups[members])) + 1)


def _resampled(units: list[list[Ints]], random: np.random.Generator) -> Ints:
    """Indices of groups drawn with replacement, as many of each class as there are."""
    return np.concatenate([of[place] for of in units for place in random.integers(len(of), size=len(of))])


def with_shares(reference: Reference, shares: Floats, *, seed: int = 0) -> Ints:
    """The indices of independent held-out examples, as many as possible, in which the classes have these shares."""
    places = independent(reference.groups, seed=seed)
    labels = reference.labels[places]
    counts = np.bincount(labels, minlength=len(shares))
    wanted = shares > 0
    size = (counts[wanted] / shares[wanted]).min()
    order = np.random.default_rng(seed).permutation(len(places))
    chosen = [order[labels[order] == label][: round(size * share)] for label, share in enumerate(shares)]
    return np.asarray(np.sort(places[np.concatenate(chosen)]))
