"""What is computed from examples without labels, on one backend: BatchNormalization's statistics; one line of JSON."""

import json

import keras
import numpy as np

from kt import AdaptiveBatchNorm, Classifier, Recipe
from kt.kinds.pictures.kind import Pictures
from kt.network.model import build
from kt.training.batch_norm import batch_norms, renew_statistics


def small(include_top, weights, input_shape):
    """A block with a shortcut, so that two layers stand beside each other."""
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same", name="block_1_conv")(inputs)
    x = keras.layers.ReLU(name="block_1_relu")(keras.layers.BatchNormalization(name="block_1_bn")(x))
    y = keras.layers.BatchNormalization(name="block_1_own_bn")(
        keras.layers.Conv2D(4, 3, padding="same", name="block_1_own")(x)
    )
    z = keras.layers.BatchNormalization(name="block_1_short_bn")(keras.layers.Conv2D(4, 1, name="block_1_short")(x))
    return keras.Model(inputs, keras.layers.Add(name="block_1_add")([y, z]), name="small")


small.preprocessing = "scale -1..1"


def furthest_statistics():
    """The largest difference between the new statistics and the moments of each layer's inputs, by NumPy."""
    pixels = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3)).astype(np.uint8)
    recipe = Recipe(dict, small, Classifier(), [AdaptiveBatchNorm("train")], weights="none")
    built = build(recipe, kind=Pictures((8, 8)), num_classes=2)
    renew_statistics(built, pixels)
    furthest = 0.0
    for node in batch_norms(built.backbone):
        inner = keras.Model(built.model.input, keras.Model(built.backbone.inputs, node.inputs[0])(built.prepared))
        values = inner.predict(pixels, verbose=0).astype(np.float64)
        layer = node.operation
        for ours, theirs in (
            (layer.moving_mean, values.mean(axis=(0, 1, 2))),
            (layer.moving_variance, values.var(axis=(0, 1, 2))),
        ):
            furthest = max(furthest, float(np.abs(keras.ops.convert_to_numpy(ours) - theirs).max()))
    return furthest


print(json.dumps({"backend": keras.backend.backend(), "furthest": furthest_statistics()}))
