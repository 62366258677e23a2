"""What a linear probe can tell at each depth, where a model takes its features from several depths."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kt import linear
from kt.errors import DataError
from kt.failures.results import DepthProbe
from kt.heads.classification.measure import evaluate
from kt.training.probe import by_depth

SINGLE = 6
"""The most depths that are probed, evenly spread, the first and the last among them."""

FOLDS = 3
RESAMPLES = 200


def probed_depths(
    rows: npt.NDArray[Any], taps: Sequence[tuple[str, int]], labels: npt.NDArray[np.int64], groups: Sequence[str],
    *, classes: Sequence[str], seed: int,
) -> tuple[DepthProbe, ...]:  # fmt: skip
    """Probe depths one by one, the lowest first; none if a class has too few groups for folds.

    rows: features `[N, D]` of all depths side by side. taps: `Built.taps`.
    """
    parts = list(by_depth(rows, taps).items())
    chosen = np.unique(np.linspace(0, len(parts) - 1, min(SINGLE, len(parts))).round().astype(int))
    told = []
    with linear.one_thread():
        for place in chosen:
            depth, own = parts[place]
            try:
                scores = linear.cross_validated(
                    own, labels, classes=len(classes), keep=(1.0,), groups=groups, balanced=True, folds=FOLDS, seed=seed
                )
            except DataError:
                return ()
            figures = evaluate(scores, labels, classes, groups=groups, seed=seed, resamples=RESAMPLES)
            low, high = figures["intervals"]["balanced_accuracy"]
            told.append(DepthProbe(depth, own.shape[1], figures["balanced_accuracy"], (low, high)))
    return tuple(told)
