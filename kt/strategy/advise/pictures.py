"""The pictures that advice may use: those to learn from, with enough of each class."""

import numpy as np
import numpy.typing as npt

from kt.base.few import FEW
from kt.data.splits import Splits
from kt.errors import DataError


def to_learn(splits: Splits) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Labels and groups of the pictures that advice may use: those of train, then those of validation."""
    parts = (splits.train, splits.validation)
    return np.concatenate([part.labels for part in parts]), [group for part in parts for group in part.groups]


def check_enough(splits: Splits) -> None:
    """Raise DataError, with the class's name, if a class has too few independent pictures for cross-validation."""
    labels, groups = to_learn(splits)
    for label, name in enumerate(splits.classes):
        alone = {group for group, mine in zip(groups, labels == label, strict=True) if mine}
        if len(alone) < 2:
            raise DataError(
                f"Class {name!r} has {len(alone)} independent pictures to learn from, and nothing can be said of it "
                f"below 2: collect about {FEW} of it, or leave the class out. (Copies, and pictures of one group, "
                "count as one.)"
            )
