"""A small network for rows of a table; its blocks can be frozen, cut and fine-tuned like those for pictures."""

from pathlib import Path
from typing import Any

import keras

from kt.backbones.preprocessing import AS_THEY_ARE
from kt.backbones.weights_file import load_weights_file
from kt.errors import WeightsError

UNITS = 64
BLOCKS = 3


def RowNetwork(  # noqa: N802 - a constructor, as those of keras.applications are
    *, include_top: bool = False, weights: str | None = None, input_shape: tuple[int, ...] = ()
) -> Any:
    """Three residual blocks of two dense layers of 64 units, similar to those of Gorishniy et al., NeurIPS 2021.

    weights: None for random ones, or the path of a model that kt trained: a run's `model.keras`, or a SavedModel.
    input_shape: `(E,)`, where E is the number of values of a prepared row. Raises WeightsError for weights that don't
    fit.
    """
    del include_top
    inputs = keras.Input(input_shape, name="prepared")
    x = keras.layers.Dense(UNITS, name="stem_dense")(inputs)
    for block in range(1, BLOCKS + 1):
        inner = keras.layers.LayerNormalization(name=f"block_{block}_norm")(x)
        inner = keras.layers.Dense(UNITS, activation="relu", name=f"block_{block}_wide")(inner)
        inner = keras.layers.Dense(UNITS, name=f"block_{block}_narrow")(inner)
        x = keras.layers.Add(name=f"block_{block}_out")([x, inner])
    model = keras.Model(inputs, x, name="row_network")
    if weights == "imagenet":
        raise WeightsError("RowNetwork has no weights of ImageNet; give it weights='none', or the path of a model.")
    if weights is not None:
        load_weights_file(model, Path(weights).expanduser())
    return model


RowNetwork.preprocessing = AS_THEY_ARE  # type: ignore[attr-defined]
