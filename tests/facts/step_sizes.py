"""How far each layer moves in a first step under layer-wise rates, printed as JSON; run in a child process.

KERAS_BACKEND=jax python step_sizes.py
"""

import json
from functools import cache

from kt.base import backend
from kt.kinds.pictures.kind import Pictures

backend.start()

import keras  # noqa: E402
import numpy as np  # noqa: E402
from pictures import dark_and_light  # noqa: E402

from kt import Classifier, Cosine, LayerwiseDecay, Phase, Recipe, freeze, training  # noqa: E402
from kt.frozen.engine import Engine  # noqa: E402
from kt.network import model  # noqa: E402
from kt.training.batches import Order, training_batches  # noqa: E402

LR = 0.25
SIZE = (16, 16)


def four_blocks(include_top, weights, input_shape):
    """Four convolutions, a block each."""
    del include_top, weights
    inputs = x = keras.Input(input_shape)
    for block in (1, 2, 3, 4):
        x = keras.layers.Conv2D(4, 3, padding="same", activation="tanh", name=f"block_{block}_conv")(x)
    return keras.Model(inputs, x, name="four_blocks")


four_blocks.preprocessing = "scale -1..1"


SPLITS = dark_and_light(8, 4, 4, size=SIZE)


def recipe_of(*phases):
    return Recipe(lambda: SPLITS, four_blocks, Classifier(dropout=0), phases, weights="none", seed=3)


def after_a_step(phase, *, cached):
    """By how much each weight moves in one step on all pictures, and the model's own optimizer."""
    recipe = recipe_of(phase)
    training.seed_everything(recipe.seed)
    built = model.build(recipe, kind=Pictures(SIZE), num_classes=2)
    phase.trainable(built.backbone)
    work = Engine(built, recipe, SPLITS, cached=cached).work(0)
    training.compile_for(work.model, recipe, phase, steps=4, backbone=built.backbone)
    before = state(built)
    order = Order(len(SPLITS.train), 8, seed=(0,))
    batches = training_batches(order, work, SPLITS.train.labels, recipe=recipe, classes=2)
    work.model.fit(batches, shuffle=False, verbose=0)
    moved = {path: value - before[path] for path, value in state(built).items()}
    return {path: change for path, change in moved.items() if np.any(change)}, work.model.optimizer


def state(built):
    return {weight.path: np.array(keras.ops.convert_to_numpy(weight)) for weight in built.model.weights}


@cache
def plain_step(trainable, cached):
    """A step of plain gradient descent with a rate of 1, which begins at the same weights each time."""
    return after_a_step(Phase("one", trainable, 1, 1.0, optimizer=keras.optimizers.SGD), cached=cached)[0]


def rates(layer_rates, trainable, *, cached=True, schedule=None):
    """The rate of each layer that moved: its step, over the step of plain gradient descent with a rate of 1.

    All weights of a layer must agree on it; the largest difference between what they say comes with the rates.
    """
    gradient = plain_step(trainable, cached)
    phase = Phase("x", trainable, 1, LR, keras.optimizers.SGD, schedule, layer_rates=layer_rates)
    step, optimizer = after_a_step(phase, cached=cached)
    found, spread = {}, 0.0
    for layer in dict.fromkeys(path.split("/")[0] for path in gradient):
        pairs = [(step[path].ravel(), gradient[path].ravel()) for path in gradient if path.split("/")[0] == layer]
        moved, slope = (np.concatenate(one) for one in zip(*pairs, strict=True))
        found[layer] = float(moved @ slope / (slope @ slope))
        spread = max(spread, float(np.abs(moved - found[layer] * slope).max() / np.abs(moved).max()))
    return {"rates": found, "spread": spread, "optimizer": type(optimizer).__name__}


def twice_the_middle(block, blocks):
    """A plain function that is neither the smallest at the stem nor the largest at the head."""
    return 2.0 if block == 2 else (block + 1) / blocks


def scaled():
    """The same under loss scaling, as mixed precision on a GPU has it; no rounding, for the layers are in float32."""
    built_by = training.compile_for

    def with_loss_scaling(made, recipe, phase, *, steps, backbone):
        built_by(made, recipe, phase, steps=steps, backbone=backbone)
        optimizer = keras.optimizers.LossScaleOptimizer(made.optimizer)
        made.compile(optimizer, loss=recipe.head.loss(), jit_compile=keras.backend.backend() == "jax")

    training.compile_for = with_loss_scaling
    try:
        return rates(LayerwiseDecay(0.5), freeze.everything)
    finally:
        training.compile_for = built_by


def trained():
    """Two whole phases: the rates that a result tells, and those that its epochs had."""
    phases = (
        Phase("head_alone", freeze.frozen, epochs=1, lr=0.1, layer_rates=LayerwiseDecay(0.5)),
        Phase("blocks", freeze.last_blocks(2), epochs=4, lr=0.1, schedule=Cosine(0.0), layer_rates=LayerwiseDecay(0.5)),
    )
    recipe = recipe_of(*phases)
    built = model.build(recipe, kind=Pictures(SIZE), num_classes=2)
    results, _ = training.train(built, recipe, SPLITS)
    return [
        {"rates": {rate.block: rate.lr for rate in result.layer_rates}, "lr": result.history["lr"]}
        for result in results
    ]


def main():
    decay = LayerwiseDecay(0.5)
    facts = {
        "backend": keras.backend.backend(),
        "no layer_rates": rates(None, freeze.everything),
        "all blocks": rates(decay, freeze.everything),
        "a plain function": rates(twice_the_middle, freeze.everything),
        "behind a border": rates(decay, freeze.last_blocks(2)),
        "the same on pixels": rates(decay, freeze.last_blocks(2), cached=False),
        "the head alone": rates(decay, freeze.frozen),
        "with a schedule": rates(decay, freeze.everything, schedule=Cosine(0.0)),
        "with loss scaling": scaled(),
        "trained": trained(),
    }
    print(json.dumps(facts))


main()
