"""What a classifier gains if it may leave examples unanswered: the error among the answered, by their share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.base.metrics import CONFIDENCE
from kt.heads.classification.measure import clusters_of, draw

POINTS = 100
"""The most points of a curve."""

_BLOCK = 2_000_000  # numbers at once, as in `measure`

Floats = npt.NDArray[np.float64]


def risk_coverage(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, Any]:
    """The risk-coverage curve of answering the surest examples first, by top score, as plain data.

    scores: `[N, C]`. labels: `[N]`, N at least 1. `curve` has up to `POINTS` points of rising `coverage` (the share
    that is answered), each with `risk` (the share of errors among the answered) and `score` (the lowest top score that
    is answered). `aurc` is the mean risk over all coverages (Geifman et al., Bias-Reduced Uncertainty Estimation, ICLR
    2019): 0 is best, and a score that says nothing has the error rate. `interval` is its 95% bootstrap interval over
    groups within classes. Examples of one score are answered together, in no order.
    """
    values, truth = np.asarray(scores), np.asarray(labels, np.int64)
    top, wrong = values.max(axis=1).astype(np.float64), (values.argmax(axis=1) != truth).astype(np.float64)
    order = np.argsort(-top, kind="stable")
    _, tie, counts = np.unique(-top[order], return_inverse=True, return_counts=True)
    aurc = _areas(wrong[order], np.ones((len(order), 1)), tie)[0]
    ends = np.cumsum(counts)
    errors = np.cumsum(wrong[order])[ends - 1]
    kept = np.unique(np.linspace(0, len(ends) - 1, min(len(ends), POINTS)).round().astype(np.int64))
    return {
        "aurc": float(aurc),
        "interval": _interval(wrong, truth, groups, order=order, tie=tie, seed=seed, resamples=resamples),
        "curve": [
            {
                "coverage": float(ends[place] / len(order)),
                "risk": float(errors[place] / ends[place]),
                "score": float(top[order][ends[place] - 1]),
            }
            for place in kept
        ],
    }


def _areas(wrong: Floats, weights: Floats, tie: npt.NDArray[np.int64]) -> Floats:
    """The mean risk for each column of weights `[N, R]`. wrong, tie: `[N]`, in the order of answering."""
    first = np.flatnonzero(np.diff(tie, prepend=-1))
    of_tie, errors = np.add.reduceat(weights, first), np.add.reduceat(weights * wrong[:, None], first)
    # Within a tie the order is random, so each of its examples is wrong as often as all of them are.
    share = np.divide(errors, of_tie, out=np.zeros_like(errors), where=of_tie > 0)[tie]
    total = np.cumsum(weights, axis=0)
    risk = np.divide(np.cumsum(weights * share, axis=0), total, out=np.zeros_like(weights), where=total > 0)
    return np.asarray((weights * risk).sum(axis=0) / total[-1])


def _interval(
    wrong: Floats,
    labels: npt.NDArray[np.int64],
    groups: Sequence[str] | None,
    *,
    order: npt.NDArray[np.int64],
    tie: npt.NDArray[np.int64],
    seed: int,
    resamples: int,
) -> list[float]:
    clusters, random = clusters_of(labels, groups), np.random.default_rng(seed)
    block = max(1, _BLOCK // len(labels))
    areas = [
        _areas(wrong[order], draw(clusters, min(block, resamples - start), random)[order], tie)
        for start in range(0, resamples, block)
    ]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(areas), [tail, 1 - tail])
    return [float(low), float(high)]
