"""Whether a frozen model is converted in a child process where Keras is not on TensorFlow, printed as JSON.

KERAS_BACKEND=jax python litert_elsewhere.py
"""

import json

from kt.base import backend

NAME = backend.start()

import keras  # noqa: E402
import numpy as np  # noqa: E402

from kt.frozen import encode  # noqa: E402


def small():
    inputs = keras.Input((32, 32, 3), dtype="uint8")
    x = keras.ops.cast(inputs, "float32") / 127.5 - 1.0
    x = keras.layers.Conv2D(8, 3, strides=2)(x)
    x = keras.layers.BatchNormalization()(x)
    return keras.Model(inputs, [x, keras.layers.GlobalAveragePooling2D()(x)])


def main():
    keras.utils.set_random_seed(0)
    model, pixels = small(), np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3)).astype(np.uint8)
    right, slow = encode.encoder_for(model, pictures=1, probe=pixels)
    encode._pays = lambda *_, **__: True
    fast, engine = encode.encoder_for(model, pictures=20, probe=pixels)
    pairs = zip(right(pixels), fast(pixels), strict=True)
    print(json.dumps([slow, engine, max(float(np.abs(one - other).max()) for one, other in pairs)]))


main()
