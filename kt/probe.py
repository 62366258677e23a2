"""A linear probe: the convex classifier of what a frozen backbone gives, as the last layer of the model."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt import linear
from kt.data.splits import Splits
from kt.errors import RecipeError
from kt.features.engine import Inputs, Work
from kt.graph import leaves, nodes
from kt.linear import Linear
from kt.model import Built
from kt.recipe import LinearProbe, Recipe

SHARES = (1.0, 0.5, 0.2, 0.1)
"""Shares of the features that are tried where they come from several depths."""

FEW_SHARES = (0.2, 0.1)
"""And where there are `WIDE` features or more: cross-validation can't tell on 100 pictures that all are too many."""

WIDE = 4000

_PASSES = (keras.layers.GlobalAveragePooling2D, keras.layers.Dropout)
"""What may stand between the backbone and the last layer."""


def probe(built: Built, recipe: Recipe, step: LinearProbe, work: Work, splits: Splits) -> Linear:
    """Fit the classifier on train, each view of a picture counting as one, and put it into the head.

    Raises RecipeError for a head that is not linear.
    """
    layer = scores_layer(built)
    train = features(built, work.train)
    views = len(train) // len(splits.train)
    found = linear.fit(
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
    layer.set_weights([found.weights.astype(np.float32), found.bias.astype(np.float32)])
    return found


def shares_of(built: Built) -> tuple[float, ...]:
    """The shares of its features that a probe of the model tries: all of them where they come from one depth."""
    return shares(sum(width for _, width in built.taps)) if len(built.taps) > 1 else (1.0,)


def shares(width: int) -> tuple[float, ...]:
    """The shares to try of so many features that come from several depths."""
    return FEW_SHARES if width >= WIDE else SHARES


def scores_layer(built: Built) -> Any:
    """The layer that a probe's weights go into: `Dense` with a softmax, the only one of the head that has weights.

    Raises RecipeError where the head has more, for the best weights of those are no convex question.
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
    """What comes to the head's layer, float32 `[N, D]`: the stored rows, or computed from pixels."""
    if len(inputs.shape) == 2:
        return np.asarray(inputs[np.arange(len(inputs))], np.float32)
    model = keras.Model(built.model.input, scores_layer(built).input)
    return np.asarray(model.predict(inputs, batch_size=32, verbose=0), np.float32)


def used(found: Linear, taps: Sequence[tuple[str, int]]) -> dict[str, int]:
    """How many features of each depth the classifier uses."""
    kept = np.abs(found.weights).sum(axis=1) > 0
    if not taps:
        return {"top": int(kept.sum())}
    return {name: int(part.sum()) for name, part in by_depth(kept, taps).items()}


def by_depth(rows: npt.NDArray[Any], taps: Sequence[tuple[str, int]]) -> dict[str, npt.NDArray[Any]]:
    """The part of each depth, by its name, of rows `[N, D]` or of a value for each feature; taps: `Built.taps`."""
    ends = np.cumsum([width for _, width in taps])
    return {name: part for (name, _), part in zip(taps, np.split(rows, ends[:-1], axis=-1), strict=True)}
