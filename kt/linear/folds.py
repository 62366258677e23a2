"""Folds of pictures, class by class and in whole groups: to judge a classifier, and to choose its strength."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from kt.console import unwarned
from kt.errors import DataError

Ints = npt.NDArray[np.int64]
Folds = list[tuple[Ints, Ints]]

FOLDS = 5

ENOUGH = 1000
"""Pictures on which C is chosen, at most; a draw of them where there are more."""

_ATTEMPTS = 20
"""Shuffles that are tried: with few groups, one may hold all of a class out at once."""


def folds_of(labels: npt.ArrayLike, groups: Sequence[str] | None = None, *, folds: int = FOLDS, seed: int = 0) -> Folds:
    """Train and held-out indices of each fold, class by class in equal shares, groups whole.

    There are fewer folds where a class has fewer groups. Raises DataError where a class has a single one, for then it
    could not be learnt while it is held out.
    """
    labels = np.asarray(labels, np.int64)
    names = _names(labels, groups)
    independent = _independent(labels, names)
    scarce = [label for label, count in independent.items() if count < 2]
    if scarce:
        raise DataError(
            f"Class {scarce[0]} (counting from 0) has a single independent picture, so nothing can be cross-validated; "
            "add pictures of it. (Copies, and pictures of one group, count as one.)"
        )
    for attempt in range(_ATTEMPTS):
        found = _split(labels, names, folds=min(folds, *independent.values()), seed=seed + 1000 * attempt)
        if sum(len(held_out) for _, held_out in found) == len(labels):
            return found
    raise DataError("The groups of pictures can't be shared out so that every class is learnt; split them up.")


def folds_to_choose_by(labels: Ints, groups: Sequence[str] | None, *, seed: int) -> Folds:
    """Folds on which C is chosen: a class with a single group is always learnt and never held out; maybe none."""
    random, places = np.random.default_rng(seed), np.arange(len(labels))
    if len(labels) > ENOUGH:
        places = np.sort(random.choice(len(labels), ENOUGH, replace=False))
    names = _names(labels, groups)
    independent = _independent(labels[places], names[places])
    often = np.isin(labels[places], [label for label, count in independent.items() if count > 1])
    free, always = places[often], places[~often]
    if not len(free):
        return []
    count = min(FOLDS, *(count for count in independent.values() if count > 1))
    split = _split(labels[free], names[free], folds=count, seed=seed)
    return [(np.concatenate([free[train], always]), free[held_out]) for train, held_out in split]


def _split(labels: Ints, names: npt.NDArray[np.str_], *, folds: int, seed: int) -> Folds:
    """Stratified folds of whole groups; those whose training part lacks a class are left out."""
    # Where every picture is on its own, the same folds come a hundred times sooner without groups.
    alone = len(np.unique(names)) == len(names)
    splitter = (StratifiedKFold if alone else StratifiedGroupKFold)(folds, shuffle=True, random_state=seed)
    with unwarned("The least populated class"):  # which may have fewer pictures than folds where its groups are large
        found = list(splitter.split(np.zeros(len(labels)), labels, None if alone else names))
    everything = set(labels.tolist())
    return [(train, held) for train, held in found if len(held) and set(labels[train].tolist()) == everything]


def _names(labels: Ints, groups: Sequence[str] | None) -> npt.NDArray[np.str_]:
    return np.arange(len(labels)).astype(str) if groups is None else np.asarray(groups, dtype=str)


def _independent(labels: Ints, names: npt.NDArray[np.str_]) -> Counter[int]:
    """How many groups each class has."""
    return Counter(label for label, _ in set(zip(labels.tolist(), names.tolist(), strict=True)))
