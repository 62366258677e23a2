"""Run `kt compare` on a set where transfer helps or on one where it does not, and print the rows of README.md.

    python benchmarks/compare.py ../shared/data/bean_leaves --pictures 200 --size 96 --epochs 10
    python benchmarks/compare.py digits --source ../shared/data/clothing --epochs 10
    python benchmarks/compare.py sets/mnist --source digits --epochs 10

A folder is compared with MobileNetV2 and ImageNet's weights, on so many of its training pictures and all of its test
pictures; with --source, on all of them, with a small network that learned the source before. `digits` are
scikit-learn's, written as PNG.
"""

import argparse
import json
import random
import subprocess
from pathlib import Path

MOBILENET = '''"""{name} with MobileNetV2."""

import keras

from kt import Classifier, Phase, Recipe
from kt.data import Folder
from kt.freeze import frozen

recipe = Recipe(
    data=Folder({data!r}, image_size=({size}, {size}), batch_size=16, validation=0.25),
    backbone=keras.applications.MobileNetV2,
    head=Classifier(dropout=0.2),
    phases=[Phase("train_head", trainable=frozen, epochs={epochs}, lr=1e-3)],
)
'''

SMALL = '''"""{name} with a small network."""

import keras

from kt import Classifier, Phase, Recipe
from kt.data import Folder
from kt.freeze import frozen
from kt.freeze import from_scratch


def small(include_top, weights, input_shape):
    """Four blocks of two convolutions, 290,000 weights."""
    x = inputs = keras.Input(input_shape)
    for block, filters in enumerate((16, 32, 64, 128), start=1):
        for half, strides in (("a", 1), ("b", 2)):
            x = keras.layers.Conv2D(filters, 3, strides, padding="same", name=f"block_{{block}}_conv_{{half}}")(x)
            x = keras.layers.BatchNormalization(name=f"block_{{block}}_bn_{{half}}")(x)
            x = keras.layers.ReLU(name=f"block_{{block}}_relu_{{half}}")(x)
    network = keras.Model(inputs, x, name="small")
    if weights:
        network.load_weights(weights)
    return network


small.preprocessing = "scale -1..1"

recipe = Recipe(
    data=Folder({data!r}, image_size=({size}, {size}), batch_size=32),
    backbone=small,
    head=Classifier(dropout=0.2),
    phases=[Phase("all", trainable=from_scratch, epochs={epochs}, lr=1e-3)],
    weights={weights!r},
)
'''


def write_recipe(text, path, **values):
    path.write_text(text.format(name=path.stem, **values), encoding="utf-8")
    return path


def some_of(source, folder, pictures):
    """Links to so many training pictures, equally many of each class, and to all of test."""
    classes = sorted(path for path in (source / "train").iterdir() if path.is_dir())
    for part in ("train", "test"):
        for label in classes:
            files = sorted((source / part / label.name).iterdir())
            if part == "train":
                files = random.Random(0).sample(files, pictures // len(classes))
            (folder / part / label.name).mkdir(parents=True, exist_ok=True)
            for file in files:
                (folder / part / label.name / file.name).symlink_to(file.resolve())
    return folder


def digits(folder):
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, each pixel four times as wide and high."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    found = load_digits()
    for index, (image, label) in enumerate(zip(found.images, found.target, strict=True)):
        (folder / str(label)).mkdir(parents=True, exist_ok=True)
        pixels = np.kron(image * 255 / 16, np.ones((4, 4))).astype(np.uint8)
        Image.fromarray(pixels).convert("RGB").save(folder / str(label) / f"{index:04d}.png")
    return folder


def learn(recipe_file, weights):
    """Train the recipe's whole network and write its backbone's weights."""
    from kt.base import backend

    backend.start()
    from kt.base.numbers import figure
    from kt.network.model import build
    from kt.recipe import load
    from kt.training import seed_everything, train

    recipe = load(recipe_file).recipe
    seed_everything(0)
    splits = recipe.data()
    built = build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    _, best = train(built, recipe, splits)
    built.backbone.save_weights(weights)
    print(f"learned {recipe_file.stem}: validation accuracy {figure(best.val_accuracy)}")


def compared(recipe, keep, arguments):
    command = ["kt", "compare", str(recipe), "--json", "--runs", str(keep / "runs"), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def table(results):
    print("| strategy | balanced accuracy | against scratch, points | p | on validation | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in results["strategies"]:
        low, high = row["interval"]
        against = row["against_scratch"]
        cells = [
            row["title"] + (" *" if row["name"] == results["best"] else ""),
            f"{row['balanced_accuracy']:.3f} ({low:.3f} to {high:.3f})",
            *(["", ""] if against is None else told(against)),
            f"{row['validation_balanced_accuracy']:.3f}",
            f"{row['seconds']:.0f}",
        ]
        print("| " + " | ".join(cells) + " |")
    for point in results["curves"]:
        low, high = point["interval"]
        print(
            f"{point['strategy']} with {point['pictures']}: {point['balanced_accuracy']:.3f} ({low:.3f} to {high:.3f})"
        )
    print(json.dumps(results["transfer_gain"]), f"{results['seconds']:.0f} s in all")


def told(against):
    low, high = against["interval"]
    return [
        f"{100 * against['balanced_accuracy']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})",
        f"{against['p_value']:.3f}",
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="a folder with train/ and test/, or the word digits")
    parser.add_argument("--source", help="what a small network learns before: a folder, or the word digits")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--keep", type=Path, default=Path("compared"), help="where pictures, recipes and runs go")
    args, more = parser.parse_known_args()
    keep = args.keep.absolute()
    keep.mkdir(parents=True, exist_ok=True)
    if args.source:
        source, data = (
            str(digits(keep / "digits-png") if name == "digits" else Path(name).absolute())
            for name in (args.source, args.data)
        )
        before = write_recipe(SMALL, keep / "source.py", data=source, epochs=10, weights="none", size=32)
        weights = str(keep / "source.weights.h5")
        learn(before, weights)
        file = keep / f"{Path(data).name.replace('-', '_')}.py"
        recipe = write_recipe(SMALL, file, data=data, epochs=args.epochs, weights=weights, size=32)
    else:
        source = Path(args.data)
        folder = some_of(source, keep / f"{source.name}-{args.pictures}", args.pictures)
        recipe = write_recipe(
            MOBILENET, keep / f"{source.name}.py", data=str(folder), size=args.size, epochs=args.epochs
        )
    table(compared(recipe, keep, more))


if __name__ == "__main__":
    main()
