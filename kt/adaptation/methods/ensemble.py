"""Ensemble: the mean of the classifiers that several methods give."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kt.adaptation.features import checked
from kt.adaptation.methods.coral import CorrelationAlignment
from kt.adaptation.methods.ot_labels import TransportedLabels
from kt.adaptation.methods.ot_map import LinearTransport
from kt.adaptation.methods.prototypes import Prototypes
from kt.errors import RecipeError
from kt.linear import Linear
from kt.linear.space import Floats
from kt.recipe import Adaptation, check_types


@dataclass(frozen=True)
class Ensemble:
    """The mean of several methods' logits, each divided by its spread over the target's examples.

    The spread is the standard deviation of the logits around each example's mean, so that a method does not count for
    more because its classifier is surer. The mean of linear classifiers is linear, so it costs nothing at prediction.
    The result is as sure as its members are on average. members: two methods or more. Methods err in different ways, so
    their mean is seldom the best and seldom bad. It hurts if most members are wrong in the same way, as under label
    shift.
    """

    members: Sequence[Adaptation] = (CorrelationAlignment(), LinearTransport(), TransportedLabels(), Prototypes())

    name = "ensemble"

    def __post_init__(self) -> None:
        check_types(self)
        if len(self.members) < 2:
            raise RecipeError(f"Ensemble: members must be two methods or more, not {len(self.members)}.")
        if wrong := [member for member in self.members if isinstance(member, type) or not hasattr(member, "fit")]:
            raise RecipeError(f"Ensemble: members are methods such as CorrelationAlignment(), not {wrong[0]!r}.")

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
        found: list[Linear] = [
            member.fit(rows, known, others, classes=classes, groups=groups, balanced=balanced, seed=seed)
            for member in self.members
        ]
        return mean_of(found, others)


def mean_of(classifiers: Sequence[Linear], target: Floats) -> Linear:
    """The mean of classifiers whose logits have the same spread on the target `[M, D]`.

    Its own spread, before the members disagree, is the mean of theirs. C, kept and path are those of the first.
    """
    spreads = np.array([_spread(target @ each.weights + each.bias) for each in classifiers])
    factors = spreads.mean() / np.where(spreads > 0, spreads, np.inf) / len(classifiers)
    return replace(
        classifiers[0],
        weights=sum(factor * each.weights for factor, each in zip(factors, classifiers, strict=True)),
        bias=sum(factor * each.bias for factor, each in zip(factors, classifiers, strict=True)),
    )


def _spread(logits: Floats) -> float:
    return float(np.std(logits - logits.mean(axis=1, keepdims=True)))
