"""Stratified folds of pictures in whole groups, to evaluate a classifier and to choose C."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold

from kt.base.console import unwarned
from kt.errors import DataError

Ints = npt.NDArray[np.int64]
Folds = list[tuple[Ints, Ints]]

FOLDS = 5

ENOUGH = 1000
"""The most pictures that C is chosen on; if there are more, a random sample of this size is used."""

_ATTEMPTS = 20
"""The number of shuffles that are tried: with few groups, a shuffle may hold out all of a class at once."""

_BLOCK = 1024
_NEARLY = (1e-8, 1e-5)  # two folds are as good as each other within this much, and this share


def folds_of(labels: npt.ArrayLike, groups: Sequence[str] | None = None, *, folds: int = FOLDS, seed: int = 0) -> Folds:
    """Train and held-out indices of each fold, stratified by class, with whole groups.

    There are fewer folds if a class has fewer groups. Raises DataError if a class has a single group, because it could
    not be learnt while the group is held out.
    """
    labels = np.asarray(labels, np.int64)
    names = _names(labels, groups)
    independent = _independent(labels, names)
    scarce = [label for label, count in independent.items() if count < 2]
    if scarce:
        raise DataError(
            f"Class {scarce[0]} (counting from 0) has a single independent example, so nothing can be cross-validated; "
            "add examples of it. (Copies, and examples of one group, count as one.)"
        )
    for attempt in range(_ATTEMPTS):
        split = _split(labels, names, folds=min(folds, *independent.values()), seed=seed + 1000 * attempt)
        if sum(len(held_out) for _, held_out in split) == len(labels):
            return split
    raise DataError("The groups of examples can't be shared out so that every class is learnt; split them up.")


def folds_to_choose_by(labels: Ints, groups: Sequence[str] | None, *, seed: int) -> Folds:
    """The folds to choose C on; possibly none. A class with a single group is always learnt and never held out."""
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
    """Stratified folds of whole groups. Folds whose training part lacks a class are left out."""
    if len(np.unique(names)) == len(names):  # every picture is its own group
        splitter = StratifiedKFold(folds, shuffle=True, random_state=seed)
        with unwarned("The least populated class"):  # it may have fewer pictures than there are folds
            split = list(splitter.split(np.zeros(len(labels)), labels))
    else:
        fold = _shared_out(labels, names, folds=folds, seed=seed)
        split = [(np.flatnonzero(fold != each), np.flatnonzero(fold == each)) for each in range(folds)]
    classes = set(labels.tolist())
    return [(train, held) for train, held in split if len(held) and set(labels[train].tolist()) == classes]


def _shared_out(labels: Ints, names: npt.NDArray[np.str_], *, folds: int, seed: int) -> Ints:
    """The fold of each picture, `[N]`: group by group, where the shares of the classes differ least between the folds.

    The folds are those of scikit-learn 1.9's StratifiedGroupKFold, in a sixth of the time, which counts for very many
    groups: only the classes that a group has are looked at anew, and all folds at once.
    """
    classes, label, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    group = np.unique(names, return_inverse=True)[1]
    order = np.random.RandomState(seed).permutation(int(group.max()) + 1)
    group = np.argsort(order)[group]
    # The classes of each group, and how many pictures it has of each.
    pairs, counts = np.unique(group * len(classes) + label, return_counts=True)
    owner, column = np.divmod(pairs, len(classes))
    ends = np.searchsorted(owner, np.arange(len(order) + 1))
    spread = np.empty(len(order))
    for start in range(0, len(order), _BLOCK):
        some = slice(ends[start], ends[min(start + _BLOCK, len(order))])
        dense = np.zeros((min(_BLOCK, len(order) - start), len(classes)))
        dense[owner[some] - start, column[some]] = counts[some]
        spread[start : start + _BLOCK] = dense.std(axis=1)
    held, uneven, total = np.zeros((folds, len(classes))), np.zeros(len(classes)), [0.0] * folds
    fold = np.empty(len(order), np.int64)
    itself = np.arange(folds)
    for each in np.argsort(-spread, kind="stable").tolist():
        own = slice(ends[each], ends[each + 1])
        columns, more = column[own], counts[own]
        tried = np.repeat(held[None, :, columns], folds, axis=0)
        tried[itself, itself] += more
        tried_uneven = np.repeat(uneven[None], folds, axis=0)
        tried_uneven[:, columns] = (tried / sizes[columns]).std(axis=1)
        best, least = 0, np.inf
        for place, value in enumerate(tried_uneven.mean(axis=1).tolist()):
            alike = abs(value - least) <= _NEARLY[0] + _NEARLY[1] * least
            if value < least or (alike and total[place] < total[best]):
                best, least = place, value
        fold[each] = best
        held[best, columns] += more
        total[best] += float(more.sum())
        uneven = tried_uneven[best]
    return np.asarray(fold[group])


def _names(labels: Ints, groups: Sequence[str] | None) -> npt.NDArray[np.str_]:
    return np.arange(len(labels)).astype(str) if groups is None else np.asarray(groups, dtype=str)


def _independent(labels: Ints, names: npt.NDArray[np.str_]) -> Counter[int]:
    """How many groups each class has."""
    return Counter(label for label, _ in set(zip(labels.tolist(), names.tolist(), strict=True)))
