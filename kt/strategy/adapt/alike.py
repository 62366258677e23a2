"""Whether two domains differ in more than the shares of their classes: if not, there is nothing to adapt to."""

import numpy as np

from kt.adaptation.features import drawn, drawn_by_class
from kt.drift import NONE as ALIKE
from kt.drift import OF_SHARES, TOO_FEW, UNTOLD, Observed, Reference, judge
from kt.errors import DataError
from kt.linear import cross_validated, fit
from kt.strategy.adapt.source import SourceModel

MOST = 500
"""The most examples of each domain that are compared."""

__all__ = ["ALIKE", "OF_SHARES", "UNTOLD", "difference"]


def difference(source: SourceModel, *, classes: int, balanced: bool, seed: int) -> str:
    """How the target's features differ from the source's, as `kt.drift` judges it without labels of the target.

    ALIKE: by no more than chance. OF_SHARES: only in the shares of the classes. "examples": otherwise. UNTOLD: there
    are too few examples to tell. The source's scores are cross-validated, because the model has learned from the
    source.
    """
    seen = source.features
    own = drawn_by_class(seen.labels, max(MOST, classes), seed=seed)
    rows, labels, groups = seen.source[own], seen.labels[own], [seen.groups[place] for place in own]
    try:
        strength = fit(rows, labels, classes=classes, groups=groups, balanced=balanced, seed=seed).C
        scores = cross_validated(rows, labels, classes=classes, C=strength, groups=groups, balanced=balanced, seed=seed)
    except DataError:  # a class with a single group
        return UNTOLD
    target = seen.target[drawn(len(seen.target), MOST, seed=seed)]
    judged = judge(
        Reference.of(Observed.of(rows, scores), np.asarray(labels), groups),
        Observed.of(target, source.head.scores(target)),
        seed=seed,
    )
    if judged.verdict == TOO_FEW:
        return UNTOLD
    return judged.seems or judged.verdict
