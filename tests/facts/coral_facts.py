"""What Deep CORAL computes and what training with it does, on one backend; one line of JSON.

    python coral_facts.py FOLDER

FOLDER: for what is kept of training.
"""

import json
import os
import sys
from pathlib import Path

os.environ["KT_HOME"] = str(Path(sys.argv[1]) / "home")

import keras
import numpy as np
from digits import DIGITS, RANDOM, accuracy, by_difference, gone_on, gradient, largest, trained

from kt import Coral, Phase, freeze
from kt.parts.objectives.coral import coral


def value(one, other):
    found = coral(keras.ops.convert_to_tensor(one), keras.ops.convert_to_tensor(other))
    return float(keras.ops.convert_to_numpy(found))


def apart(built):
    """How far the logits' covariances of the two domains are from each other, of pictures that trained neither."""
    layer = built.model.layers[-1]
    kernel, bias = layer.get_weights()
    before = keras.Model(built.model.input, layer.input)
    here, away = (before.predict(part.examples, verbose=0) @ kernel + bias for part in (DIGITS.validation, DIGITS.test))
    return by_hand(here, away)


def by_hand(one, other):
    """The formula of the paper, by NumPy."""
    difference = np.cov(one, rowvar=False) - np.cov(other, rowvar=False)
    return float((difference**2).sum() / (4 * one.shape[1] ** 2))


def cached_and_ordinary():
    """The same between a phase on stored outputs of frozen layers and on pixels, from the same head."""
    first = Phase("first", freeze.frozen, epochs=1, lr=1e-2)
    one, results = trained(Coral(), first, epochs=2)
    other, _ = trained(Coral(), first, epochs=2, cached=False)
    return [results[-1].inputs, largest(one, other)]


def main():
    one = RANDOM.normal(size=(12, 4)).astype(np.float32)
    other = (RANDOM.normal(size=(9, 4)) * 2 + 1).astype(np.float32)
    plain, aligned = [], []
    for seed in (0, 1) if keras.backend.backend() == "tensorflow" else (0,):
        built, _ = trained(None, seed=seed)
        plain.append([apart(built), accuracy(built)])
        built, results = trained(Coral(), seed=seed)
        aligned.append([apart(built), accuracy(built)])
    by_backend = gradient(lambda rows: coral(rows, keras.ops.convert_to_tensor(other)), one)
    facts = {
        "backend": keras.backend.backend(),
        "equal": value(one, one),
        "shuffled and moved": value(one, one[::-1] + np.float32(5)),
        "value": [value(one, other), by_hand(one, other)],
        "gradient": float(np.abs(by_backend - by_difference(lambda rows: by_hand(rows, other), one)).max()),
        "of one": value(one[:1], one[:1]),
        "plain": plain,
        "aligned": aligned,
        "history": results[0].history,
        "objective": results[0].objective,
        "gone on": gone_on(Path(sys.argv[1]) / "steps", Coral()),
        "cached": cached_and_ordinary(),
    }
    print(json.dumps(facts))


main()
