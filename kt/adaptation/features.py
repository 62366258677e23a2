"""The check of the features that a method of adaptation gets, and samples of them."""

import numpy as np
import numpy.typing as npt

from kt.errors import DataError
from kt.linear.folds import Ints
from kt.linear.space import Floats


def checked(
    source: npt.ArrayLike, labels: npt.ArrayLike, target: npt.ArrayLike, *, classes: int
) -> tuple[Floats, Ints, Floats]:
    """Features and labels as arrays of float64 and int64. Raises DataError if they don't fit each other."""
    rows, others = pair(source, target)
    known = np.asarray(labels, np.int64)
    if known.shape != rows.shape[:1]:
        raise DataError(f"Source features of shape {list(rows.shape)} don't fit labels of shape {list(known.shape)}.")
    if classes < 2:
        raise DataError("There is one class only; adaptation needs at least two.")
    outside = known[(known < 0) | (known >= classes)]
    if len(outside):
        raise DataError(f"Labels must be from 0 to {classes - 1}, and one is {outside[0]}.")
    absent = sorted(set(range(classes)) - set(known.tolist()))
    if absent:
        raise DataError(f"Class {absent[0]} (counting from 0) has no example in the source domain.")
    return rows, known, others


def pair(source: npt.ArrayLike, target: npt.ArrayLike) -> tuple[Floats, Floats]:
    """The features of two domains as float64 `[N, D]` and `[M, D]`. Raises DataError if they don't fit each other."""
    first, second = np.asarray(source, np.float64), np.asarray(target, np.float64)
    for rows, domain in ((first, "source"), (second, "target")):
        if not rows.size:
            raise DataError(f"The {domain} domain has no examples.")
        if rows.ndim != 2:
            raise DataError(f"Features of the {domain} domain must be [examples, features], not {list(rows.shape)}.")
        if not np.isfinite(rows).all():
            raise DataError(f"An example of the {domain} domain has features that are not finite numbers.")
    if first.shape[1] != second.shape[1]:
        raise DataError(
            f"The domains have {first.shape[1]} and {second.shape[1]} features; the same network must compute both."
        )
    return first, second


def drawn(count: int, most: int, *, seed: int) -> Ints:
    """The indices of all of `count` examples, or of a random sample of `most` of them, in rising order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def drawn_by_class(labels: Ints, most: int, *, seed: int) -> Ints:
    """The indices of all examples, or of a random sample of `most` in which each class keeps its share and an example.

    most: at least the number of classes.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    share = np.empty(len(labels))
    for label in np.unique(labels):
        own = order[labels[order] == label]
        share[own] = np.arange(len(own)) / len(own)  # the first of each class is at 0, so it is taken
    return np.sort(order[np.argsort(share[order], kind="stable")[:most]])
