"""Convex classifiers on features: softmax regression and a linear SVM, their strength chosen by cross-validation.

Both are scikit-learn's. What makes them quick on a few hundred pictures of a thousand features or more: the features
are standardised, which lets the solver converge; turned into as many coordinates as there are pictures, which loses
nothing, since the answer lies in the span of the pictures; fitted from the weakest model on, each from the last; and in
one thread (`one_thread`).
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

from kt.console import unwarned
from kt.errors import DataError
from kt.linear.folds import FOLDS, Ints, folds_of, folds_to_choose_by
from kt.linear.space import Floats, Space
from kt.linear.threads import one_thread

__all__ = ["FALLBACK", "Kind", "Linear", "cross_validated", "fit", "folds_of", "one_thread", "refuse_constant"]

Kind = Literal["softmax", "svm"]

STRENGTHS = tuple(float(10.0**power) for power in np.arange(-6, 1.1, 0.5))
"""The values of C that are tried, the strongest regularisation first; features are standardised."""

FALLBACK = 0.01
"""C where no class has two pictures that don't belong together, so that nothing can be held out."""

_ROUGH, _EXACT = 3e-3, 1e-5
"""Where a solver stops: while C is chosen, and at last."""


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear classifier: softmax of `features @ weights + bias`.

    weights: float64 `[D, C]`; bias: `[C]`. C: the inverse of the strength of the L2 penalty, as scikit-learn has it, on
    standardised features. kept: the share of features that are used; the weights of the others are 0. path: what was
    tried, as kept share, C and cross-validated log loss in nats; empty where C was given or nothing could be held out.
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
    """How a classifier is to be fitted, and how its answers are judged."""

    kind: Kind
    classes: int
    balanced: bool

    def solver(self, C: float, tolerance: float) -> Any:  # noqa: N803
        weight = "balanced" if self.balanced else None
        if self.kind == "svm":
            # In the dual it takes half the time at these sizes. The bias is penalised as the weight of a feature of
            # `intercept_scaling` would be: hardly.
            return LinearSVC(C=C, tol=tolerance, class_weight=weight, dual=True, intercept_scaling=10.0, max_iter=5000)
        return LogisticRegression(C=C, tol=tolerance, class_weight=weight, warm_start=True, max_iter=5000)

    def loss(self, logits: Floats, labels: Ints) -> float:
        """The log loss in nats, each class weighing the same where that is asked for."""
        losses = -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
        if not self.balanced:
            return float(losses.mean())
        return float(np.mean([losses[labels == label].mean() for label in np.unique(labels)]))

    def factor(self, margins: Floats, labels: Ints) -> float:
        """What to multiply an SVM's margins by, so that they are the best probabilities."""
        found = minimize_scalar(
            lambda power: self.loss(margins * np.exp(power), labels), bounds=(-5.0, 5.0), method="bounded"
        )
        return float(np.exp(found.x))


def fit(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    classes: int,
    kind: Kind = "softmax",
    C: float | None = None,  # noqa: N803 - the name that everybody knows it by
    keep: Sequence[float] = (1.0,),
    groups: Sequence[str] | None = None,
    balanced: bool = False,
    seed: int = 0,
) -> Linear:
    """The classifier of features `[N, D]` with labels `[N]`, indices of so many classes.

    kind: "softmax" is multinomial logistic regression; "svm" is a linear SVM, one class against the rest, squared
    hinge loss, whose margins are scaled to probabilities by one factor for all (temperature scaling: Guo et al., On
    Calibration of Modern Neural Networks, ICML 2017), so that each answer stays the SVM's. C=None: the one with the
    lowest cross-validated log loss. keep: shares of the features to choose between; the most relevant are kept, by the
    norm of their weights where all are used, and which share is best is a matter of cross-validation too (Evci et al.,
    Head2Toe, ICML 2022, who find relevance with a group lasso). groups: pictures of one group are held out together.
    balanced: weigh each class by the inverse of its frequency, in the loss that chooses too.

    Raises DataError where all pictures have the same features, a feature is not finite, or a class has no picture.
    """
    rows, labels = np.asarray(features, np.float64), np.asarray(labels, np.int64)
    _check(rows, labels, classes=classes)
    asked = _Asked(kind, classes, balanced)
    # While C is chosen, the last digits are of no matter. And scikit-learn 1.9 takes many classes of few pictures for
    # numbers, once for each fit.
    many = unwarned("The number of unique classes is greater than 50%")
    with one_thread(), unwarned(category=ConvergenceWarning), many:
        folds = [_Fold(rows, labels, *parts) for parts in folds_to_choose_by(labels, groups, seed=seed)]
        share, strength, path = _chosen(folds, asked, keep=keep, given=C)
        columns = np.arange(rows.shape[1])
        if share < 1:
            whole = min((tried for tried in path if tried[0] == 1), key=lambda tried: tried[2], default=None)
            relevant = _relevance(rows, labels, asked, C=strength if whole is None else whole[1])
            columns = _most_relevant(relevant, share)
        inner, bias = _fitted(rows[:, columns], labels, asked, C=strength)
        if kind == "svm":
            factor = _temperature(folds, asked, share=share, C=strength)
            inner, bias = inner * factor, bias * factor
        weights = np.zeros((rows.shape[1], classes))
        weights[columns] = inner
        return Linear(weights, bias, strength, share, tuple(path))


def cross_validated(
    features: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    classes: int,
    kind: Kind = "softmax",
    keep: Sequence[float] = (1.0,),
    groups: Sequence[str] | None = None,
    balanced: bool = False,
    folds: int = FOLDS,
    seed: int = 0,
) -> Floats:
    """Probabilities float64 `[N, C]` for each picture, from a classifier that has not seen it, nor its group.

    C, and the share of features to keep, are chosen anew for each fold, from the other folds alone. Raises DataError as
    `fit` and `folds_of` do.
    """
    rows, labels = np.asarray(features, np.float64), np.asarray(labels, np.int64)
    _check(rows, labels, classes=classes)
    scores = np.empty((len(rows), classes))
    for train, held_out in folds_of(labels, groups, folds=folds, seed=seed):
        near = None if groups is None else [groups[index] for index in train]
        model = fit(
            rows[train], labels[train], classes=classes, kind=kind, keep=keep, groups=near, balanced=balanced, seed=seed
        )  # fmt: skip
        scores[held_out] = model.scores(rows[held_out])
    return scores


def _check(rows: Floats, labels: Ints, *, classes: int) -> None:
    if rows.ndim != 2 or len(rows) != len(labels) or not len(rows):
        raise DataError(f"Features of shape {list(rows.shape)} don't fit labels of shape {list(labels.shape)}.")
    if not np.isfinite(rows).all():
        raise DataError("A picture's features are not finite numbers; the backbone's weights can't be right.")
    absent = sorted(set(range(classes)) - set(labels.tolist()))
    if absent:
        raise DataError(f"Class {absent[0]} (counting from 0) has no picture to learn from.")
    if classes < 2:
        raise DataError("There is one class only; a classifier needs at least two.")
    refuse_constant(rows)


def refuse_constant(features: npt.ArrayLike) -> None:
    """Raise DataError where all rows of features `[N, D]` are the same, but for rounding."""
    rows = np.asarray(features)
    if np.ptp(rows, axis=0).max() <= 1e-6 * np.abs(rows).max():
        raise DataError(
            "All pictures have the same features, so nothing tells the classes apart. Are all pictures the same, or "
            "are the backbone's weights all zero?"
        )


class _Fold:
    """Pictures to learn from and pictures held out, with the features that are looked at."""

    def __init__(self, rows: Floats, labels: Ints, train: Ints, held_out: Ints) -> None:
        self.learnt, self.held_out = (rows[train], labels[train]), (rows[held_out], labels[held_out])

    def on(self, columns: Ints | None) -> tuple[Space, Floats]:
        """The space of the pictures to learn from, and the held-out ones in it."""
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
    tried = [(1.0, *one) for one in path]
    first = min(path, key=lambda one: one[1])[0]
    later = [strength for strength in strengths if strength >= first]  # fewer features need less of a penalty
    for share in keep:
        if share < 1:
            columns = [_most_relevant(one, share) for one in weights]
            tried += [(share, *one) for one in _path(folds, columns, asked, strengths=later)[0]]
    best = min((one for one in tried if one[0] in keep), key=lambda one: one[2])
    return best[0], best[1], tried


def _path(
    folds: Sequence[_Fold], columns: Sequence[Ints | None], asked: _Asked, *, strengths: Sequence[float]
) -> tuple[list[tuple[float, float]], list[Floats]]:
    """Each C with its loss, until that has risen twice, each model begun at the last; and each fold's best weights."""
    spaces = [fold.on(chosen) for fold, chosen in zip(folds, columns, strict=True)]
    models = [asked.solver(strengths[0], _ROUGH) for _ in folds]
    truth = np.concatenate([fold.held_out[1] for fold in folds])
    path: list[tuple[float, float]] = []
    best: list[Floats] = []
    for strength in strengths:
        margins, weights = [], []
        for model, fold, (space, held_out) in zip(models, folds, spaces, strict=True):
            inside, bias = _weights_of(model.set_params(C=strength).fit(space.inside, fold.learnt[1]))
            margins.append(held_out @ inside + bias)
            weights.append(inside)
        found = np.concatenate(margins)
        loss = asked.loss(found * (asked.factor(found, truth) if asked.kind == "svm" else 1.0), truth)
        if not path or loss < min(one[1] for one in path):
            best = weights
        path.append((strength, loss))
        if len(path) > 2 and path[-1][1] > path[-2][1] > path[-3][1]:
            break
    return path, [space.relevance(inside) for (space, _), inside in zip(spaces, best, strict=True)]


def _fitted(rows: Floats, labels: Ints, asked: _Asked, *, C: float) -> tuple[Floats, Floats]:  # noqa: N803
    """Weights `[D, C]` and bias, to the last digit that counts."""
    space = Space(rows)
    return space.outside(*_weights_of(asked.solver(C, _EXACT).fit(space.inside, labels)))


def _relevance(rows: Floats, labels: Ints, asked: _Asked, *, C: float) -> Floats:  # noqa: N803
    """The weights `[D, C]` of standardised features, where all are used."""
    space = Space(rows)
    return space.relevance(_weights_of(asked.solver(C, _ROUGH).fit(space.inside, labels))[0])


def _most_relevant(weights: Floats, share: float) -> Ints:
    """The places of that share of the features whose weights are the largest, in rising order."""
    norms = np.linalg.norm(weights, axis=1)
    return np.sort(np.argsort(-norms, kind="stable")[: max(1, round(share * len(norms)))])


def _weights_of(model: Any) -> tuple[Floats, Floats]:
    """A column for each class; scikit-learn has one alone for two classes."""
    weights, bias = np.asarray(model.coef_, np.float64).T, np.asarray(model.intercept_, np.float64)
    if weights.shape[1] == 1:
        weights, bias = np.hstack([-weights, weights]) / 2, np.concatenate([-bias, bias]) / 2
    return weights, bias


def _temperature(folds: Sequence[_Fold], asked: _Asked, *, share: float, C: float) -> float:  # noqa: N803
    """The factor that makes an SVM's margins the best probabilities of held-out pictures; 1 where there are none."""
    if not folds:
        return 1.0
    margins, truth = [], []
    for fold in folds:
        columns = None
        if share < 1:
            columns = _most_relevant(_relevance(*fold.learnt, asked, C=C), share)
        space, held_out = fold.on(columns)
        weights, bias = _weights_of(asked.solver(C, _ROUGH).fit(space.inside, fold.learnt[1]))
        margins.append(held_out @ weights + bias)
        truth.append(fold.held_out[1])
    return asked.factor(np.concatenate(margins), np.concatenate(truth))
