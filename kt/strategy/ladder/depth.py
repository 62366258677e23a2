"""The first rung, and the depth at which its probe takes features."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kt.data.splits import Splits
from kt.errors import DataError, RecipeError
from kt.features.engine import Engine
from kt.heads import Classifier
from kt.linear import cross_validated, fit
from kt.model import Built
from kt.probe import by_depth, scores_layer
from kt.recipe import LinearProbe, Recipe
from kt.strategy.ladder.rungs import TOP, Rung, head_alone, probe
from kt.strategy.validation import blocks_of, new_model

DEPTHS = 5
"""At so many depths, evenly spread, features are probed."""


@dataclass(frozen=True)
class Depth:
    """How well a linear classifier does on the features of one depth: its log loss, cross-validated on train."""

    features: str
    log_loss: float


AT_TOP = Depth(TOP, float("nan"))
"""Where there is nothing to choose between."""


def first_rung(recipe: Recipe, splits: Splits, built: Built) -> tuple[Rung, list[Depth]]:
    """The cheapest way, and the depths that were probed for it: none where the recipe itself says how to probe.

    built: the model with its head at the top.
    """
    for step in recipe.phases:
        if isinstance(step, LinearProbe):
            return Rung("probe", dataclasses.replace(recipe, phases=[dataclasses.replace(step, name="probe")])), []
    if not is_linear(built):
        return head_alone(recipe), []
    depths = choose_depth(recipe, splits, built) if isinstance(recipe.head, Classifier) else [AT_TOP]
    return probe(recipe, depths[0].features), depths


def is_linear(built: Built) -> bool:
    """Whether the head is one that a probe's weights can go into."""
    try:
        scores_layer(built)
    except RecipeError:
        return False
    return True


def choose_depth(recipe: Recipe, splits: Splits, built: Built) -> list[Depth]:
    """The depths that were probed, the chosen one first; the top alone where the backbone's blocks are unknown.

    built: the model with its head at the top. That is chosen, unless another depth is better by more than one standard
    error of the difference, picture by picture.
    """
    names = blocks_of(built)[:-1]
    if not names:
        return [AT_TOP]
    places = np.linspace(len(names) / 3, len(names) - 1, DEPTHS - 1).round().astype(int)
    rows = _features_at([*(names[i] for i in dict.fromkeys(places.tolist())), TOP], recipe, splits)
    depths = [Depth(name, _log_loss(found, recipe, splits)) for name, found in rows.items()]
    top, best = depths[-1], min(reversed(depths), key=lambda depth: depth.log_loss)
    if best is not top and np.isfinite(top.log_loss):
        gain = _losses(rows[TOP], recipe, splits) - _losses(rows[best.features], recipe, splits)
        if gain.mean() <= gain.std() / len(gain) ** 0.5:
            best = top
    return [best, *(depth for depth in depths if depth is not best)]


def _log_loss(features: npt.NDArray[np.float32], recipe: Recipe, splits: Splits) -> float:
    """Cross-validated on train, at the best C; infinite where the features tell nothing apart."""
    train, balanced = splits.train, recipe.class_weight == "balanced"
    try:
        linear = fit(features, train.labels, classes=len(splits.classes), groups=train.groups, balanced=balanced,
                     seed=recipe.seed)  # fmt: skip
    except DataError:
        return float("inf")
    return min((tried[-1] for tried in linear.path), default=float("inf"))


def _losses(features: npt.NDArray[np.float32], recipe: Recipe, splits: Splits) -> npt.NDArray[np.float64]:
    """The cross-validated log loss of each training picture, `[N]`, C chosen inside each fold."""
    train, balanced = splits.train, recipe.class_weight == "balanced"
    scores = cross_validated(features, train.labels, classes=len(splits.classes), groups=train.groups,
                             balanced=balanced, seed=recipe.seed)  # fmt: skip
    return -np.log(np.maximum(scores[np.arange(len(train)), train.labels], 1e-7))


def _features_at(names: Sequence[str], recipe: Recipe, splits: Splits) -> dict[str, npt.NDArray[np.float32]]:
    """The pooled frozen features of the training pictures at each depth, `[N, D]`, all in one pass."""
    phase = LinearProbe(features=list(names), name="depths")
    probing = dataclasses.replace(recipe, phases=[phase], augment=None)
    built = new_model(probing, splits)
    phase.trainable(built.backbone)
    rows = Engine(built, probing, splits).work(0).train[np.arange(len(splits.train))]
    return by_depth(rows, built.taps)
