"""One model from pixels to scores: preprocessing, backbone and head, so that none can be left out."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt.backbones.build import Pretrained
from kt.backbones.build import build as build_backbone
from kt.backbones.preprocessing import preprocess
from kt.data.splits import Pixels
from kt.errors import RecipeError
from kt.graph import leaves
from kt.recipe import Recipe


@dataclass(frozen=True)
class Built:
    """The whole model (pixels uint8 `[N, H, W, 3]` to scores float32 `[N, C]`) and its parts.

    prepared and features: the symbolic tensors before and behind the backbone.
    """

    model: Any
    backbone: Any
    pretrained: Pretrained
    prepared: Any
    features: Any


def build(recipe: Recipe, *, image_size: tuple[int, int], num_classes: int) -> Built:
    """Preprocessing (as the weights want it), backbone and head in one functional model.

    Raises WeightsError where the weights can't be had, RecipeError where the head does not fit.
    """
    pretrained = build_backbone(recipe.backbone, recipe.weights, image_size=image_size)
    return _assemble(recipe, pretrained, image_size=image_size, num_classes=num_classes)


def _assemble(recipe: Recipe, pretrained: Pretrained, *, image_size: tuple[int, int], num_classes: int) -> Built:
    inputs = keras.Input((*image_size, 3), dtype="uint8", name="pixels")
    x = keras.ops.cast(inputs, "float32")
    prepared = preprocess(x, pretrained.preprocessing)
    features = pretrained.model(prepared)
    outputs = recipe.head(features, num_classes)
    if tuple(outputs.shape) != (None, num_classes):
        raise RecipeError(
            f"The head gives {tuple(outputs.shape)} for {num_classes} classes; expected (N, {num_classes})."
        )
    model = keras.Model(inputs, outputs, name="classifier")
    return Built(model, pretrained.model, pretrained, prepared, features)


def in_float32(built: Built, recipe: Recipe) -> Any:
    """The trained model with all computation in float32: itself, or its copy where it trained in mixed precision.

    What is evaluated, compared and exported is this one: phones and TensorFlow Serving compute in float32.
    """
    model = built.model
    if all(leaf.compute_dtype in ("float32", "uint8") for leaf in leaves(model)):
        return model
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        _, height, width, _ = model.input_shape
        plain = build(recipe, image_size=(height, width), num_classes=model.output_shape[-1]).model
    finally:
        keras.config.set_dtype_policy(policy)
    plain.set_weights(model.get_weights())
    return plain


def predict(model: Any, pixels: Pixels, *, batch_size: int = 32) -> npt.NDArray[np.float32]:
    """Scores float32 `[N, C]` of uint8 pictures `[N, H, W, 3]`, in inference mode."""
    return np.asarray(model.predict(pixels, batch_size=batch_size, verbose=0), np.float32)
