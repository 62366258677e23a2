"""How far training that was ended and goes on differs from unbroken training, printed as JSON; run in a child process.

KERAS_BACKEND=jax python going_on.py
"""

import dataclasses
import json
import sys
import tempfile
from pathlib import Path

from kt.base import backend
from kt.kinds.pictures.kind import Pictures

backend.start()

import keras  # noqa: E402
import numpy as np  # noqa: E402
from pictures import dark_and_light  # noqa: E402

from kt import Classifier, Cosine, LayerwiseDecay, LinearProbe, Phase, Recipe, freeze, training  # noqa: E402
from kt.network import model  # noqa: E402
from kt.training import checkpoints  # noqa: E402

checkpoints.SHARE = 1e9  # every epoch is kept, however short it is
SPLITS = dark_and_light(24, 12, 4, size=(16, 16))
FLIP, BRIGHTNESS = keras.layers.RandomFlip(seed=3), keras.layers.RandomBrightness(0.2, seed=4)


def flipped(images):
    return BRIGHTNESS(FLIP(images))


def tiny(include_top, weights, input_shape):
    inputs = x = keras.Input(input_shape)
    for block in (1, 2, 3):
        x = keras.layers.Conv2D(6, 3, strides=2, padding="same", name=f"block_{block}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block_{block}_bn")(x)
        x = keras.layers.Dropout(0.1, name=f"block_{block}_drop")(x)
    return keras.Model(inputs, x, name="tiny")


tiny.preprocessing = "scale -1..1"
HEAD = Phase("train_head", freeze.frozen, epochs=3, lr=1e-2)
BLOCKS = Phase(
    "fine_tune", freeze.last_blocks(2), epochs=4, lr=1e-2, schedule=Cosine(warmup=0.3), layer_rates=LayerwiseDecay(0.5)
)
WITH_BATCH_NORM = Phase("all", freeze.everything_with_batch_norm, epochs=3, lr=1e-2)
PATIENT = Phase("patient", freeze.everything, epochs=12, lr=0.3, patience=2)
RECIPES = {
    "phases": ([HEAD, BLOCKS], None),
    "probe": ([LinearProbe(), BLOCKS], None),
    "batch_norm": ([HEAD, WITH_BATCH_NORM], None),
    "patience": ([HEAD, PATIENT], None),
    "augmented": ([HEAD, BLOCKS], flipped),
}


class End(keras.callbacks.Callback):
    """Ends training in the midst of an epoch, after so many batches."""

    def __init__(self, batches):
        super().__init__()
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def trained(recipe, steps, *, batches=10**9, cached=True):
    """The weights, results and best after training; None where it was ended."""
    training.seed_everything(recipe.seed)
    built = model.build(recipe, kind=Pictures((16, 16)), num_classes=2)
    try:
        results, best = training.train(built, recipe, SPLITS, steps=steps, cached=cached, callbacks=[End(batches)])
    except KeyboardInterrupt:
        return None
    told = [dataclasses.replace(one, seconds=0) for one in results]
    return (
        built.model.get_weights(),
        json.loads(json.dumps([*map(dataclasses.asdict, told), best.figures()])),
        best.scores,
    )


def difference(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys(), (one, other)
        return max((difference(one[key], other[key]) for key in one), default=0.0)
    if isinstance(one, list):
        assert len(one) == len(other), (one, other)
        return max((difference(*pair) for pair in zip(one, other, strict=True)), default=0.0)
    if isinstance(one, float):
        return abs(one - other)
    assert one == other, (one, other)
    return 0.0


def facts(name):
    phases, augment = RECIPES[name]
    recipe = Recipe(
        lambda: SPLITS, tiny, Classifier(dropout=0.3), phases, weights="none", augment=augment, seed=5
    )  # fmt: skip
    worst = {"weights": 0.0, "told": 0.0, "scores": 0.0, "ended": 0}
    with tempfile.TemporaryDirectory() as folder:
        whole = [trained(recipe, Path(folder) / "unbroken")]
        if name == "phases":  # that keeping changes nothing is shown once, for compiling takes long under JAX
            whole.append(trained(recipe, None))
        # 3 batches an epoch, and the head has 3 epochs
        many = name == "phases" and keras.backend.backend() != "jax"
        for index, batches in enumerate((4, 10, 13) if many else (10,)):
            steps = Path(folder) / str(index)
            tries = 0
            while (found := trained(recipe, steps, batches=batches if tries < 1 else 10**9)) is None:
                tries += 1
            worst["ended"] += tries
            for other in whole:
                pairs = zip(found[0], other[0], strict=True)
                worst["weights"] = max(worst["weights"], *(float(np.abs(a - b).max()) for a, b in pairs))
                worst["told"] = max(worst["told"], difference(found[1], other[1]))
                worst["scores"] = max(worst["scores"], float(np.abs(found[2] - other[2]).max()))
    return worst


print(json.dumps({name: facts(name) for name in sys.argv[1:] or RECIPES}))
