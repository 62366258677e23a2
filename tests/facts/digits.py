"""Digits of two cameras, a small network that trains on them, and gradients: what facts of objectives share.

Each script of facts says first where kt keeps its things: KT_HOME.
"""

import keras
import numpy as np
from sklearn.datasets import load_digits

from kt import Classifier, Phase, Recipe, freeze, training
from kt.data.splits import Part, Split, Splits
from kt.kinds.pictures.kind import Pictures
from kt.network import model
from kt.training import checkpoints

checkpoints.SHARE = 1e9  # every epoch is kept, however short it is
RANDOM = np.random.default_rng(0)


def small(include_top, weights, input_shape):
    x = inputs = keras.Input(input_shape)
    for block, filters in enumerate((16, 32, 64), start=1):
        layer = keras.layers.Conv2D(
            filters, 3, strides=1 if block == 1 else 2, padding="same", activation="relu", name=f"block_{block}_conv"
        )
        x = layer(x)
    return keras.Model(inputs, x, name="small")


small.preprocessing = "scale -1..1"


def of_digits():
    """Digits of 16 x 16 pixels, and as another camera would have them: greyer, and noisy."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    grey = (digits.images[order] / 16 * 255).repeat(2, axis=1).repeat(2, axis=2)
    labels = digits.target[order].astype(np.int64)
    pixels = np.repeat(grey[..., None], 3, axis=-1)
    elsewhere = (90 + 0.45 * pixels + RANDOM.normal(0, 12, pixels.shape)).clip(0, 255)

    def part(pictures, chosen):
        names = tuple(map(str, range(chosen.start, chosen.stop)))
        return Split(pictures[chosen].astype(np.uint8), labels[chosen], names, names)

    away = part(elsewhere, slice(1000, 1500))
    return Splits(
        part(pixels, slice(0, 700)), part(pixels, slice(700, 1000)), part(elsewhere, slice(1500, 1797)),
        tuple("0123456789"), 32, "digits", "-", streams={"target": Part(away.examples, away.names)},
    )  # fmt: skip


DIGITS = of_digits()


def trained(objective, *phases, seed=0, epochs=6, lr=3e-3, weights=None, steps=None, cached=True, callbacks=()):
    """The network and its results. weights: those that it begins with; random ones by default."""
    every = [*phases, Phase("all", freeze.everything, epochs=epochs, lr=lr, objective=objective)]
    if phases:
        every[-1] = Phase("top", freeze.last_blocks(1), epochs=epochs, lr=3e-3, objective=objective)
    recipe = Recipe(lambda: DIGITS, small, Classifier(dropout=0.2), every, weights="none", seed=seed)
    training.seed_everything(seed)
    built = model.build(recipe, kind=Pictures((16, 16)), num_classes=10)
    if weights is not None:
        built.model.set_weights(weights)
    results, _ = training.train(built, recipe, DIGITS, steps=steps, cached=cached, callbacks=callbacks)
    return built, results


def accuracy(built):
    return float((model.predict(built.model, DIGITS.test.examples).argmax(1) == DIGITS.test.labels).mean())


def gradient(function, at):
    """Of a function that gives a scalar by a tensor, by the backend's own means."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        variable = tf.Variable(at)
        with tf.GradientTape() as tape:
            found = function(variable)
        return tape.gradient(found, variable).numpy()
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(at))
    import torch

    variable = torch.tensor(at, requires_grad=True)
    function(variable).backward()
    return variable.grad.numpy()


def by_difference(function, at, step=1e-2):
    """The same of a function of NumPy, by finite differences."""
    found = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        ends = []
        for sign in (1, -1):
            moved = at.astype(np.float64)
            moved[place] += sign * step
            ends.append(function(moved))
        found[place] = (ends[0] - ends[1]) / (2 * step)
    return found


class Ended(Exception):  # noqa: N818
    pass


class EndAfter(keras.callbacks.Callback):
    """The process ends when so many epochs are done and the next has begun."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1 and len(self.done) > self.epochs:
            raise Ended

    def on_epoch_begin(self, epoch, logs=None):
        self.done = range(epoch + 1)


def largest(one, other):
    pairs = zip(one.model.get_weights(), other.model.get_weights(), strict=True)
    return float(max(np.abs(a - b).max() for a, b in pairs))


def gone_on(folder, objective):
    """The largest difference in any weight between a training that was ended and went on, and an unbroken one."""
    unbroken, _ = trained(objective, epochs=3)
    try:
        trained(objective, epochs=3, steps=folder, callbacks=[EndAfter(1)])
    except Ended:
        pass
    else:
        raise AssertionError("it did not end")
    return largest(trained(objective, epochs=3, steps=folder)[0], unbroken)
