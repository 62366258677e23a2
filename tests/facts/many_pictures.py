"""Trains a head on 100,000 made-up pictures at 1,280 features and prints the most memory it took, in bytes.

Run by tests/test_many_pictures.py in a child process, since what a process took is never given back.
"""

import re
from pathlib import Path

from kt.base import backend
from kt.kinds.pictures.kind import Pictures

backend.start()

import keras  # noqa: E402
import numpy as np  # noqa: E402

from kt import Classifier, Phase, Recipe, freeze, training  # noqa: E402
from kt.data.splits import Split, Splits  # noqa: E402
from kt.network import model  # noqa: E402

PICTURES, FEATURES = 100_000, 1280


def wide(include_top, weights, input_shape):
    """As many features as MobileNetV2 has, from tiny pictures."""
    del include_top, weights
    pixels = keras.Input(input_shape)
    return keras.Model(pixels, keras.layers.Conv2D(FEATURES, 8, activation="relu", name="block_1_conv")(pixels))


wide.preprocessing = "scale -1..1"


def part(count, seed):
    labels = np.arange(count) % 2
    pixels = np.random.default_rng(seed).integers(0, 200, (count, 8, 8, 3)).astype(np.uint8)
    pixels[labels == 1] += 50
    names = tuple(map(str, range(count)))
    return Split(pixels, labels, names, names)


def main():
    splits = Splits(part(PICTURES - 1000, 0), part(1000, 1), part(2, 2), ("dark", "light"), 256, "made up", "-")
    phases = [Phase("only", freeze.frozen, epochs=2, lr=1e-3)]
    recipe = Recipe(lambda: splits, wide, Classifier(), phases, weights="none")
    built = model.build(recipe, kind=Pictures((8, 8)), num_classes=2)
    (result,), best = training.train(built, recipe, splits)
    assert result.inputs == "stored outputs of pool", result.inputs
    assert best.val_accuracy > 0.9, best.val_accuracy
    # Not getrusage's figure, which begins with what the process that started this one held.
    print(int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024)


main()
