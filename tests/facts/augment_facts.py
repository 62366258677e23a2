"""What augmentation gives on one backend, printed as JSON: run by tests/test_augment.py in a child process.

KERAS_BACKEND=jax python augment_facts.py
"""

import hashlib
import json
import random

from kt.base import backend
from kt.kinds.pictures.kind import Pictures

NAME = backend.start()

import keras  # noqa: E402
import numpy as np  # noqa: E402
from pictures import dark_and_light  # noqa: E402

from kt import Classifier, CutMix, MixUp, Phase, RandAugment, Recipe, Views, freeze, training  # noqa: E402
from kt.frozen.engine import Work, all_views  # noqa: E402
from kt.network import model  # noqa: E402
from kt.parts.augment import plan_of  # noqa: E402
from kt.training.batches import Order, training_batches  # noqa: E402

SPLITS = dark_and_light(20, 8, 8, size=(32, 32))


def tiny(include_top, weights, input_shape):
    """One block, so that every phase trains in a second."""
    del include_top, weights
    inputs = keras.Input(input_shape)
    x = keras.layers.Conv2D(4, 3, strides=2, name="block_1_conv")(inputs)
    return keras.Model(inputs, keras.layers.ReLU(name="block_1_relu")(x), name="tiny")


tiny.preprocessing = "scale -1..1"


def recipe_of(augment, *phases):
    return Recipe(
        lambda: SPLITS, tiny, Classifier(dropout=0), phases or [Phase("all", freeze.everything, epochs=2, lr=1e-3)],
        weights="none", augment=augment, class_weight="balanced", seed=3,
    )  # fmt: skip


def batches_of(augment, *, seed=(3, 0)):
    """All batches of an epoch, as one hash."""
    recipe, found = recipe_of(augment), hashlib.sha256()
    pixels = all_views(plan_of(augment), SPLITS.train.examples, seed=3)
    order = Order(len(SPLITS.train), 8, seed=seed, epoch=1, views=len(pixels) // len(SPLITS.train))
    work = Work(None, pixels, SPLITS.validation.examples)
    for batch in training_batches(order, work, SPLITS.train.labels, recipe=recipe, classes=2):
        for part in batch:
            found.update(np.asarray(part).tobytes())
    return found.hexdigest()


def settings_of_keras():
    """What an import could have changed."""
    state = np.random.get_state()
    return [
        keras.backend.backend(), keras.config.floatx(), keras.config.image_data_format(), keras.config.epsilon(),
        keras.config.dtype_policy().name, hash(random.getstate()), hash((state[1].tobytes(), state[2])),
    ]  # fmt: skip


def losses_of(augment):
    """The losses of a training, epoch by epoch."""
    recipe = recipe_of(augment)
    training.seed_everything(recipe.seed)
    made = model.build(recipe, kind=Pictures((32, 32)), num_classes=2)
    return training.train(made, recipe, SPLITS)[0][0].history["loss"]


before = settings_of_keras()
facts = {"backend": NAME}
for name, augment in {
    "rand_augment": RandAugment(),
    "mix_up": MixUp(),
    "cut_mix": CutMix(),
    "views_and_both": [Views(RandAugment(), views=2), MixUp(), CutMix()],
}.items():
    facts[name] = [batches_of(augment), batches_of(augment)]
facts["other_seed"] = batches_of(RandAugment(), seed=(4, 0))
facts["undisturbed"] = settings_of_keras() == before
facts["losses"] = losses_of([Views(RandAugment(), views=2), MixUp()])
print(json.dumps(facts))
