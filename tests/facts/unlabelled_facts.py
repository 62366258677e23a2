"""What is computed from examples without labels, on one backend: statistics, and SHOT's loss; one line of JSON."""

import json

import keras
import numpy as np
from digits import by_difference, gradient

from kt import AdaptiveBatchNorm, Classifier, Recipe, Shot
from kt.kinds.pictures.kind import Pictures
from kt.network.model import build
from kt.training.batch_norm import batch_norms, renew_statistics
from kt.training.shot import SourceFree


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


LOGITS = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
LABELS = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1]]


def loss_of(logits):
    """The step's loss for logits, as a tensor."""
    model = SourceFree(None, None, Shot(trainable=lambda backbone: None, epochs=1, lr=0.1, weight=0.3))
    return model.compute_loss(y=keras.ops.convert_to_tensor(LABELS), y_pred=logits)


def furthest_gradient():
    """The largest difference between the gradient of the loss and its finite differences."""
    return float(np.abs(gradient(loss_of, LOGITS) - by_difference(loss_of, LOGITS)).max())


def classes_after(diversity):
    """How many classes a scaled input is in after training: more begin in one class, and the loss decides."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((2,))
    moved = keras.layers.Dense(2, kernel_initializer="identity", bias_initializer="zeros", name="moved")(inputs)
    last = keras.layers.Dense(2, activation="softmax", kernel_initializer="identity", trainable=False, name="scores")
    step = Shot(trainable=lambda backbone: None, epochs=1, lr=0.1, weight=0.0, diversity=diversity)
    model = SourceFree(keras.Model(inputs, [last(moved), moved]), last, step)
    model.compile(optimizer=keras.optimizers.Adam(0.05), jit_compile=keras.backend.backend() == "jax")
    points = np.array([[2, 0], [1.5, 0], [1, 0], [0.3, 0], [0.1, 0.2], [0, 0.3]], np.float32)
    for _ in range(300):
        model.train_on_batch(points, np.zeros((6, 2), np.float32))
    logits = keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(points)))
    return len(set(logits.argmax(axis=1).tolist()))


told = {"with": classes_after(1.0), "without": classes_after(0.0)}
print(
    json.dumps(
        {
            "backend": keras.backend.backend(),
            "furthest": furthest_statistics(),
            "gradient": furthest_gradient(),
            "classes": told,
        }
    )
)
