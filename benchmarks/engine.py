"""kt beside the code that people write today: same pictures, weights, epochs and batch size, each in its own process.

    python benchmarks/engine.py ../shared/data/apple_leaves --images 500 2000
    python benchmarks/engine.py ../shared/data/apple_leaves --images 500 2000 --backbone ResNet50 --size 96

DIR holds train/CLASS/* and test/CLASS/*. Five epochs of the head, then five from a late block on, BatchNorm held, in
every method, without augmentation:

    keras       the transfer-learning guide's code: image_dataset_from_directory, cache, prefetch, fit, unfreeze, fit
    bottleneck  that with the head trained on what `predict` gives for the frozen backbone
    no-cache    kt with every layer computed in every epoch
    kt          kt, nothing kept from before
    kt again    the same once more: outputs of frozen layers are at hand
    floor       decode once, forward once by the fastest engine, forward and backward of what trains, in bare loops

Prints seconds of reading and training, and whole processes with start-up and evaluation. MobileNetV2 has its ImageNet
weights; ResNet50 has random ones (the package index has no others), so its accuracy means nothing.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BLOCKS = {"MobileNetV2": "block_13", "ResNet50": "conv5_block1"}
FIRST = {"MobileNetV2": "block_13_expand", "ResNet50": "conv5_block1_1_conv"}
METHODS = ("keras", "bottleneck", "no-cache", "kt", "kt again", "floor")
EPOCHS, BATCH = 5, 32
HEAD_RATE, BLOCK_RATE = 1e-3, 1e-5

RECIPE = '''"""One row of the benchmark."""

import keras

from kt import Classifier, Phase, Recipe
from kt.data import Folder
from kt.freeze import from_block, frozen

recipe = Recipe(
    data=Folder("{data}", image_size=({size}, {size}), batch_size={batch}),
    backbone=keras.applications.{backbone},
    head=Classifier(dropout=0.2),
    phases=[
        Phase("train_head", trainable=frozen, epochs={epochs}, lr={head_rate}),
        Phase("fine_tune", trainable=from_block("{block}"), epochs={epochs}, lr={block_rate}),
    ],
    weights="{weights}",
    export=[],
)
'''


# ------------------------------------------------------------------------------------------------------------ pictures


def stage(source, folder, images, seed):
    """Links to `images` training pictures, evenly of each class, a fifth of them for validation, and all of test."""
    for part in ("train", "test"):
        classes = sorted(path for path in (source / part).iterdir() if path.is_dir())
        total = sum(len(list(path.iterdir())) for path in classes)
        for path in classes:
            files = sorted(path.iterdir())
            if part == "train":
                random.Random(f"{seed}/{path.name}").shuffle(files)
                files = files[: max(2, round(len(files) * images / total))]
            fifth = max(1, len(files) // 5) if part == "train" else 0
            for index, file in enumerate(files):
                split = part if index >= fifth else "validation"
                (folder / split / path.name).mkdir(parents=True, exist_ok=True)
                (folder / split / path.name / file.name).symlink_to(file.resolve())


# ----------------------------------------------------------------------------------------- the code people write today


def base_of(backbone, size):
    import keras

    made = getattr(keras.applications, backbone)
    if backbone != "MobileNetV2":
        return made(weights=None, include_top=False, input_shape=(size, size, 3))
    from kt.backbones.build import build_backbone

    return build_backbone(made, "imagenet", shape=(size, size, 3)).model


def ordinary(data, backbone, size, *, bottleneck):
    """The guide's code, with the last blocks unfrozen instead of everything and BatchNorm held."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    started = time.perf_counter()
    sets = {
        part: keras.utils.image_dataset_from_directory(
            data / part, image_size=(size, size), batch_size=BATCH, seed=0, shuffle=part == "train", verbose=False
        )
        for part in ("train", "validation", "test")
    }
    classes = len(sets["train"].class_names)
    train, validation = sets["train"].cache().prefetch(10), sets["validation"].cache().prefetch(10)
    base = base_of(backbone, size)
    base.trainable = False
    inputs = keras.Input((size, size, 3))
    features = base(keras.layers.Rescaling(1 / 127.5, offset=-1)(inputs), training=False)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    dropped = keras.layers.Dropout(0.2)
    scores = keras.layers.Dense(classes, activation="softmax")
    model = keras.Model(inputs, scores(dropped(pooled)))

    def fit(what, rate, one, other):
        what.compile(
            optimizer=keras.optimizers.Adam(rate),
            loss=keras.losses.SparseCategoricalCrossentropy(),
            metrics=["accuracy"],
        )
        what.fit(one, validation_data=other, epochs=EPOCHS, verbose=0)

    if bottleneck:
        encoder = keras.Model(inputs, pooled)
        found = {}
        for name, part in (("train", train), ("validation", validation)):
            pairs = [(encoder.predict_on_batch(x), y.numpy()) for x, y in part]
            found[name] = [np.concatenate(one) for one in zip(*pairs, strict=True)]
        rows = keras.Input(pooled.shape[1:])
        head = keras.Model(rows, scores(dropped(rows)))
        head.compile(
            optimizer=keras.optimizers.Adam(HEAD_RATE), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        head.fit(*found["train"], validation_data=found["validation"], batch_size=BATCH, epochs=EPOCHS, verbose=0)
    else:
        fit(model, HEAD_RATE, train, validation)
    head_seconds = time.perf_counter() - started
    head_accuracy = accuracy_of(model, sets["test"])
    started = time.perf_counter()
    base.trainable = True
    first = [layer.name for layer in base.layers].index(FIRST[backbone])
    for index, layer in enumerate(base.layers):
        layer.trainable = index >= first and not isinstance(layer, keras.layers.BatchNormalization)
    fit(model, BLOCK_RATE, train, validation)
    block_seconds = time.perf_counter() - started
    return {
        "head": head_seconds, "both": head_seconds + block_seconds,
        "head_accuracy": head_accuracy, "accuracy": accuracy_of(model, sets["test"]),
    }  # fmt: skip


def accuracy_of(model, test):
    import numpy as np

    right = [np.argmax(model.predict_on_batch(x), axis=1) == y.numpy() for x, y in test]
    return float(np.concatenate(right).mean())


# ----------------------------------------------------------------------------------------------------------------- kt


def by_kt(folder, *, cached):
    """The steps of `kt run` up to the test's figures; reading counts, as it does for the others."""
    from kt.base import backend

    backend.start()
    from kt import training
    from kt.network import model
    from kt.recipe import load

    recipe = load(folder / "row.py").recipe
    training.seed_everything(0)
    started = time.perf_counter()
    splits = recipe.data()
    built = model.build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    reading = time.perf_counter() - started
    (first, second), _ = training.train(built, recipe, splits, cached=cached)
    scores = model.predict(built.model, splits.test.examples)
    return {
        "head": reading + first.seconds, "both": reading + first.seconds + second.seconds, "reading": reading,
        "accuracy": float((scores.argmax(axis=1) == splits.test.labels).mean()),
    }  # fmt: skip


# --------------------------------------------------------------------------------------------------------------- floor


def floor(folder):
    """What can't be avoided, each part in a bare loop, with nothing else in the process."""
    from kt.base import backend

    backend.start()
    import numpy as np
    import tensorflow as tf

    from kt import training
    from kt.freeze import inference_where_frozen, moving
    from kt.frozen.cut import encoder, find_cut, tail
    from kt.frozen.encode import BATCH as CHUNK
    from kt.frozen.encode import encoder_for
    from kt.network import model
    from kt.recipe import load

    recipe = load(folder / "row.py").recipe
    started = time.perf_counter()
    splits = recipe.data()
    seconds = {"decode": time.perf_counter() - started}
    built = model.build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    borders = [find_cut(built, moving(phase.trainable, built.backbone)) for phase in recipe.phases]
    pixels = np.concatenate([splits.train.examples, splits.validation.examples])
    compute, engine = encoder_for(encoder(built, borders), pictures=10**9, probe=pixels[:CHUNK])
    compute(pixels[:CHUNK])
    started = time.perf_counter()
    parts = [compute(pixels[start : start + CHUNK]) for start in range(0, len(pixels), CHUNK)]
    seconds["forward"] = time.perf_counter() - started
    found = [np.concatenate(one) for one in zip(*parts, strict=True)]
    labels = np.eye(len(splits.classes), dtype=np.float32)[splits.train.labels]
    for phase, border, rows in zip(recipe.phases, borders, found, strict=True):
        phase.trainable(built.backbone)
        end = tail(built, border)
        training.compile_for(end, recipe, phase, steps=1, backbone=built.backbone)
        with inference_where_frozen(built.backbone):
            step = tf.function(lambda x, y, end=end: end.train_step((x, y)))
            whole = len(labels) // BATCH * BATCH
            step(tf.constant(rows[:BATCH]), tf.constant(labels[:BATCH]))
            started = time.perf_counter()
            for start in range(0, whole, BATCH):
                step(tf.constant(rows[start : start + BATCH]), tf.constant(labels[start : start + BATCH]))
            seconds[phase.name] = (time.perf_counter() - started) * len(labels) / whole * phase.epochs
    head = seconds["decode"] + seconds["forward"] + seconds["train_head"]
    return {"head": head, "both": head + seconds["fine_tune"], "parts": seconds, "engine": engine}


# ---------------------------------------------------------------------------------------------------------------- table


def one(method, folder, backbone, size):
    if method == "floor":
        return floor(folder)
    if method in ("keras", "bottleneck"):
        return ordinary(folder / "pictures", backbone, size, bottleneck=method == "bottleneck")
    return by_kt(folder, cached=method != "no-cache")


def in_child(method, folder, args):
    """The figures of a method, with wall-clock and processor seconds and peak memory of its process."""
    command = [sys.executable, __file__, str(args.data), "--one", method, "--folder", str(folder)]
    command += ["--backbone", args.backbone, "--size", str(args.size)]
    home = folder / ("home-floor" if method == "floor" else "home")
    environment = {**os.environ, "KT_HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3"}
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as child:
        told = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = status
    if status:
        sys.exit(f"{method} failed; try: {' '.join(command)}")
    wall = time.perf_counter() - started
    figures = json.loads(told.splitlines()[-1])
    return {**figures, "wall": wall, "cpu": used.ru_utime + used.ru_stime, "memory": figures["memory"]}


def table(args, images, rows):
    head, both = rows["keras"]["head"], rows["keras"]["both"]
    print(f"\n{args.data.name}, {images} pictures, {args.size} px, {args.backbone}, {EPOCHS} + {EPOCHS} epochs\n")
    print("| method | head, s | ratio | both phases, s | ratio | whole process, s | CPU, s | memory | test accuracy |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, row in rows.items():
        ratios = head / row["head"], both / row["both"]
        if name == "floor":
            cells = ["", "", "", ""]
        else:
            cells = [
                f"{row['wall']:.1f}",
                f"{row['cpu']:.1f}",
                f"{row['memory'] / 1e9:.1f} GB",
                f"{row['accuracy']:.3f}",
            ]
        times = [f"{row['head']:.1f}", f"{ratios[0]:.1f}x", f"{row['both']:.1f}", f"{ratios[1]:.1f}x"]
        print(f"| {' | '.join([name, *times, *cells])} |")
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in rows["floor"]["parts"].items())
    over = rows["kt"]["both"] / rows["floor"]["both"], rows["kt again"]["both"] / rows["floor"]["both"]
    print(
        f"\nFloor ({rows['floor']['engine']}): {parts}. kt takes {over[0]:.2f} of it, again {over[1]:.2f}.", flush=True
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, nargs="+", default=[500, 2000])
    parser.add_argument("--backbone", choices=BLOCKS, default="MobileNetV2")
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument(
        "--without", nargs="+", choices=["bottleneck", "no-cache"], default=[], help="rows to leave out"
    )
    parser.add_argument("--one", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        import resource

        figures = one(args.one, args.folder, args.backbone, args.size)
        used = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        print(json.dumps({**figures, "memory": used * 1024}))
        return
    for images in args.images:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            stage(args.data, folder / "pictures", images, seed=0)
            recipe = RECIPE.format(
                data=folder / "pictures", size=args.size, batch=BATCH, backbone=args.backbone, epochs=EPOCHS,
                head_rate=HEAD_RATE, block_rate=BLOCK_RATE, block=BLOCKS[args.backbone],
                weights="imagenet" if args.backbone == "MobileNetV2" else "none",
            )  # fmt: skip
            (folder / "row.py").write_text(recipe)
            table(
                args,
                images,
                {method: in_child(method, folder, args) for method in METHODS if method not in args.without},
            )


if __name__ == "__main__":
    main()
