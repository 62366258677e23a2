"""Prototypes: each class is the mean of its classifier weights and of the target examples that surely belong to it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import entr

from kt.adaptation.features import checked
from kt.errors import RecipeError
from kt.linear import Linear, fit
from kt.linear.space import Floats, scale_of
from kt.recipe import check_types


@dataclass(frozen=True)
class Prototypes:
    """T3A's adjustment of a classifier, with all target examples at once instead of one after the other.

    (Iwasawa and Matsuo, Test-Time Classifier Adjustment Module for Model-Agnostic Domain Generalization, NeurIPS 2021.)
    A class's prototype is the mean of unit vectors: the source classifier's weights for the class, and the target
    examples that it assigns to the class with the lowest entropy. There is no bias, as in the paper. Features are
    standardised by the source, as kt's classifiers see them. Other than in the paper, prototypes are multiplied by the
    mean length of the classifier's weights, so that probabilities are about as sure as before. per_class: the most
    target examples of a class, 1 or more. It hurts if the source classifier is wrong where it is sure, and if
    only a combination of features tells classes apart, because prototypes ignore how features go together.
    """

    per_class: int = 20

    name = "prototypes"

    def __post_init__(self) -> None:
        check_types(self)
        if self.per_class < 1:
            raise RecipeError(f"Prototypes: per_class must be 1 or more, not {self.per_class}.")

    def fit(
        self,
        source: npt.ArrayLike,
        labels: npt.ArrayLike,
        target: npt.ArrayLike,
        *,
        classes: int,
        groups: Sequence[str] | None = None,
        balanced: bool = False,
        seed: int = 0,
    ) -> Linear:
        """A classifier for features of the target domain; arguments and errors as `kt.recipe.Adaptation.fit` says."""
        rows, known, others = checked(source, labels, target, classes=classes)
        start = fit(rows, known, classes=classes, groups=groups, balanced=balanced, seed=seed)
        centre, scale = rows.mean(axis=0), scale_of(rows)
        inside = start.weights * np.where(np.isfinite(scale), scale, 0.0)[:, None]
        scores = start.scores(others)
        length = float(np.linalg.norm(inside, axis=0).mean())
        weights = length * prototypes(inside, (others - centre) / scale, scores, per_class=self.per_class)
        outside = weights / scale[:, None]
        return replace(start, weights=outside, bias=-centre @ outside)


def prototypes(weights: Floats, target: Floats, scores: Floats, *, per_class: int) -> Floats:
    """The prototype of each class, `[D, C]`.

    weights: `[D, C]`, of the classifier to start from. target: `[M, D]`. scores: `[M, C]`, the classifier's
    probabilities for the target, which say the class of each example and, by their entropy, how sure that is.
    """
    assigned, entropy = scores.argmax(axis=1), entr(scores).sum(axis=1)
    means = []
    for label, own in enumerate(weights.T):
        of_class = np.flatnonzero(assigned == label)
        surest = of_class[np.argsort(entropy[of_class], kind="stable")[:per_class]]
        means.append(_unit(np.vstack([own, target[surest]])).mean(axis=0))
    return np.stack(means, axis=1)


def _unit(rows: Floats) -> Floats:
    """Each row divided by its length; a row of zeros stays so."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0))
