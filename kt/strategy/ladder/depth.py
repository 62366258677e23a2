"""The first rung, and the depth at which its probe takes features."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kt.data.splits import Splits
from kt.errors import DataError, RecipeError
from kt.heads import Classifier
from kt.linear import cross_validated, fit
from kt.network.model import Built
from kt.recipe import ALL, TOP, LinearProbe, Recipe
from kt.strategy.depths import features_by_depth, shares_at, spread_sample, worth_a_probe
from kt.strategy.ladder.rungs import Rung, head_alone, probe_rung
from kt.training.probe import scores_layer


@dataclass(frozen=True)
class JudgedDepth:
    """A depth, or all of them, with the log loss of a linear classifier on its features, cross-validated on train."""

    features: str
    log_loss: float


AT_TOP = JudgedDepth(TOP, float("nan"))
"""The result if there is no choice of depths: the top, without a measured loss."""


def first_rung(recipe: Recipe, splits: Splits, built: Built) -> tuple[Rung, list[JudgedDepth]]:
    """The cheapest rung, and the depths that were probed for it.

    The depths are empty if the recipe itself says how to probe, or if its head is not linear. built: the model with its
    head at the top.
    """
    for step in recipe.phases:
        if isinstance(step, LinearProbe):
            return Rung("probe", dataclasses.replace(recipe, phases=[dataclasses.replace(step, name="probe")])), []
    if not is_linear(built):
        return head_alone(recipe), []
    depths = choose_depth(recipe, splits) if isinstance(recipe.head, Classifier) else [AT_TOP]
    return probe_rung(recipe, depths[0].features), depths


def is_linear(built: Built) -> bool:
    """Whether a probe's weights can go into the head."""
    try:
        scores_layer(built)
    except RecipeError:
        return False
    return True


def choose_depth(recipe: Recipe, splits: Splits) -> list[JudgedDepth]:
    """The depths that were probed, the chosen one first; only the top if the backbone's blocks are unknown.

    The top is chosen, unless another depth, or all together, is better by more than one standard error of the
    difference, paired by picture.
    """
    splits = spread_sample(splits, seed=recipe.seed)
    features = features_by_depth(recipe, splits)
    names = [name for name in (*worth_a_probe(list(features)), ALL) if name in features]
    train = {name: features[name][: len(splits.train)] for name in names}
    if len(train) == 1:
        return [AT_TOP]
    depths = [JudgedDepth(name, _log_loss(name, of_depth, recipe, splits)) for name, of_depth in train.items()]
    top = next(depth for depth in depths if depth.features == TOP)
    best = min(depths, key=lambda depth: (depth.log_loss, depth is not top))
    if best is not top and np.isfinite(top.log_loss) and not _surely_better(best.features, train, recipe, splits):
        best = top
    return [best, *(depth for depth in depths if depth is not best)]


def _log_loss(depth: str, features: npt.NDArray[np.float32], recipe: Recipe, splits: Splits) -> float:
    """The log loss cross-validated on train, at the best C; infinite if all pictures have the same features."""
    train, balanced, keep = splits.train, recipe.class_weight == "balanced", shares_at(depth, features)
    try:
        linear = fit(features, train.labels, classes=len(splits.classes), keep=keep, groups=train.groups,
                     balanced=balanced, seed=recipe.seed)  # fmt: skip
    except DataError:
        return float("inf")
    return min((loss for share, _, loss in linear.path if share in keep), default=float("inf"))


def _surely_better(
    depth: str, features: Mapping[str, npt.NDArray[np.float32]], recipe: Recipe, splits: Splits
) -> bool:  # fmt: skip
    """Whether a depth beats the top by more than chance; False if a class has a single group."""
    try:
        losses, tops = (_losses(name, features[name], recipe, splits) for name in (depth, TOP))
    except DataError:
        return False
    gain = tops - losses
    return bool(gain.mean() > gain.std() / len(gain) ** 0.5)


def _losses(
    depth: str, features: npt.NDArray[np.float32], recipe: Recipe, splits: Splits
) -> npt.NDArray[np.float64]:  # fmt: skip
    """The cross-validated log loss of each training picture, `[N]`, with all choices made inside each fold."""
    train, balanced, keep = splits.train, recipe.class_weight == "balanced", shares_at(depth, features)
    scores = cross_validated(features, train.labels, classes=len(splits.classes), keep=keep, groups=train.groups,
                             balanced=balanced, seed=recipe.seed)  # fmt: skip
    return -np.log(np.maximum(scores[np.arange(len(train)), train.labels], 1e-7))
