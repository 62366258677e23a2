"""The pictures that advice may look at: those to learn from, enough of each class, and of very many a draw."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from kt.data.splits import Split, Splits
from kt.errors import DataError

FEW = 20
"""Below so many pictures a class every figure is shaky, which is said."""

MOST = 1000
"""Pictures that are measured, at most; a draw where there are more, class by class and in whole groups."""


def to_learn(splits: Splits) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Labels and groups of the pictures that advice may look at: those of train, then those of validation."""
    parts = (splits.train, splits.validation)
    return np.concatenate([part.labels for part in parts]), [group for part in parts for group in part.groups]


def check_enough(splits: Splits) -> None:
    """Raise DataError, with the class's name, where one has too little for cross-validation."""
    labels, groups = to_learn(splits)
    for label, name in enumerate(splits.classes):
        alone = {group for group, mine in zip(groups, labels == label, strict=True) if mine}
        if len(alone) < 2:
            raise DataError(
                f"Class {name!r} has {len(alone)} independent pictures to learn from, and nothing can be said of it "
                f"below 2: collect about {FEW} of it, or leave the class out. (Copies, and pictures of one group, "
                "count as one.)"
            )


def drawn(splits: Splits, *, seed: int) -> Splits:
    """The splits with so few pictures to learn from that probing takes seconds."""
    share = MOST / (len(splits.train) + len(splits.validation))
    if share >= 1:
        return splits
    random = np.random.default_rng(seed)
    return replace(
        splits,
        train=_draw(splits.train, share, random),
        validation=_draw(splits.validation, share, random),
    )


def _draw(split: Split, share: float, random: np.random.Generator) -> Split:
    """A share of each class, in whole groups, at least two groups of each where there are."""
    groups = np.array(split.groups)
    kept = np.zeros(len(split), bool)
    for label in np.unique(split.labels):
        mine = split.labels == label
        for number, group in enumerate(random.permutation(np.unique(groups[mine]))):
            if number >= 2 and kept[mine].sum() >= share * mine.sum():
                break
            kept |= mine & (groups == group)
    return split.take(np.flatnonzero(kept))
