"""What is found out about a model's failures under a backend, printed as JSON; run in a child process.

KERAS_BACKEND=jax python failures_facts.py FOLDER
"""

import json
import os
import sys
from pathlib import Path

os.environ["KT_HOME"] = str(Path(sys.argv[1]) / "cache")

from kt.base import backend

backend.start()

import keras  # noqa: E402
import numpy as np  # noqa: E402
from pictures import dark_and_light  # noqa: E402

from kt import Classifier, Phase, Recipe, freeze, training  # noqa: E402
from kt.failures.features import frozen, networks  # noqa: E402
from kt.failures.find import find_failures  # noqa: E402
from kt.failures.nearest import nearest  # noqa: E402
from kt.network import model  # noqa: E402

SPLITS = dark_and_light(32, 12, 24, size=(16, 16), contrast=20)


def tiny(include_top, weights, input_shape):
    """Two blocks whose weights are drawn from fixed seeds, as if they were loaded; at random without weights."""
    inputs = x = keras.Input(input_shape)
    for block in (1, 2):
        start = keras.initializers.HeNormal(seed=block if weights else None)
        x = keras.layers.Conv2D(6, 3, strides=2, kernel_initializer=start, name=f"block_{block}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block_{block}_bn")(x)
        x = keras.layers.ReLU(name=f"block_{block}_relu")(x)
    return keras.Model(inputs, x, name="tiny")


tiny.preprocessing = "scale -1..1"


def found(trainable, weights="imagenet"):
    phase = Phase("phase", trainable=trainable, epochs=1, lr=1e-2)
    recipe = Recipe(lambda: SPLITS, tiny, Classifier(dropout=0.0), [phase], weights=weights, export=[])
    built = model.build(recipe, kind=SPLITS.kind, num_classes=2)
    training.train(built, recipe, SPLITS)
    scores = np.asarray(built.model.predict(SPLITS.test.examples, verbose=0), np.float32)
    scores[:3] = 1 - np.eye(2, dtype=np.float32)[SPLITS.test.labels[:3]]  # three errors at least
    failed = find_failures(recipe, built, built.model, SPLITS, scores)
    assert failed.slices is not None
    return failed.insight, networks(recipe, built, built.model)


def told(insight):
    return {
        "views": [each.when for each in insight.maps],
        "blocks": {each.name: each.kernels for each in insight.blocks},
    }


tuned, nets = found(freeze.last_blocks(1))
rows, again = frozen(nets.before, [SPLITS.train.examples, SPLITS.train.examples[:8]], cached=False)
itself = nearest(rows, SPLITS.train.groups, again)
print(
    json.dumps(
        {
            **told(tuned),
            "neighbours": [each.places for each in tuned.neighbours],
            "own_is_nearest": float(np.mean([each.places[0] == place for place, each in enumerate(itself)])),
            "frozen": told(found(freeze.frozen)[0]),
            "from_scratch": told(found(freeze.everything, weights="none")[0]),
        }
    )
)
