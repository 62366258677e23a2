"""Maps of one small model, as JSON: run by tests/test_explain.py in a child process for each backend.

KERAS_BACKEND=jax python explain_facts.py
"""

import json

from kt.base import backend

NAME = backend.start()

import keras  # noqa: E402
import numpy as np  # noqa: E402

from kt import Classifier, LinearProbe, Phase, Recipe, freeze  # noqa: E402
from kt.explain.maps import explained  # noqa: E402
from kt.explain.network import Explainable  # noqa: E402
from kt.kinds.pictures.kind import Pictures  # noqa: E402
from kt.network.model import build  # noqa: E402


def squeezed(include_top, weights, input_shape):
    """Two blocks, each with a squeeze-and-excitation branch, whose pooled maps are none to be explained."""
    del include_top, weights
    inputs = x = keras.Input(input_shape)
    for block in (1, 2):
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name=f"block_{block}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block_{block}_bn")(x)
        x = keras.layers.Activation("silu", name=f"block_{block}_silu")(x)
        gate = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"block_{block}_squeeze")(x)
        gate = keras.layers.Conv2D(8, 1, activation="sigmoid", name=f"block_{block}_excite")(gate)
        x = keras.layers.Multiply(name=f"block_{block}_gated")([x, gate])
    return keras.Model(inputs, x, name="squeezed")


squeezed.preprocessing = "scale -1..1"

HEAD = [Phase("first", freeze.frozen, epochs=1, lr=1e-2)]
RECIPES = {
    "linear": (Classifier(dropout=0.2), HEAD),
    "hidden": (Classifier(hidden=6), HEAD),
    "depths": (Classifier(dropout=0.0), [LinearProbe(features="all")]),
}


def facts(head, phases):
    recipe = Recipe(lambda: None, squeezed, head, phases, weights="none")
    made = build(recipe, kind=Pictures((32, 32)), num_classes=3).model
    random = np.random.default_rng(0)
    made.set_weights([np.abs(random.normal(0.3, 0.3, weight.shape)) for weight in made.get_weights()])
    pixels = random.integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
    network = Explainable(made)
    maps = {
        method: [each.values[::4, ::4].tolist() for each in explained(network, pixels, [0, 1, 2], method=method)]
        for method in ("grad_cam", "layer_cam", "occlusion")
    }
    return {"depths": network.depths, "scores": network.scores(pixels).tolist(), "maps": maps}


print(json.dumps({"backend": NAME} | {name: facts(*recipe) for name, recipe in RECIPES.items()}))
