"""What augmentation costs and gains where frozen layers are computed once, and what float16 would do to stored outputs.

    python benchmarks/features.py augmentation ../shared/data/{apples,apple_leaves,clothing,bean_leaves}
    python benchmarks/features.py blocks ../shared/data/{apples,apple_leaves,clothing,bean_leaves}
    python benchmarks/features.py float16 ../shared/data/{apples,apple_leaves,clothing,bean_leaves}

`augmentation`: MobileNetV2 frozen at 160 px, 20 epochs of a head at 10, 30 and 100 training pictures a class
(`--sizes`); balanced accuracy on test, mean over the seeds (of the draw of pictures and of training), and seconds for
one training. The same validation split decides on the epoch that is kept. `blocks`: the same where blocks train too
(10 epochs of a head, 5 from block 13 on), with ordinary augmentation beside. `float16`: a head and then the blocks
from 13 on, 5 + 5 epochs on all pictures, with stored outputs rounded to float16 and as they are.
"""

import argparse
import dataclasses
import os
import tempfile
import time
from pathlib import Path

EPOCHS = 20


def imports():
    """Keras and kt, loaded once the cache's place is set."""
    from kt.base import backend

    backend.start()


def read(folder):
    from kt.data import Folder

    return Folder(folder, image_size=(160, 160), batch_size=32)()


def flips():
    import keras

    return keras.Sequential([keras.layers.RandomFlip("horizontal", seed=1), keras.layers.RandomRotation(0.05, seed=1)])


def ways():
    """Each way of augmenting by name."""
    from kt import FeatureAugmentation, Views

    found = {"none": None}
    found |= {f"Views({views})": Views(flips(), views) for views in (2, 4, EPOCHS)}
    return found | {f"FeatureAugmentation({b})": FeatureAugmentation(b) for b in (0.05, 0.1, 0.2, 0.4)}


def some(splits, count, seed):
    """`count` training pictures of each class, or all that there are."""
    import numpy as np

    random, labels = np.random.default_rng(seed), splits.train.labels
    chosen = np.concatenate(
        [random.permutation(np.flatnonzero(labels == label))[:count] for label in range(len(splits.classes))]
    )
    part = splits.train
    train = dataclasses.replace(
        part,
        examples=part.examples[chosen],
        labels=labels[chosen],
        names=tuple(part.names[i] for i in chosen),
        groups=tuple(part.groups[i] for i in chosen),
        files=None,
    )
    return dataclasses.replace(splits, train=train)


def trained(splits, phases, augment, seed):
    """The model after training, and the seconds that it took."""
    import keras

    from kt import Classifier, Recipe, training
    from kt.network import model

    backbone = keras.applications.MobileNetV2
    recipe = Recipe(lambda: splits, backbone, Classifier(dropout=0.2), phases, augment=augment, seed=seed)
    training.seed_everything(seed)
    built = model.build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    started = time.perf_counter()
    training.train(built, recipe, splits)
    return built, time.perf_counter() - started


def balanced(truth, scores):
    from sklearn.metrics import balanced_accuracy_score

    return float(balanced_accuracy_score(truth, scores.argmax(axis=1)))


def augmentation(folders, seeds, sizes):
    import numpy as np

    from kt import Phase
    from kt.freeze import NOTHING, frozen
    from kt.frozen.cut import encoder, find_cut, tail
    from kt.frozen.encode import BATCH, encoder_for

    phases = [Phase("head_alone", frozen, epochs=EPOCHS, lr=3e-3)]
    for folder in folders:
        splits = read(folder)
        test = None
        print(f"\n{folder.name}, {len(splits.classes)} classes, {len(splits.test)} test pictures\n")
        print("| augment | " + " | ".join(f"{size} a class | s" for size in sizes) + " |")
        print("| --- |" + " --- | --- |" * len(sizes))
        for name, augment in ways().items():
            cells = []
            for size in sizes:
                found, times = [], []
                for seed in seeds:
                    built, seconds = trained(some(splits, size, seed), phases, augment, seed)
                    border = find_cut(built, NOTHING)
                    if test is None:  # the backbone is the same for all
                        pixels = splits.test.examples
                        compute, _ = encoder_for(encoder(built, [border]), pictures=10**6, probe=pixels[:8])
                        starts = range(0, len(pixels), BATCH)
                        test = np.concatenate([compute(pixels[start : start + BATCH])[0] for start in starts])
                    scores = tail(built, border).predict(test, verbose=0)
                    found.append(balanced(splits.test.labels, scores))
                    times.append(seconds)
                cells += [f"{np.mean(found):.3f}", f"{np.mean(times):.1f}"]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def blocks(folders, seeds, sizes):
    import numpy as np

    from kt import Phase, Views
    from kt.freeze import from_block, frozen
    from kt.network import model

    phases = [
        Phase("head_alone", frozen, epochs=10, lr=1e-3),
        Phase("fine_tune", from_block("block_13"), epochs=5, lr=1e-4),
    ]
    for folder in folders:
        splits = read(folder)
        print(f"\n{folder.name}, {len(splits.classes)} classes, {len(splits.test)} test pictures\n")
        print("| augment | " + " | ".join(f"{size} a class | s" for size in sizes) + " |")
        print("| --- |" + " --- | --- |" * len(sizes))
        for name, augment in {"none": None, "Views(4)": Views(flips(), 4), "ordinary": flips()}.items():
            cells = []
            for size in sizes:
                runs = [trained(some(splits, size, seed), phases, augment, seed) for seed in seeds]
                found = [
                    balanced(splits.test.labels, model.predict(one.model, splits.test.examples)) for one, _ in runs
                ]
                cells += [f"{np.mean(found):.3f}", f"{np.mean([seconds for _, seconds in runs]):.1f}"]
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


def float16(folders, seeds, _):
    import numpy as np

    from kt import Phase
    from kt.freeze import from_block, frozen
    from kt.frozen import encoder as engine
    from kt.frozen.store import StoredLayers
    from kt.network import model

    right = engine._open

    def in_float16(border, key, *, backbone):
        """A store of float16 rows, in a folder of its own."""
        made = right(border, key and f"16{key}", backbone=backbone)
        made.__init__(made._folder, StoredLayers(backbone, border.name, border.width, "float16"))
        return made

    phases = [
        Phase("head_alone", frozen, epochs=5, lr=1e-3),
        Phase("fine_tune", from_block("block_13"), epochs=5, lr=1e-4),
    ]
    print("| pictures | stored as | balanced accuracy, seed by seed | largest difference in a score |")
    print("| --- | --- | --- | --- |")
    for folder in folders:
        splits, scores = read(folder), {}
        for kind, opened in (("float32", right), ("float16", in_float16)):
            engine._open = opened
            scores[kind] = [
                model.predict(trained(splits, phases, None, seed)[0].model, splits.test.examples) for seed in seeds
            ]
            figures = ", ".join(f"{balanced(splits.test.labels, one):.4f}" for one in scores[kind])
            pairs = zip(scores[kind], scores["float32"], strict=True)
            difference = max(float(np.abs(one - other).max()) for one, other in pairs)
            print(f"| {folder.name} | {kind} | {figures} | {difference:.4f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["augmentation", "blocks", "float16"])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 30, 100], help="training pictures a class")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["KT_HOME"] = home
        imports()
        {"augmentation": augmentation, "blocks": blocks, "float16": float16}[args.what](
            args.data, args.seeds, args.sizes
        )


if __name__ == "__main__":
    main()
