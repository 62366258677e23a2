"""What objectives for two domains compute and what training with them does, on one backend; one line of JSON.

    python adapting_facts.py FOLDER

FOLDER: for what is kept of training.
"""

import json
import os
import sys
from pathlib import Path

os.environ["KT_HOME"] = str(Path(sys.argv[1]) / "home")

import keras
import numpy as np
from digits import DIGITS, RANDOM, accuracy, by_difference, gone_on, gradient, small, trained
from scipy.special import softmax
from scipy.stats import entropy

from kt import Cdan, Dann, Mcc, Mmd
from kt.parts.objectives.adversary import reversed_gradient, rising
from kt.parts.objectives.mcc import confusion
from kt.parts.objectives.mmd import mmd
from kt.recipe import Answers

MULTIPLES = (0.5, 2.0)
ONE = RANDOM.normal(size=(7, 3)).astype(np.float32)
OTHER = (RANDOM.normal(size=(5, 3)) * 2 + 1).astype(np.float32)


def tensor(array):
    return keras.ops.convert_to_tensor(array)


def number(scalar):
    return float(keras.ops.convert_to_numpy(scalar))


def apart(one, by):
    """The largest difference of two arrays, as a share of the largest value."""
    return float(np.abs(one - by).max() / np.abs(by).max())


def mmd_by_hand(one, other, median=None):
    both = np.concatenate([one, other]).astype(np.float64)
    squared = ((both[:, None] - both[None]) ** 2).sum(axis=-1)
    pairs = np.sort(squared[np.triu_indices(len(both), 1)])
    median = pairs[len(pairs) // 2] if median is None else median
    kernel = np.mean([np.exp(-squared / (multiple * median)) for multiple in MULTIPLES], axis=0)
    n = len(one)
    return float(kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean())


def of_mmd():
    both = np.concatenate([ONE, OTHER]).astype(np.float64)
    pairs = np.sort([((a - b) ** 2).sum() for i, a in enumerate(both) for b in both[:i]])
    fixed = pairs[len(pairs) // 2]
    by_backend = gradient(lambda rows: mmd(rows, tensor(OTHER), MULTIPLES), ONE)
    far = np.float32(1000)
    return {
        "equal": number(mmd(tensor(ONE), tensor(ONE), MULTIPLES)),
        "of one": number(mmd(tensor(ONE[:1]), tensor(ONE[:1]), MULTIPLES)),
        "value": [number(mmd(tensor(ONE), tensor(OTHER), MULTIPLES)), mmd_by_hand(ONE, OTHER)],
        "moved": [number(mmd(tensor(ONE + far), tensor(OTHER + far), MULTIPLES)), mmd_by_hand(ONE, OTHER)],
        "gradient": apart(by_backend, by_difference(lambda rows: mmd_by_hand(rows, OTHER, fixed), ONE, step=1e-4)),
    }


def confusion_by_hand(logits, temperature, sureness=None):
    """The formula of the paper, class pair by class pair, by NumPy."""
    scores = softmax(logits.astype(np.float64) / temperature, axis=1)
    count, classes = scores.shape
    sureness = of_sureness(scores) if sureness is None else sureness
    pairs = np.array([
        [sum(scores[i, a] * count * sureness[i] / sureness.sum() * scores[i, b] for i in range(count))
         for b in range(classes)] for a in range(classes)
    ])  # fmt: skip
    pairs /= pairs.sum(axis=1, keepdims=True)
    return float(sum(pairs[a, b] for a in range(classes) for b in range(classes) if a != b) / classes)


def of_sureness(scores):
    return 1 + np.exp(-entropy(scores, axis=1))


def of_mcc():
    tripled = Mcc(weight=3.0).loss({"target": Answers(None, tensor(ONE), None)})
    fixed = of_sureness(softmax(ONE.astype(np.float64) / 2.5, axis=1))
    by_backend = gradient(lambda logits: confusion(logits, 2.5), ONE)
    return {
        "sure": number(confusion(tensor(np.eye(3, dtype=np.float32) * 100), 2.5)),
        "even": number(confusion(tensor(np.zeros((4, 3), np.float32)), 2.5)),
        "value": [number(confusion(tensor(ONE), 1.5)), confusion_by_hand(ONE, 1.5)],
        "gradient": apart(by_backend, by_difference(lambda rows: confusion_by_hand(rows, 2.5, fixed), ONE, step=1e-4)),
        "weight": number(tripled) / confusion_by_hand(ONE, 2.5),
    }


def adversary(features, classifier, progress=0.5, weight=3.0):
    """Dann's loss of half the features as the source's and half as the target's. classifier: `[d, 1]`, linear."""
    answers = {"train": Answers(None, None, features[:3]), "target": Answers(None, None, features[3:])}
    return Dann(weight=weight).loss(answers, lambda x, training: keras.ops.matmul(x, classifier), tensor(progress))


def adversary_by_hand(features, classifier):
    logits = (features @ classifier).astype(np.float64)
    return float((np.log1p(np.exp(-logits[:3])).mean() + np.log1p(np.exp(logits[3:])).mean()) / 2)


def of_dann():
    at, classifier = ONE[:6], np.array([[1.0], [-2.0], [0.5]], np.float32)
    progress = np.float32(0.2)
    by_features = gradient(lambda rows: adversary(rows, tensor(classifier), progress), at)
    by_classifier = gradient(lambda kernel: adversary(tensor(at), kernel, progress), classifier)
    unturned = by_difference(lambda rows: adversary_by_hand(rows, classifier), at, step=1e-4)
    scale = 3 * (2 / (1 + np.exp(-2.0)) - 1)
    loss = adversary_by_hand(at, classifier)
    turned = gradient(lambda x: keras.ops.sum(reversed_gradient(x, 0.7) * tensor(at)), at * 2 + 1)
    built = Dann(hidden=5).layers(4, 3)
    return {
        "reversed": apart(turned, -0.7 * at),
        "unchanged": apart(keras.ops.convert_to_numpy(reversed_gradient(tensor(at), 0.7)), at),
        "rising": [number(rising(tensor(np.float32(share)))) for share in (0, 0.2, 1)],
        "value": [number(adversary(tensor(at), tensor(classifier))), loss],
        "by features": apart(by_features, -scale * unturned),
        "by classifier": apart(
            by_classifier, by_difference(lambda kernel: adversary_by_hand(at, kernel), classifier, step=1e-4)
        ),
        "after a step": [
            adversary_by_hand(at, classifier - 0.1 * by_classifier) - loss,
            adversary_by_hand(at - 0.1 * by_features, classifier) - loss,
        ],
        "shapes": [list(weight.shape) for weight in built.weights],
    }


def of_cdan():
    """Its value by NumPy, and its gradient by the features, which a linear classifier of the outer products sees."""
    scores = softmax(ONE[:6, ::-1].astype(np.float64), axis=1).astype(np.float32)
    kernel = RANDOM.normal(size=(9, 1)).astype(np.float32)

    def by_backend(rows, entropy=True):
        answers = {
            name: Answers(tensor(scores[part]), None, rows[part])
            for name, part in (("train", slice(0, 3)), ("target", slice(3, 6)))
        }

        def classifier(parts, training):
            outer = keras.ops.einsum("bd,bc->bdc", *parts)
            return keras.ops.matmul(keras.ops.reshape(outer, (-1, 9)), kernel)

        return Cdan(weight=3.0, entropy=entropy).loss(answers, classifier, tensor(np.float32(0.2)))

    def by_hand(rows, entropy=True):
        logits = (rows[:, :, None] * scores[:, None]).reshape(6, 9).astype(np.float64) @ kernel[:, 0]
        losses = np.log1p(np.exp(np.where(np.arange(6) < 3, -logits, logits)))
        weights = of_sureness(scores) if entropy else np.ones(6)
        return float(
            np.mean([np.average(losses[:3], weights=weights[:3]), np.average(losses[3:], weights=weights[3:])])
        )

    scale = 3 * (2 / (1 + np.exp(-2.0)) - 1)
    at = ONE[:6]
    built, wide = Cdan(hidden=5).layers(4, 3), Cdan(hidden=5).layers(1280, 10)
    inputs = [np.ones((2, 1280), np.float32), np.full((2, 10), 0.1, np.float32)]
    return {
        "value": [number(by_backend(tensor(at))), by_hand(at)],
        "without entropy": [number(by_backend(tensor(at), entropy=False)), by_hand(at, entropy=False)],
        "gradient": apart(gradient(by_backend, at), -scale * by_difference(by_hand, at, step=1e-4)),
        "shapes": [list(weight.shape) for weight in built.weights],
        "wide": [list(weight.shape) for weight in wide.trainable_weights],
        "wide, fixed": [list(weight.shape) for weight in wide.non_trainable_weights],
        "wide answers": list(wide(inputs).shape),
    }


class Counts(keras.callbacks.Callback):
    """How many steps the objective has counted, and its layers' weights, at each epoch's end."""

    def __init__(self):
        super().__init__()
        self.counted = []

    def on_epoch_end(self, epoch, logs=None):
        self.counted.append(int(keras.ops.convert_to_numpy(self.model.own_weights[-1])))


def gone_on_with_layers(folder):
    """How far training that was ended and went on differs from an unbroken one, and what its objective counted."""
    counts = Counts()
    built, results = trained(Dann(), epochs=3, callbacks=[counts])
    return {
        "difference": gone_on(folder, Dann()),
        "counted": counts.counted,
        "weights": len(built.model.weights),
        "of the network": len(small(None, None, (16, 16, 3)).weights) + 2,
        "parameters": results[0].trainable_parameters == built.model.count_params(),
    }


def of_training(objective, weights):
    """Of training that goes on from weights that were trained on the source."""
    built, results = trained(objective, epochs=5, lr=1e-3, weights=weights)
    (_, here), (logits, away) = outputs(built, DIGITS.validation), outputs(built, DIGITS.test)
    return {
        "mmd": number(mmd(tensor(here), tensor(away), (0.25, 0.5, 1.0, 2.0, 4.0))),
        "mcc": number(confusion(tensor(logits), 2.5)),
        "accuracy": accuracy(built),
        "history": results[0].history,
        "objective": results[0].objective,
    }


def outputs(built, part):
    """Logits and features, of pictures that did not train."""
    layer = built.model.layers[-1]
    kernel, bias = layer.get_weights()
    features = keras.Model(built.model.input, layer.input).predict(part.examples, verbose=0)
    return features @ kernel + bias, features


def main():
    weights = trained(None)[0].model.get_weights()
    # On the other backends training is shown by the objective with the most parts: compiling takes minutes under JAX.
    objectives = {"Dann": Dann(), "Dann, unreversed": Dann(weight=1e-9)}
    if keras.backend.backend() == "tensorflow":
        objectives |= {
            "plain": None,
            "Mmd": Mmd(),
            "Mcc": Mcc(),
            "Cdan": Cdan(),
        }
    facts = {
        "backend": keras.backend.backend(),
        "mmd": of_mmd(),
        "mcc": of_mcc(),
        "dann": of_dann(),
        "cdan": of_cdan(),
        "gone on": gone_on_with_layers(Path(sys.argv[1]) / "steps"),
        "trained": {name: of_training(objective, weights) for name, objective in objectives.items()},
    }
    print(json.dumps(facts))


main()
