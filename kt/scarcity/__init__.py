"""Few pictures: says so, judges a probe by cross-validation, and shows whether more pictures would help.

All of it comes from a linear probe on the frozen backbone's features of train and validation; of test only the number
of pictures is looked at.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kt import linear
from kt.console import say, warn
from kt.data.splits import Splits
from kt.model import Built
from kt.probe import shares_of
from kt.recipe import Recipe
from kt.scarcity.counts import few_pictures, is_scarce
from kt.scarcity.features import frozen_features, not_probed
from kt.scarcity.probes import cross_validation, learning_curve

__all__ = ["Scarcity", "scarcity"]


@dataclass(frozen=True)
class Scarcity:
    """What the number of pictures means for a run, under the keys of `report.json`.

    few_pictures: warnings, a line each. learning_curve: how good a probe is that learned from so many training
    pictures. outlook: what more of them would bring, in a sentence. cross_validation: the figures of a probe over train
    and validation where validation is small.
    """

    few_pictures: tuple[str, ...] = ()
    learning_curve: tuple[dict[str, Any], ...] = ()
    outlook: str = ""
    cross_validation: dict[str, Any] | None = None


def scarcity(built: Built, recipe: Recipe, splits: Splits, *, cached: bool = True) -> Callable[[], Scarcity]:
    """Warn of few pictures, and give what probes the backbone as it is now, before training moves it: it stays frozen.

    The probes need nothing but what the backbone gave and take one core for seconds, so they can go on beside other
    work. cached: whether frozen layers are computed once; where they are not, they are not for this alone either.
    Raises DataError where the backbone gives the same for every picture.
    """
    warnings = few_pictures(splits)
    for warning in warnings:
        warn(warning)
    reason = not_probed(built, recipe) if cached else "frozen layers are not computed once"
    if reason:
        say(f"no learning curve: {reason}")
    found = None if reason else frozen_features(built, recipe, splits)
    if found is None:
        return lambda: Scarcity(warnings)
    train, validation = found
    linear.refuse_constant(train.features)
    keep, balanced = shares_of(built), recipe.class_weight == "balanced"

    def probed() -> Scarcity:
        curve, sentence = learning_curve(train, splits.classes, keep=keep, balanced=balanced, seed=recipe.seed)
        say(sentence)
        figures = None
        if len(train.labels) == len(splits.train) and is_scarce(splits.validation, len(splits.classes)):
            known = train + validation
            figures = cross_validation(known, splits.classes, keep=keep, balanced=balanced, seed=recipe.seed)
        return Scarcity(warnings, tuple(curve), sentence, figures)

    return probed
