"""The map: a sample of test and train by their features' two widest directions, before and after training."""

import numpy as np
import numpy.typing as npt

from kt.adaptation.features import drawn_by_class
from kt.data.splits import Split
from kt.failures.nearest import Standard
from kt.failures.results import FeatureMap
from kt.linear.space import widest

MAPPED = 300
"""The most examples of each split on a map."""

Rows = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def sampled(part: Split, *, classes: int, seed: int) -> Ints:
    """The indices of the examples on the map: all, or a sample in which each class keeps its share."""
    return drawn_by_class(part.labels, max(MAPPED, classes), seed=seed)


def feature_map(
    when: str, train: Rows, test: Rows, labels: tuple[Ints, Ints], *, classes: int
) -> FeatureMap:  # fmt: skip
    """The map of features `[N, D]` and `[M, D]`, standardised by both, each of length 1. labels: of both."""
    both = np.concatenate([train, test])
    standard = Standard(both)(both)
    places, kept = widest(standard)
    closest = (standard[len(train) :] @ standard[: len(train)].T).argmax(axis=1)
    same = labels[0][closest] == labels[1]
    alike = tuple(float(same[labels[1] == label].mean()) if (labels[1] == label).any() else None
                  for label in range(classes))  # fmt: skip
    return FeatureMap(when, train.shape[1], kept, places, alike)
