"""How far training on stored frozen outputs differs from ordinary training, printed as JSON; run in a child process.

KERAS_BACKEND=jax python equal_training.py FAMILY...
"""

import json
import sys

from kt.base import backend
from kt.kinds.pictures.kind import Pictures

backend.start()

import keras  # noqa: E402
import numpy as np  # noqa: E402
from pictures import dark_and_light  # noqa: E402

from kt import Classifier, Phase, Recipe, backbones, freeze, graph, training  # noqa: E402
from kt.network import model  # noqa: E402

SIZE = (64, 64)
BLOCKS = {
    "MobileNetV2": "block_15",
    "ResNet50": "conv5_block3",
    "EfficientNetB0": "block6d",
    "DenseNet121": "conv5_block15",
    "MobileNetV3Small": "expanded_conv_9",
    "EfficientNetLite0": "block6d",
}


SPLITS = dark_and_light(20, 8, 4, size=SIZE)


def momentum(rate):
    return keras.optimizers.SGD(rate, momentum=0.9)


def after_training(family, *, cached):
    """The weights after the last blocks were trained, dropout and all; every loss; whether BatchNorm stood still."""
    phases = [Phase("blocks", freeze.from_block(BLOCKS[family]), epochs=2, lr=1e-3, optimizer=momentum)]
    if family == "MobileNetV2":  # a head alone is much the same in all families
        phases.insert(0, Phase("head_alone", freeze.frozen, epochs=2, lr=1e-2, optimizer=momentum))
    constructor = getattr(backbones if "Lite" in family else keras.applications, family)
    recipe = Recipe(lambda: SPLITS, constructor, Classifier(dropout=0.2), phases, weights="none", seed=5)
    training.seed_everything(recipe.seed)
    built = model.build(recipe, kind=Pictures(SIZE), num_classes=2)
    waken(built)
    before = statistics(built)
    results, _ = training.train(built, recipe, SPLITS, cached=cached)
    losses = [loss for result in results for name in ("loss", "val_loss") for loss in result.history[name]]
    kept = all(np.array_equal(one, other) for one, other in zip(before, statistics(built), strict=True))
    return built.model.get_weights(), losses, kept


def waken(built):
    """Give BatchNorm these pictures' statistics: with those it begins with, random weights give nearly nothing."""
    norms = [leaf for leaf in graph.leaves(built.backbone) if isinstance(leaf, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    built.model(SPLITS.train.examples, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def statistics(built):
    return [keras.ops.convert_to_numpy(weight) for weight in built.model.weights if "moving_" in weight.path]


def main():
    facts = {}
    for family in sys.argv[1:]:
        (weights, losses, kept), (others, other_losses, _) = (
            after_training(family, cached=way) for way in (True, False)
        )
        facts[family] = {
            "weights": max(float(np.abs(one - two).max()) for one, two in zip(weights, others, strict=True)),
            "losses": float(np.abs(np.subtract(losses, other_losses)).max()),
            "batch_norm_kept": kept,
            "learned": losses[0] - losses[1],
        }
    print(json.dumps(facts))


main()
