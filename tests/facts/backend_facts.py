"""Facts about freezing and training on one backend, printed as JSON: run by tests/test_backends.py in a child process.

KERAS_BACKEND=jax python backend_facts.py WEIGHTS.npz      (TensorFlow writes that file, the others read it)
"""

import json
import sys
from pathlib import Path

from kt.base import backend
from kt.kinds.pictures.kind import Pictures

NAME = backend.start()

import keras  # noqa: E402
import numpy as np  # noqa: E402
from pictures import dark_and_light  # noqa: E402

from kt import Classifier, Phase, Recipe, freeze, graph, training  # noqa: E402
from kt.frozen.engine import Work  # noqa: E402
from kt.network import model  # noqa: E402
from kt.training.batches import Order, training_batches  # noqa: E402


def tiny(include_top, weights, input_shape):
    """Two blocks with BatchNorm and Dropout, the traps of freezing."""
    del include_top, weights
    inputs = x = keras.Input(input_shape)
    for block in (1, 2):
        x = keras.layers.Conv2D(8, 3, strides=2, name=f"block_{block}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block_{block}_bn")(x)
        x = keras.layers.ReLU(name=f"block_{block}_relu")(x)
        x = keras.layers.Dropout(0.5, name=f"block_{block}_dropout")(x)
    return keras.Model(inputs, x, name="tiny")


tiny.preprocessing = "scale -1..1"


SPLITS = dark_and_light(24, 8, 8, size=(32, 32))


def built(recipe, weights):
    training.seed_everything(3)
    made = model.build(recipe, kind=Pictures((32, 32)), num_classes=2)
    if weights.exists():
        with np.load(weights) as stored:
            made.model.set_weights([stored[str(index)] for index in range(len(stored))])
    else:
        np.savez(weights, **{str(index): value for index, value in enumerate(made.model.get_weights())})
    return made


def recipe_of(*phases, dropout=0.0):
    return Recipe(lambda: SPLITS, tiny, Classifier(dropout=dropout), phases, weights="none")


def moved(before, made):
    after = state(made)
    return sorted(path for path in after if not np.array_equal(before[path], after[path]))


def state(made):
    return {weight.path: np.array(keras.ops.convert_to_numpy(weight)) for weight in made.model.weights}


def fit(whole, recipe):
    """Two epochs of the ordinary way, in the order that kt.train takes."""
    for epoch in range(2):
        order = Order(len(SPLITS.train), 8, seed=(recipe.seed, 0), epoch=epoch)
        work = Work(whole, SPLITS.train.examples, SPLITS.validation.examples)
        batches = training_batches(order, work, SPLITS.train.labels, recipe=recipe, classes=2)
        whole.fit(batches, shuffle=False, verbose=0)


def what_moves(trainable, weights):
    """The weights that differ after two epochs; the last weights, not the best, so that a small step shows too."""
    phase = Phase("only", trainable, epochs=2, lr=1e-2)
    recipe = recipe_of(phase)
    made = built(recipe, weights)
    trainable(made.backbone)
    before = state(made)
    training.compile_for(made.model, recipe, phase, steps=6, backbone=made.backbone)
    with freeze.inference_where_frozen(made.backbone):
        fit(made.model, recipe)
    return moved(before, made)


def first_losses(weights):
    """Losses of the first epoch of a head phase and of one that trains a block; no dropout, so no random numbers."""
    losses = {}
    for name, trainable in (("head", freeze.frozen), ("block", freeze.last_blocks(1))):
        recipe = quiet(trainable)
        made = built(recipe, weights)
        results, _ = training.train(made, recipe, SPLITS)
        losses[name] = [*results[0].history["loss"], *results[0].history["val_loss"]]
    return losses


def quiet(trainable, epochs=1):
    """A recipe of one phase with dropout held, whichever blocks train."""

    def held(backbone):
        trainable(backbone)
        for leaf in graph.leaves(backbone):
            if isinstance(leaf, keras.layers.Dropout):
                leaf.trainable = False

    return recipe_of(Phase("only", held, epochs=epochs, lr=1e-2))


def spread_in_training(trainable, weights):
    """How far two training-mode passes over the same pictures differ: 0 where no dropout fires."""
    recipe = recipe_of(Phase("only", trainable, epochs=1, lr=1e-2))
    made = built(recipe, weights)
    trainable(made.backbone)
    pixels = SPLITS.train.examples[:8]
    with freeze.inference_where_frozen(made.backbone):
        one, two = (keras.ops.convert_to_numpy(made.model(pixels, training=True)) for _ in range(2))
    return float(np.abs(one - two).max())


def spread_without_kt(weights):
    """The same of a frozen backbone as Keras has it: not 0, which is why kt's way is needed."""
    made = built(recipe_of(Phase("only", freeze.frozen, epochs=1, lr=1e-2)), weights)
    made.backbone.trainable = False
    pixels = SPLITS.train.examples[:8]
    one, two = (keras.ops.convert_to_numpy(made.model(pixels, training=True)) for _ in range(2))
    return float(np.abs(one - two).max())


def cached_and_ordinary(trainable, weights):
    """The largest difference in any weight between training on frozen layers' stored outputs and on pixels."""
    recipe = quiet(trainable, epochs=2)
    (phase,) = recipe.phases
    cached = built(recipe, weights)
    training.train(cached, recipe, SPLITS)
    ordinary = built(recipe, weights)
    phase.trainable(ordinary.backbone)
    training.compile_for(ordinary.model, recipe, phase, steps=6, backbone=ordinary.backbone)
    with freeze.inference_where_frozen(ordinary.backbone):
        fit(ordinary.model, recipe)
    pairs = zip(cached.model.get_weights(), ordinary.model.get_weights(), strict=True)
    return float(max(np.abs(one - two).max() for one, two in pairs))


def main():
    weights = Path(sys.argv[1])
    facts = {
        "backend": keras.backend.backend(),
        "frozen_moves": what_moves(freeze.frozen, weights),
        "last_block_moves": what_moves(freeze.last_blocks(1), weights),
        "everything_moves": what_moves(freeze.everything, weights),
        "with_batch_norm_moves": what_moves(freeze.everything_with_batch_norm, weights),
        "spread_frozen": spread_in_training(freeze.frozen, weights),
        "spread_trained": spread_in_training(freeze.last_blocks(1), weights),
        "spread_without_kt": spread_without_kt(weights),
        "first_losses": first_losses(weights),
        "cached_and_ordinary": {
            "head": cached_and_ordinary(freeze.frozen, weights),
            "last block": cached_and_ordinary(freeze.last_blocks(1), weights),
        },
    }
    print(json.dumps(facts))


main()
