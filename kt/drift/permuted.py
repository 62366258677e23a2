"""Four comparisons of two sets of examples, each with a p value from the same random divisions of both together.

If the sets come alike, any division of all examples into two sets of these sizes is as likely as the real one. So the
share of divisions that look at least as different is a p value that holds for any features and any number of examples.
All four comparisons see the same divisions. That gives the distribution of their smallest p value, and with it one p
value for all four that makes up for asking four times (Westfall and Young, Resampling-Based Multiple Testing, 1993).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, rankdata

from kt.adaptation.distances import discrepancies, gaussians
from kt.base.metrics import CONFIDENCE
from kt.drift.unlike import NEIGHBOURS
from kt.familiar.nearest import unit
from kt.linear.space import Floats, scale_of

PERMUTATIONS = 499
"""The number of random divisions; a p value is at least 1 / 500."""

FOLDS = 10
"""The parts in which the domain classifier's examples are held out."""

RIDGE = 1.0
"""The ridge penalty of the domain classifier, as a multiple of the mean squared length of an example."""

MMD, CLASSIFIER, SCORES, UNLIKE = "mmd", "classifier", "scores", "unlike"
COMPARISONS = (MMD, CLASSIFIER, SCORES, UNLIKE)
"""The names of the comparisons."""


@dataclass(frozen=True)
class Compared:
    """How different two sets are. p: of all comparisons together. each: of every comparison by name, adjusted for the
    number of comparisons; the smallest of them is p. squared_mmd: of the features, 0 on average for sets that are
    alike. auc: how often the domain classifier ranks a new example above a reference one, 0.5 if it can't tell them
    apart, with its 95% interval.
    """

    p: float
    each: dict[str, float]
    squared_mmd: float
    auc: float
    auc_interval: tuple[float, float]


def compare(
    reference: tuple[Floats, Floats], new: tuple[Floats, Floats], *, permutations: int = PERMUTATIONS, seed: int = 0
) -> Compared:
    """Compare two sets of independent examples, each given as features `[N, F]` and scores `[N, C]`.

    Each set needs two examples or more. All features are standardised by both sets together, because a scale from one
    of them alone would make the other one look different.
    """
    apart = unit(np.vstack([reference[0], new[0]]))
    features, scores = (_standard(np.vstack([one, other])) for one, other in zip(reference, new, strict=True))
    count, random = len(reference[0]), np.random.default_rng(seed)
    is_first = np.zeros((len(features), permutations + 1))
    is_first[:count] = 1.0
    is_first[:, 1:] = random.permuted(is_first[:, 1:], axis=0)
    gram = features @ features.T
    squared = np.maximum(np.diag(gram)[:, None] + np.diag(gram)[None] - 2 * gram, 0.0)
    mmd = discrepancies(gaussians(squared), is_first)
    likely = _held_out(gram, 1.0 - 2.0 * is_first, random=random)
    aucs = _aucs(likely, is_first)
    statistics = {
        MMD: mmd,
        CLASSIFIER: aucs,
        SCORES: _of_means(scores, is_first),
        UNLIKE: _unlikeness(-apart @ apart.T, is_first),
    }
    p = {name: _shares_above(values) for name, values in statistics.items()}
    smallest = np.min(list(p.values()), axis=0)
    each = {name: float(np.mean(smallest <= values[0] + 1e-12)) for name, values in p.items()}
    auc, interval = _interval(likely[:, 0], is_first[:, 0])
    return Compared(min(each.values()), each, float(mmd[0]), auc, interval)


def _standard(rows: Floats) -> Floats:
    values = rows.astype(np.float64)
    return np.asarray((values - values.mean(axis=0)) / scale_of(values))


def _shares_above(values: Floats) -> Floats:
    """For each division the share of divisions, itself included, with at least its value."""
    rounded = np.round(values / max(float(np.abs(values).max()), 1e-300), 10)  # equal divisions differ by rounding
    return np.asarray(rankdata(-rounded, method="max") / len(rounded))


def _held_out(gram: Floats, targets: Floats, *, random: np.random.Generator) -> Floats:
    """What a ridge regression says of each example that it was not fitted on, for each column of targets.

    With the same folds for all columns it is linear in the targets, so one matrix gives all columns. The folds don't
    depend on the targets, or the divisions would not be alike.
    """
    size = len(gram)
    kernel = gram / max(float(np.trace(gram)) / size, 1e-300) + 1.0  # the 1 is the bias, which is penalised little
    fold = random.permutation(np.arange(size) % min(FOLDS, size))
    likely = np.empty_like(targets)
    for number in range(min(FOLDS, size)):
        held, fitted = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        inside = kernel[np.ix_(fitted, fitted)] + RIDGE * np.eye(len(fitted))
        likely[held] = kernel[np.ix_(held, fitted)] @ np.linalg.solve(inside, targets[fitted])
    return likely


def _aucs(likely: Floats, is_first: Floats) -> Floats:
    """The area under the ROC curve of each column: how often a new example is above a reference one."""
    ranks = rankdata(likely, axis=0)
    new = 1.0 - is_first
    count, rest = new[:, 0].sum(), is_first[:, 0].sum()
    return np.asarray(((ranks * new).sum(axis=0) - count * (count + 1) / 2) / (count * rest))


def _interval(likely: Floats, is_first: Floats) -> tuple[float, tuple[float, float]]:
    """The AUC and its 95% interval (DeLong, DeLong and Clarke-Pearson, 1988), within 0 and 1."""
    first, new = likely[is_first == 1], likely[is_first == 0]
    above = (new[:, None] > first[None]) + 0.5 * (new[:, None] == first[None])
    auc = float(above.mean())
    variance = above.mean(axis=1).var(ddof=1) / len(new) + above.mean(axis=0).var(ddof=1) / len(first)
    reach = float(norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt(variance))
    # An AUC of 1 has no spread. With no error in so many examples, the true share of errors may still be this large.
    reach = max(reach, 1 - ((1 - CONFIDENCE) / 2) ** (1 / min(len(first), len(new))) if auc in (0.0, 1.0) else 0.0)
    return auc, (max(0.0, auc - reach), min(1.0, auc + reach))


def _of_means(scores: Floats, is_first: Floats) -> Floats:
    """The sum over classes of the squared difference of mean scores, for each column."""
    first, new = is_first / is_first[:, 0].sum(), (1.0 - is_first) / (1.0 - is_first[:, 0]).sum()
    return np.asarray(((scores.T @ (first - new)) ** 2).sum(axis=0))


def _unlikeness(distances: Floats, is_first: Floats) -> Floats:
    """How far in the reference's tail the new examples are, for each column (`kt.drift.unlike` lists them by name).

    distances: `[N, N]`, or anything that rises with them. The distance of each example to its fifth nearest reference
    example is ranked among the reference examples' own. The mean of one over the root of the share that is as far
    becomes large if some new examples, even a few of many, are further away than nearly all of these.
    """
    count = int(is_first[:, 0].sum())
    nearest, reached = _sorted_neighbours(distances)
    result = np.empty(is_first.shape[1])
    for column in range(is_first.shape[1]):
        to_it = _to_reference(nearest, reached, is_first[:, column], neighbours=min(NEIGHBOURS, count - 1))
        first = is_first[:, column] == 1
        own = np.sort(to_it[first])
        above = count - np.searchsorted(own, to_it[~first], side="left")
        result[column] = np.sqrt((1 + count) / (1 + above)).mean()
    return result


def _sorted_neighbours(distances: Floats) -> tuple[npt.NDArray[np.int64], Floats]:
    """The other examples of each one, the nearest first, and their distances."""
    apart = distances.copy()
    np.fill_diagonal(apart, np.inf)
    order = np.argsort(apart, axis=1)
    return order[:, :-1], np.take_along_axis(apart, order, axis=1)[:, :-1]


def _to_reference(
    nearest: npt.NDArray[np.int64], reached: Floats, is_first: Floats, *, neighbours: int
) -> Floats:  # fmt: skip
    """The distance of each example to its `neighbours`-th nearest one of the reference."""
    if neighbours < 1:
        return np.zeros(len(nearest))
    width = min(nearest.shape[1], 64)
    while True:
        counted = np.cumsum(is_first[nearest[:, :width]], axis=1)
        if width == nearest.shape[1] or counted[:, -1].min() >= neighbours:
            place = np.argmax(counted >= neighbours, axis=1)
            return np.asarray(reached[np.arange(len(nearest)), place])
        width = min(nearest.shape[1], 4 * width)
