"""A linear probe: a linear classifier of a frozen backbone's features, solved exactly, as the model's last layer."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt import linear
from kt.data.splits import Splits
from kt.errors import RecipeError
from kt.frozen.engine import Inputs, Work
from kt.graph import leaves, nodes
from kt.linear import Linear
from kt.network.model import Built
from kt.recipe import AdaptedProbe, LinearProbe, Recipe

SHARES = (1.0, 0.5, 0.2, 0.1)
"""Shares of the features that are tried where they come from several depths."""

FEW_SHARES = (0.2, 0.1)
"""Shares that are tried of `WIDE` features or more: on 100 pictures cross-validation can't show that all are too many.
"""

WIDE = 4000

_PASSES = (keras.layers.GlobalAveragePooling2D, keras.layers.Dropout)
"""What may stand between the backbone and the last layer."""


def fit_probe(built: Built, recipe: Recipe, step: LinearProbe, work: Work, splits: Splits) -> Linear:
    """Fit the classifier on train and put it into the head. Each view of a picture counts as a picture.

    Raises RecipeError for a head that is not linear.
    """
    layer = scores_layer(built)
    train = features(built, work.train)
    views = len(train) // len(splits.train)
    classifier = linear.fit(
        train,
        np.tile(splits.train.labels, views),
        classes=len(splits.classes),
        kind=step.classifier,
        C=step.C,
        groups=splits.train.groups * views,
        keep=shares_of(built),
        balanced=recipe.class_weight == "balanced",
        seed=recipe.seed,
    )
    _put(classifier, layer)
    return classifier


def fit_adapted(built: Built, recipe: Recipe, step: AdaptedProbe, work: Work, splits: Splits) -> Linear:
    """Fit the classifier on train and the other domain's examples, and put it into the head.

    Raises RecipeError for a head that is not linear.
    """
    layer = scores_layer(built)
    train, target = (features(built, part) for part in (work.train, work.streams[step.stream]))
    views = len(train) // len(splits.train)
    classifier: Linear = step.method.fit(
        train,
        np.tile(splits.train.labels, views),
        target,
        classes=len(splits.classes),
        groups=splits.train.groups * views,
        balanced=recipe.class_weight == "balanced",
        seed=recipe.seed,
    )
    _put(classifier, layer)
    return classifier


def _put(classifier: Linear, layer: Any) -> None:
    layer.set_weights([classifier.weights.astype(np.float32), classifier.bias.astype(np.float32)])


def shares_of(built: Built) -> tuple[float, ...]:
    """The shares of the model's features that a probe tries; only all of them where they come from one depth."""
    return shares(sum(width for _, width in built.taps)) if len(built.taps) > 1 else (1.0,)


def shares(width: int) -> tuple[float, ...]:
    """The shares to try where features come from several depths. width: the number of features."""
    return FEW_SHARES if width >= WIDE else SHARES


def scores_layer(built: Built) -> Any:
    """The layer that a probe's weights go into: `Dense` with a softmax, the head's only layer with weights.

    Raises RecipeError if the head has more such layers, because fitting them is not a convex problem.
    """
    *before, last = [node.operation for node in nodes([built.features], built.model.outputs)]
    linear_last = (
        isinstance(last, keras.layers.Dense) and last.activation is keras.activations.softmax and last.use_bias
    )
    if not linear_last or not all(isinstance(layer, _PASSES) for layer in before):
        names = ", ".join(layer.name for layer in (*before, last) if leaves(layer))
        raise RecipeError(
            f"LinearProbe needs a head of pooling, dropout and one dense layer with a softmax, such as Classifier() "
            f"with hidden=0; this one has {names}."
        )
    return last


def features(built: Built, inputs: Inputs) -> npt.NDArray[np.float32]:
    """The inputs of the head's last layer, float32 `[N, D]`: the cached activations, or computed from pixels."""
    if len(inputs.shape) == 2:
        return np.asarray(inputs[np.arange(len(inputs))], np.float32)
    model = keras.Model(built.model.input, scores_layer(built).input)
    return np.asarray(model.predict(inputs, batch_size=32, verbose=0), np.float32)


def used(classifier: Linear, taps: Sequence[tuple[str, int]]) -> dict[str, int]:
    """How many features of each depth the classifier uses."""
    kept = np.abs(classifier.weights).sum(axis=1) > 0
    if not taps:
        return {"top": int(kept.sum())}
    return {name: int(part.sum()) for name, part in by_depth(kept, taps).items()}


def by_depth(features: npt.NDArray[Any], taps: Sequence[tuple[str, int]]) -> dict[str, npt.NDArray[Any]]:
    """Split features `[N, D]`, or an array with a value for each feature, by depth. taps: `Built.taps`."""
    ends = np.cumsum([width for _, width in taps])
    return {name: part for (name, _), part in zip(taps, np.split(features, ends[:-1], axis=-1), strict=True)}
