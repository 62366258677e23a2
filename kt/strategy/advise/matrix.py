"""The matrix of size and similarity: the quadrant of a data set, and whether anything can be learned from it."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from kt.strategy.advise.probes import ProbedBackbone, ProbedFeatures

LARGE = 300
"""A data set is large if its median class has at least this many pictures: then training blocks pays
(benchmarks/README.md)."""

TOP_HOLDS = 0.9
"""The source counts as similar only if the top reaches at least this share of what the best depth reaches.

Both are measured from guessing (0) to perfect (1), as by `way`.
"""

OVER_PIXELS = 1 / 3
"""The source counts as similar only if the top removes at least this share of the errors of pixels alone."""

SOLVED = 0.95
"""The source counts as similar in any case if the top reaches this, from guessing (0) to perfect (1)."""

_SIGNIFICANT = 0.02
"""The probability of calling noise learnable."""

_OF_FOLDS = 1.4
"""The factor by which the spread of a cross-validated accuracy exceeds what the bootstrap shows.

Folds depend on each other (Bengio and Grandvalet, No Unbiased Estimator of the Variance of K-Fold Cross-Validation,
JMLR 2004). On normal noise, 120 draws each, it was 1.43 (8 features of 64 pictures), 1.31 (200 of 64) and 1.26 (200 of
200).
"""


def learnable(probes: Sequence[ProbedFeatures], *, classes: int) -> bool:
    """Whether any depth does significantly better than guessing, allowing for several tries.

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
    """Whether the median class has enough pictures to train blocks of the network: see `LARGE`."""
    return float(np.median(list(per_class.values()))) >= LARGE


def way(accuracy: float, *, classes: int) -> float:
    """A balanced accuracy rescaled, so that guessing is 0 and perfect is 1."""
    return (accuracy - 1 / classes) / (1 - 1 / classes)


def is_similar(measured: ProbedBackbone, *, classes: int) -> bool:
    """Whether the source's last features serve unchanged: see `TOP_HOLDS`, `OVER_PIXELS` and `SOLVED`."""
    top, best, pixels = (
        way(probe.balanced_accuracy, classes=classes) for probe in (measured.top, measured.best, measured.pixels)
    )
    if top >= SOLVED:
        return True
    return top >= TOP_HOLDS * best and top - pixels >= OVER_PIXELS * (1 - pixels)
