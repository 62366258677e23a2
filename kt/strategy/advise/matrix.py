"""The matrix of size and similarity: on which side of its lines a data set lies, and if anything can be learned."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from kt.strategy.advise.probes import Measured, Probe

LARGE = 300
"""From so many pictures in the middle class on a data set is large: training blocks pays (benchmarks/README.md)."""

TOP_HOLDS = 0.9
"""The source is similar where the top goes at least this share of the way that the best depth goes."""

OVER_PIXELS = 1 / 3
"""And where the top removes at least this share of what the pixels alone leave to be told apart."""

SOLVED = 0.95
"""Or where the top goes this far from guessing to perfect, whatever the pixels alone do."""

_SIGNIFICANT = 0.02
"""Chance of calling noise learnable."""

_OF_FOLDS = 1.4
"""So many times what the bootstrap tells is the spread of a cross-validated accuracy.

Folds depend on each other (Bengio and Grandvalet, No Unbiased Estimator of the Variance of K-Fold Cross-Validation,
JMLR 2004). On normal noise, 120 draws each, it was 1.43 (8 features of 64 pictures), 1.31 (200 of 64) and 1.26 (200 of
200).
"""


def learnable(probes: Sequence[Probe], *, classes: int) -> bool:
    """Whether any depth does better than guessing, beyond what the best of so many tries does by luck.

    A z-test on the bootstrap's spread, widened for the folds, at 2% divided by the number of probes (Bonferroni).
    """
    guess = 1 / classes
    odds = []
    for probe in probes:
        spread = _OF_FOLDS * (probe.interval[1] - probe.interval[0]) / (2 * stats.norm.ppf(0.975))
        above = probe.balanced_accuracy - guess
        odds.append(float(stats.norm.sf(above / spread)) if spread > 0 else float(above <= 0))
    return min(odds) < _SIGNIFICANT / len(odds)


def is_large(per_class: Mapping[str, int]) -> bool:
    """Whether the middle class has pictures enough to train blocks of the network: see `LARGE`."""
    return float(np.median(list(per_class.values()))) >= LARGE


def way(accuracy: float, *, classes: int) -> float:
    """How much of the way from guessing (0) to perfect (1) a balanced accuracy goes."""
    return (accuracy - 1 / classes) / (1 - 1 / classes)


def is_similar(measured: Measured, *, classes: int) -> bool:
    """Whether the source's last features serve as they are: see `TOP_HOLDS`, `OVER_PIXELS` and `SOLVED`."""
    top, best, pixels = (
        way(probe.balanced_accuracy, classes=classes) for probe in (measured.top, measured.best, measured.pixels)
    )
    if top >= SOLVED:
        return True
    return top >= TOP_HOLDS * best and top - pixels >= OVER_PIXELS * (1 - pixels)
