"""Linear classifiers on features: softmax regression and a linear SVM, with C chosen by cross-validation.

Both are scikit-learn's. Four things make them quick on a few hundred pictures of a thousand features or more. Features
are standardised, so that the solver converges. They are rotated to as many coordinates as there are pictures, which
loses nothing, since the solution lies in the span of the pictures. The strongest regularisation is fitted first, and
each further fit starts from the weights of the one before. All of it runs in one thread (`one_thread`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from kt.base.console import unwarned
from kt.errors import DataError
from kt.linear.folds import FOLDS, Ints, folds_of, folds_to_choose_by
from kt.linear.space import Floats, Space
from kt.linear.threads import one_thread

__all__ = ["FALLBACK", "Linear", "LossKind", "cross_validated", "fit", "folds_of", "one_thread", "refuse_constant"]

LossKind = Literal["softmax", "svm"]

STRENGTHS = tuple(float(10.0**power) for power in np.arange(-6, 1.1, 0.5))
"""The values of C that are tried, the strongest regularisation first; features are standardised."""

FALLBACK = 0.01
"""The value of C if no class has two groups, so that nothing can be held out."""

_ROUGH, _EXACT = 3e-3, 1e-5
"""The solver's tolerance while C is chosen, and for the final fit."""


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear classifier: softmax of `features @ weights + bias`.

    weights: float64 `[D, C]`; bias: `[C]`. C: the inverse strength of the L2 penalty on standardised features, as in
    scikit-learn. kept: the share of features that are used; the weights of the others are 0. path: what was tried, as
    kept share, C and cross-validated log loss in nats; empty if there was nothing to choose or nothing to hold out.
    """

    weights: Floats
    bias: Floats
    C: float
    kept: float
    path: tuple[tuple[float, float, float], ...]

    def scores(self, features: npt.ArrayLike) -> Floats:
        """Probabilities float64 `[M, C]` of features `[M, D]`."""
        logits = np.asarray(features, np.float64) @ self.weights + self.bias
        return np.asarray(softmax(logits, axis=1))


@dataclass(frozen=True)
class _Asked:
    """How to fit a classifier, and the loss to compare classifiers by."""

    kind: LossKind
    classes: int
    balanced: bool

    def solver(self, C: float, tolerance: float) -> Any:  # noqa: N803
        weight = "balanced" if self.balanced else None
        if self.kind == "svm":
            # The dual takes half the time at these sizes. A large `intercept_scaling` keeps the penalty on the bias
            # small.
            return LinearSVC(C=C, tol=tolerance, class_weight=weight, dual=True, intercept_scaling=10.0, max_iter=5000)
        return LogisticRegression(C=C, tol=tolerance, class_weight=weight, warm_start=True, max_iter=5000)

    def loss(self, logits: Floats, labels: Ints, weights: Floats | None) -> float:
        """The log loss in nats, by examples' weights if there are any; if balanced, each class has the same weight."""
        losses = -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
        if not self.balanced:
            return float(np.average(losses, weights=weights))
        return float(np.mean([losses[labels == label].mean() for label in np.unique(labels)]))

    def factor(self, margins: Floats, labels: Ints, weights: Floats | None) -> float:
        """The factor for an SVM's margins that gives the probabilities with the lowest loss."""
        lowest = minimize_scalar(
            lambda power: self.loss(margins * np.exp(power), labels, weights), bounds=(-5.0, 5.0), method="bounded"
        )
        return float(np.exp(lowest.x))


def fit(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    classes: int,
    kind: LossKind = "softmax",
    C: float | None = None,  # noqa: N803 - scikit-learn's name
    keep: Sequence[float] = (1.0,),
    groups: Sequence[str] | None = None,
    balanced: bool = False,
    weights: npt.ArrayLike | None = None,
    seed: int = 0,
) -> Linear:
    """Fit a classifier on features `[N, D]` with labels `[N]`, from 0 to below `classes`.

    kind: "softmax" is multinomial logistic regression; "svm" is a linear SVM, one class against the rest, with squared
    hinge loss. Its margins are scaled to probabilities by one factor for all (temperature scaling: Guo et al., On
    Calibration of Modern Neural Networks, ICML 2017), so that predictions stay the SVM's. C: None takes the value with
    the lowest cross-validated log loss. keep: shares of the features, between which cross-validation chooses. The most
    relevant features are kept, by the norm of their weights in a fit on all features (Evci et al., Head2Toe, ICML 2022,
    who find relevance with a group lasso). groups: pictures of one group are held out together. balanced: weigh each
    class by the inverse of its frequency, also in the loss that chooses. weights: `[N]`, what each picture counts
    relative to the others, 0 or more, also in the loss that chooses and in a class's frequency; None for all alike.

    Raises DataError if all pictures have the same features, a feature is not finite, a class has no picture, or the
    weights are negative, not finite, or all 0.
    """
    rows, labels = np.asarray(features, np.float64), np.asarray(labels, np.int64)
    _check(rows, labels, classes=classes)
    counted = None if weights is None else _counted(weights, labels, balanced=balanced)
    asked = _Asked(kind, classes, balanced and counted is None)  # weights are balanced themselves
    # Convergence to the last digit does not matter while C is chosen. scikit-learn 1.9 takes labels of many classes
    # with few pictures for a regression target, and warns in each fit.
    many = unwarned("The number of unique classes is greater than 50%")
    with one_thread(), unwarned(category=ConvergenceWarning), many:
        folds = [_Fold(rows, labels, counted, *parts) for parts in folds_to_choose_by(labels, groups, seed=seed)]
        share, strength, path = _chosen(folds, asked, keep=keep, given=C)
        columns = np.arange(rows.shape[1])
        if share < 1:
            whole = min((tried for tried in path if tried[0] == 1), key=lambda tried: tried[2], default=None)
            relevant = _relevance(rows, labels, counted, asked, C=strength if whole is None else whole[1])
            columns = _most_relevant(relevant, share)
        inner, bias = _fitted(rows[:, columns], labels, counted, asked, C=strength)
        if kind == "svm":
            factor = _temperature(folds, asked, share=share, C=strength)
            inner, bias = inner * factor, bias * factor
        outer = np.zeros((rows.shape[1], classes))
        outer[columns] = inner
        return Linear(outer, bias, strength, share, tuple(path))


def cross_validated(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    classes: int,
    kind: LossKind = "softmax",
    C: float | None = None,  # noqa: N803 - scikit-learn's name
    keep: Sequence[float] = (1.0,),
    groups: Sequence[str] | None = None,
    balanced: bool = False,
    folds: int = FOLDS,
    seed: int = 0,
) -> Floats:
    """Probabilities float64 `[N, C]` for each picture, from a classifier that has seen neither it nor its group.

    Unless C is given, it and the share of features to keep are chosen anew for each fold, from the other folds alone.
    Raises DataError as `fit` and `folds_of` do.
    """
    rows, labels = np.asarray(features, np.float64), np.asarray(labels, np.int64)
    _check(rows, labels, classes=classes)
    scores = np.empty((len(rows), classes))
    for train, held_out in folds_of(labels, groups, folds=folds, seed=seed):
        own = None if groups is None else [groups[index] for index in train]
        model = fit(
            rows[train],
            labels[train],
            classes=classes,
            kind=kind,
            C=C,
            keep=keep,
            groups=own,
            balanced=balanced,
            seed=seed,
        )
        scores[held_out] = model.scores(rows[held_out])
    return scores


def _check(rows: Floats, labels: Ints, *, classes: int) -> None:
    if rows.ndim != 2 or len(rows) != len(labels) or not len(rows):
        raise DataError(f"Features of shape {list(rows.shape)} don't fit labels of shape {list(labels.shape)}.")
    if not np.isfinite(rows).all():
        raise DataError("An example's features are not finite numbers; the backbone's weights can't be right.")
    absent = sorted(set(range(classes)) - set(labels.tolist()))
    if absent:
        raise DataError(f"Class {absent[0]} (counting from 0) has no example to learn from.")
    if classes < 2:
        raise DataError("There is one class only; a classifier needs at least two.")
    refuse_constant(rows)


def _counted(weights: npt.ArrayLike, labels: Ints, *, balanced: bool) -> Floats:
    """Weights with a mean of 1, so that C means what it means without; if balanced, each class has the same sum."""
    counted = np.asarray(weights, np.float64)
    if counted.shape != labels.shape:
        raise DataError(f"Weights of shape {list(counted.shape)} don't fit labels of shape {list(labels.shape)}.")
    if not np.isfinite(counted).all() or counted.min() < 0 or not counted.any():
        raise DataError("The weights of examples must be finite numbers, 0 or more, and not all 0.")
    if balanced:
        sums = np.bincount(labels, counted)
        if not sums.all():
            raise DataError(f"Class {int(np.argmin(sums))} (counting from 0) has no example with a weight above 0.")
        counted = counted / sums[labels]
    return np.asarray(counted / counted.mean())


def refuse_constant(features: npt.ArrayLike) -> None:
    """Raise DataError if all pictures have the same features `[N, D]`, except for rounding."""
    rows = np.asarray(features)
    if np.ptp(rows, axis=0).max() <= 1e-6 * np.abs(rows).max():
        raise DataError(
            "All examples have the same features, so nothing tells the classes apart. Are all examples the same, or "
            "are the backbone's weights all zero?"
        )


class _Fold:
    """The pictures of a fold to learn from, and those held out, as features, labels and weights."""

    def __init__(self, rows: Floats, labels: Ints, weights: Floats | None, train: Ints, held_out: Ints) -> None:
        self.learnt, self.held_out = (
            (rows[part], labels[part], None if weights is None else weights[part]) for part in (train, held_out)
        )

    def on(self, columns: Ints | None) -> tuple[Space, Floats]:
        """The space of the pictures to learn from, and the held-out pictures in its coordinates.

        columns: the features to use; None for all.
        """
        own, other = (part if columns is None else part[:, columns] for part in (self.learnt[0], self.held_out[0]))
        space = Space(own)
        return space, space.into(other)


def _chosen(
    folds: Sequence[_Fold], asked: _Asked, *, keep: Sequence[float], given: float | None
) -> tuple[float, float, list[tuple[float, float, float]]]:
    """The share of features and the C with the lowest loss over all held-out pictures, and what was tried."""
    if not folds:
        return 1.0, FALLBACK if given is None else given, []
    if given is not None and len(keep) == 1:
        return keep[0], given, []
    strengths = STRENGTHS if given is None else (given,)
    path, weights = _path(folds, [None] * len(folds), asked, strengths=strengths)
    tried = [(1.0, *point) for point in path]
    first = min(path, key=lambda point: point[1])[0]
    later = [strength for strength in strengths if strength >= first]  # fewer features need less of a penalty
    for share in keep:
        if share < 1:
            columns = [_most_relevant(of_fold, share) for of_fold in weights]
            tried += [(share, *point) for point in _path(folds, columns, asked, strengths=later)[0]]
    share, strength, _ = min((point for point in tried if point[0] in keep), key=lambda point: point[2])
    return share, strength, tried


def _path(
    folds: Sequence[_Fold], columns: Sequence[Ints | None], asked: _Asked, *, strengths: Sequence[float]
) -> tuple[list[tuple[float, float]], list[Floats]]:
    """Each C with its loss, until the loss has risen twice in a row, and the best weights of each fold.

    Each model starts from the weights of the one before.
    """
    spaces = [fold.on(chosen) for fold, chosen in zip(folds, columns, strict=True)]
    models = [asked.solver(strengths[0], _ROUGH) for _ in folds]
    truth, counted = _held_out(folds)
    path: list[tuple[float, float]] = []
    best: list[Floats] = []
    for strength in strengths:
        margins, weights = [], []
        for model, fold, (space, held_out) in zip(models, folds, spaces, strict=True):
            inside, bias = _weights_of(model.set_params(C=strength).fit(space.inside, *fold.learnt[1:]))
            margins.append(held_out @ inside + bias)
            weights.append(inside)
        logits = np.concatenate(margins)
        factor = asked.factor(logits, truth, counted) if asked.kind == "svm" else 1.0
        loss = asked.loss(logits * factor, truth, counted)
        if not path or loss < min(earlier for _, earlier in path):
            best = weights
        path.append((strength, loss))
        if len(path) > 2 and path[-1][1] > path[-2][1] > path[-3][1]:
            break
    return path, [space.relevance(inside) for (space, _), inside in zip(spaces, best, strict=True)]


def _held_out(folds: Sequence[_Fold]) -> tuple[Ints, Floats | None]:
    """The labels and weights of all held-out pictures, fold by fold."""
    weights = [fold.held_out[2] for fold in folds if fold.held_out[2] is not None]
    return np.concatenate([fold.held_out[1] for fold in folds]), np.concatenate(weights) if weights else None


def _fitted(
    rows: Floats, labels: Ints, weights: Floats | None, asked: _Asked, *, C: float  # noqa: N803
) -> tuple[Floats, Floats]:  # fmt: skip
    """Weights `[D, C]` and bias, solved exactly."""
    space = Space(rows)
    return space.outside(*_weights_of(asked.solver(C, _EXACT).fit(space.inside, labels, weights)))


def _relevance(rows: Floats, labels: Ints, weights: Floats | None, asked: _Asked, *, C: float) -> Floats:  # noqa: N803
    """The weights `[D, C]` of standardised features in a fit on all features."""
    space = Space(rows)
    return space.relevance(_weights_of(asked.solver(C, _ROUGH).fit(space.inside, labels, weights))[0])


def _most_relevant(weights: Floats, share: float) -> Ints:
    """The indices of the features with the largest weights, as many as the share says, in rising order."""
    norms = np.linalg.norm(weights, axis=1)
    return np.sort(np.argsort(-norms, kind="stable")[: max(1, round(share * len(norms)))])


def _weights_of(model: Any) -> tuple[Floats, Floats]:
    """Weights with a column for each class, and bias; scikit-learn has a single column for two classes."""
    weights, bias = np.asarray(model.coef_, np.float64).T, np.asarray(model.intercept_, np.float64)
    if weights.shape[1] == 1:
        weights, bias = np.hstack([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    return weights, bias


def _temperature(folds: Sequence[_Fold], asked: _Asked, *, share: float, C: float) -> float:  # noqa: N803
    """The factor for an SVM's margins that is best on the held-out pictures; 1 if there are none."""
    if not folds:
        return 1.0
    margins = []
    for fold in folds:
        columns = None
        if share < 1:
            columns = _most_relevant(_relevance(*fold.learnt, asked, C=C), share)
        space, held_out = fold.on(columns)
        weights, bias = _weights_of(asked.solver(C, _ROUGH).fit(space.inside, *fold.learnt[1:]))
        margins.append(held_out @ weights + bias)
    return asked.factor(np.concatenate(margins), *_held_out(folds))
