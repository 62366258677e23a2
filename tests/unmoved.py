"""Small networks whose unfamiliarity several test files look at, and what travels with them."""

from dataclasses import replace

import keras
import numpy as np

from kt import Classifier, Phase, Recipe, freeze
from kt.familiar import FROZEN, OWN, PREFIX, Carried, Familiarity
from kt.frozen.store import hashes
from kt.frozen.unmoved import Unmoved
from kt.kinds.pictures.kind import Pictures
from kt.network import model as network

SIZE = (32, 32)
CLASSES = ("one", "other")


def small(include_top, weights, input_shape):
    """Three blocks, whose end is a map."""
    inputs = keras.Input(input_shape)
    x = inputs
    for block in range(1, 4):
        x = keras.layers.Conv2D(4 * block, 3, strides=2, padding="same", name=f"block_{block}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block_{block}_bn")(x)
        x = keras.layers.ReLU(name=f"block_{block}_relu")(x)
    return keras.Model(inputs, x, name="small")


def built_for(trainable, weights="none"):
    keras.utils.set_random_seed(3)
    phases = [Phase("train_head", freeze.frozen, epochs=1, lr=1e-3), Phase("fine_tune", trainable, epochs=1, lr=1e-3)]
    recipe = Recipe(lambda: None, small, Classifier(), phases, weights=weights)
    return network.build(replace(recipe, weights="none"), kind=Pictures(SIZE), num_classes=2), recipe


def pictures(count=30, seed=0):
    random = np.random.default_rng(seed)
    return np.clip(random.integers(0, 256, (count, 1, 1, 3)) + random.normal(0, 30, (count, *SIZE, 3)), 0, 255).astype(
        np.uint8
    )


PARTS = {
    "a frozen backbone": (freeze.frozen, "imagenet", FROZEN, 12, None),
    "the last block trained": (freeze.last_blocks(1), "imagenet", PREFIX, 8, "small"),
    "all trained": (freeze.everything, "imagenet", OWN, 12, None),
    "a prefix that never learned anything": (freeze.last_blocks(1), "none", OWN, 12, None),
}
"""For each case what trains, the weights, and the part, number and backbone of its features."""


def carried_by(built, recipe, *, held_out=40):
    unmoved = Unmoved(built, built.model, recipe)
    known, validation, test = unmoved([pictures(30), pictures(held_out, seed=5), pictures(20, seed=1)])
    familiarity = Familiarity.fit(known, validation, [str(place) for place in range(held_out)])
    distances = dict(zip(hashes(pictures(20, seed=1)), familiarity(test).tolist(), strict=True))
    return Carried(familiarity, unmoved.place, distances)


def reloaded(model, file):
    """The model as the export's child has it."""
    file.parent.mkdir(exist_ok=True, parents=True)
    model.save(file)
    return keras.saving.load_model(file, compile=False)
