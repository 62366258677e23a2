"""What could be had with labels of the target: a classifier that learns from its labelled test examples."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from kt.errors import DataError
from kt.linear import fit, folds_of
from kt.linear.space import Floats


def target_trained(
    features: Mapping[int, Floats], labels: npt.NDArray[np.int64], groups: Sequence[str], *, balanced: bool
) -> npt.NDArray[np.bool_] | None:
    """Whether a classifier of the target answers each test example correctly, `[T, seeds]`.

    features: of the test examples `[T, D]`, by the source's model of each seed. Each example is answered by a fit to
    the others (cross-validation in whole groups), since training never sees other labels of the target. None if a class
    has a single group, which nothing else can answer.
    """
    present, compact = np.unique(labels, return_inverse=True)
    columns = []
    for seed, rows in features.items():
        right = np.zeros(len(labels), bool)
        try:
            for train, others in folds_of(compact, list(groups), seed=seed):
                classifier = fit(
                    rows[train], compact[train], classes=len(present), groups=[groups[place] for place in train],
                    balanced=balanced, seed=seed,
                )  # fmt: skip
                right[others] = classifier.scores(rows[others]).argmax(axis=1) == compact[others]
        except DataError:
            return None
        columns.append(right)
    return np.stack(columns, axis=1)
