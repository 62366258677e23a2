"""Slices: whether a model answers some examples worse than others of the same classes, and which.

A slice is the examples with low values of a property, such as dark pictures, or those of one folder. Many slices are
looked at, so each p value is corrected for all of them. A slice is compared with the other examples of its classes
only: that a hard class has darker pictures does not make dark pictures hard.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from kt.base.few import FEW
from kt.base.metrics import CONFIDENCE
from kt.failures.results import GroupAnswers, Slice, Sliced, Slices
from kt.heads.classification.measure import clusters_of, draw
from kt.kinds.kind import Property

DRAWS = 1999
"""Random answers that slices are compared with; a p value is at least 1 / 2000."""

RESAMPLES = 1000
BINS = 4
"""The most slices that the values of a property are cut into, of equal size as far as equal values allow."""

LEVELS = 12
"""The most names of a property that are looked at, the commonest first."""

FEWEST = 10
"""The fewest groups that slices are looked at in: fewer can't show that it would be the same in others."""

SLICES = 200
"""The most slices that are looked at; properties beyond that are left out."""

GROUPS = 8
"""The most groups that are shown, those answered worst."""

_BLOCK = 2_000_000

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Asked:
    """A slice to be measured: which examples are in it, and what it is called."""

    inside: Bools
    words: str
    level: str | None = None
    lower: float | None = None
    upper: float | None = None


def slices(
    right: npt.ArrayLike,
    labels: npt.ArrayLike,
    properties: Sequence[Property],
    *,
    groups: Sequence[str],
    names: Sequence[str] | None = None,
    seed: int = 0,
) -> Slices:
    """Look at all slices of these properties.

    right: `[N]`, whether each example was answered rightly. labels: `[N]`. groups: of each example; those of one group
    are not independent. names: what a person calls the group of each example.

    For each property of numbers the question is whether the share of right answers goes along with the values' ranks,
    and for each slice whether it differs from the rest. Each statistic is a sum over the examples of (right - share of
    the class) x (value - mean of the class). Under the null hypothesis, right answers don't depend on the property
    within a class. Then examples without a group can be interchanged within their class. The sum over a group has the
    mean 0 then, and either sign about equally often (Hemerik, Goeman and Finos, Robust Testing in Generalized Linear
    Models by Sign Flipping Score Contributions, 2020). `DRAWS` such random answers are the same for all questions, so
    they give the distribution of the smallest p value of all: each p value is corrected by it (Westfall and Young,
    Resampling-Based Multiple Testing, 1993), which wastes less than Holm's correction where properties go together.
    """
    good, classes = np.asarray(right, np.float64), np.asarray(labels, np.int64)
    ids = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1].reshape(-1)
    worst = _worst(good, classes, ids, names or groups)
    independent = len(np.unique(ids))
    asked = [(prop, *_asked(prop)) for prop in properties]
    kept: list[tuple[Property, Floats | None, list[_Asked]]] = []
    for prop, ranks, cut in asked:
        if len(cut) > 1 and sum(len(more) for *_, more in kept) + len(cut) <= SLICES:
            kept.append((prop, ranks, cut))
    if not kept:
        return Slices((), worst, independent=independent, untold="the examples have no properties that vary")
    columns = [column for _, ranks, cut in kept for column in _columns(ranks, cut)]
    values = np.stack([_centred(np.asarray(column, np.float64), classes) for column in columns])
    rest = _centred(good, classes)
    untold = "" if independent >= FEWEST else f"{independent} independent examples are too few to tell chance apart"
    p = [None] * len(values) if untold else _corrected(values, rest, classes, ids, seed=seed)
    flat = [each for *_, cut in kept for each in cut]
    intervals = _intervals(flat, good, classes, groups, ids, seed=seed)
    at, number, results = 0, 0, []
    for prop, ranks, cut in kept:
        trend, of_trend = None, None
        if ranks is not None:
            trend, of_trend = _correlation(values[at], rest), p[at]
            at += 1
        told = []
        for each in cut:
            told.append(_told(each, good, classes, ids, interval=intervals[number], p=p[at]))
            at, number = at + 1, number + 1
        results.append(Sliced(prop.name, trend, of_trend, tuple(told)))
    return Slices(tuple(results), worst, sum(value is not None for value in p), independent, untold=untold)


def _asked(prop: Property) -> tuple[Floats | None, list[_Asked]]:
    """The ranks of the values from -1 to 1 (None for names, NaN for unknown values), and the slices."""
    if prop.values is None:
        return None, _by_name(prop)
    values = np.asarray(prop.values, np.float64)
    known = np.isfinite(values)
    if known.sum() < 2 * FEW or np.ptp(values[known]) == 0:
        return None, []
    ranks = np.full(len(values), np.nan)
    ranks[known] = 2 * (stats.rankdata(values[known]) - 0.5) / known.sum() - 1
    number = int(min(BINS, known.sum() // FEW))
    edges = np.unique(np.quantile(values[known], np.arange(1, number) / number))
    cut = np.where(known, np.searchsorted(edges, np.where(known, values, 0.0), side="right"), -1)
    bins = [cut == place for place in range(len(edges) + 1)]
    filled = [inside for inside in bins if inside.any()]
    return ranks, [_bin(prop, values, inside, filled) for inside in filled]


def _bin(prop: Property, values: Floats, inside: Bools, bins: Sequence[Bools]) -> _Asked:
    low, high = float(values[inside].min()), float(values[inside].max())
    if inside is bins[0]:  # told by the edge, which is the lowest value that does not belong to it
        words = prop.below.format(prop.written(float(values[bins[1]].min()) if len(bins) > 1 else high))
    elif inside is bins[-1]:
        words = prop.above.format(prop.written(low))
    else:
        words = f"of {prop.name} {prop.written(low)} to {prop.written(high)}"
    return _Asked(inside, words, lower=low, upper=high)


def _by_name(prop: Property) -> list[_Asked]:
    """A slice for each of the commonest names with enough examples; none if all have the same."""
    names = np.asarray(prop.names, dtype=str)
    distinct, counts = np.unique(names, return_counts=True)
    order = [place for place in np.argsort(-counts, kind="stable")[:LEVELS] if counts[place] >= FEW // 2]
    if len(distinct) < 2:
        return []
    return [
        _Asked(names == distinct[place], prop.of.format(distinct[place]), level=str(distinct[place]))
        for place in order
    ]  # fmt: skip


def _columns(ranks: Floats | None, cut: Sequence[_Asked]) -> list[npt.NDArray[Any]]:
    """A row of values `[N]` for each question: the trend's, where there are ranks, then each slice's."""
    trend = [] if ranks is None else [np.where(np.isnan(ranks), 0.0, ranks)]
    return [*trend, *(each.inside for each in cut)]


def _centred(values: Floats, classes: Ints) -> Floats:
    """The values less the mean of their class."""
    counts = np.bincount(classes)
    means = np.bincount(classes, values) / np.maximum(counts, 1)
    return np.asarray(values - means[classes])


def _corrected(values: Floats, rest: Floats, classes: Ints, ids: Ints, *, seed: int) -> list[float | None]:
    """The corrected p value of each question; None for one that does not vary within a class.

    values: `[K, N]`, centred. rest: right answers `[N]`, centred.
    """
    varies = np.abs(values).max(axis=1) > 1e-9
    if not varies.any() or not np.abs(rest).max() > 1e-9:
        return [1.0 if vary else None for vary in varies]
    kept, random = values[varies], np.random.default_rng(seed)
    sums, block = [np.abs(kept @ rest)[:, None]], max(1, _BLOCK // len(rest))
    sums += [
        np.abs(kept @ _drawn(rest, classes, ids, min(block, DRAWS - start), random))
        for start in range(0, DRAWS, block)
    ]  # fmt: skip
    drawn = np.concatenate(sums, axis=1)
    rounded = np.round(drawn / np.maximum(drawn.max(axis=1, keepdims=True), 1e-300), 9)  # equal sums differ by rounding
    p = stats.rankdata(-rounded, method="max", axis=1) / drawn.shape[1]
    smallest = p.min(axis=0)
    corrected = iter([float(np.mean(smallest <= own + 1e-12)) for own in p[:, 0]])
    return [next(corrected) if vary else None for vary in varies]


def _drawn(rest: Floats, classes: Ints, ids: Ints, number: int, random: np.random.Generator) -> Floats:
    """Random answers `[N, number]` as they might be if no property mattered."""
    sizes = np.bincount(ids)
    alone = sizes[ids] == 1
    drawn = np.repeat(rest[:, None], number, axis=1)
    for label in np.unique(classes):
        own = np.flatnonzero(alone & (classes == label))
        drawn[own] = random.permuted(drawn[own], axis=0)
    together = np.flatnonzero(~alone)
    if len(together):
        signs = random.integers(0, 2, size=(len(sizes), number)) * 2.0 - 1.0
        drawn[together] *= signs[ids[together]]
    return drawn


def _correlation(values: Floats, rest: Floats) -> float:
    length = float(np.sqrt((values**2).sum() * (rest**2).sum()))
    return float(values @ rest) / length if length > 0 else 0.0


def _told(
    asked: _Asked, good: Floats, classes: Ints, ids: Ints, *, interval: tuple[float, float], p: float | None
) -> Slice:
    inside = asked.inside
    return Slice(
        words=asked.words, level=asked.level, lower=asked.lower, upper=asked.upper,
        examples=int(inside.sum()), groups=len(np.unique(ids[inside])), accuracy=float(good[inside].mean()),
        interval=interval, elsewhere=_elsewhere(inside, good, classes), p=p,
    )  # fmt: skip


def _elsewhere(inside: Bools, good: Floats, classes: Ints) -> float | None:
    """The accuracy of the others, each class weighted as in the slice; None if a class has no others."""
    here, others = np.bincount(classes[inside]), np.bincount(classes[~inside], minlength=int(classes.max()) + 1)
    used = np.flatnonzero(here)
    if (others[used] == 0).any():
        return None
    recall = np.bincount(classes[~inside], good[~inside], minlength=len(others))[used] / others[used]
    return float((recall * here[used]).sum() / here[used].sum())


def _intervals(
    asked: Sequence[_Asked], good: Floats, classes: Ints, groups: Sequence[str], ids: Ints, *, seed: int
) -> list[tuple[float, float]]:
    """The 95% interval of each slice's accuracy: groups are drawn within each class, as for the test's figures."""
    inside = np.stack([each.inside for each in asked]).astype(np.float64)
    clusters, random = clusters_of(classes, groups), np.random.default_rng(seed)
    shares, block = [], max(1, _BLOCK // len(good))
    for start in range(0, RESAMPLES, block):
        weights = draw(clusters, min(block, RESAMPLES - start), random)
        drawn = inside @ weights
        shares.append(np.where(drawn > 0, (inside * good) @ weights / np.maximum(drawn, 1), np.nan))
    tail = (1 - CONFIDENCE) / 2
    ends = np.nanquantile(np.concatenate(shares, axis=1), [tail, 1 - tail], axis=1).T
    return [
        _widened(float(good[each.inside].mean()), len(np.unique(ids[each.inside])), (float(low), float(high)))
        for each, (low, high) in zip(asked, ends, strict=True)
    ]


def _widened(share: float, number: int, interval: tuple[float, float]) -> tuple[float, float]:
    """The interval, or that of a share of as many independent examples if few or equal answers made it too narrow."""
    if number >= FEW and 0 < share < 1:
        return interval
    low, high = _proportion(share, number)
    return min(interval[0], low), max(interval[1], high)


def _proportion(share: float, number: int) -> tuple[float, float]:
    """The 95% interval of a share of `number` independent examples (Jeffreys' prior)."""
    low, high = stats.beta.interval(CONFIDENCE, share * number + 0.5, (1 - share) * number + 0.5)
    return min(float(low), share), max(float(high), share)


def _worst(good: Floats, classes: Ints, ids: Ints, names: Sequence[str]) -> tuple[GroupAnswers, ...]:
    """The groups of several examples with errors, those with the lowest upper end of their interval first."""
    told = []
    for group in np.flatnonzero(np.bincount(ids) > 1):
        own = np.flatnonzero(ids == group)
        if good[own].all():
            continue
        share = float(good[own].mean())
        labels = tuple(int(label) for label in np.unique(classes[own]))
        told.append(GroupAnswers(names[own[0]], labels, len(own), share, _proportion(share, len(own))))
    return tuple(sorted(told, key=lambda group: (group.interval[1], group.name))[:GROUPS])
