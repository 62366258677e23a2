"""One rate for all, rates by depth and gradual unfreezing, on the same pictures; prints the table in README.md.

    python benchmarks/rates.py DATA [--pictures 300] [--seeds 0 1 2] [--size 160] [--only NAME ...]

Every way begins with the same head (10 epochs at 1e-3) and has 6 epochs of fine-tuning with a peak rate of 1e-4. The
weights are those with the lowest validation loss; test is looked at once, at the end.
"""

import argparse
import dataclasses
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from kt.base import backend

backend.start()

import keras  # noqa: E402
import numpy as np  # noqa: E402

from kt import Classifier, LayerwiseDecay, Phase, Recipe  # noqa: E402
from kt.data import Folder  # noqa: E402
from kt.data.layout import read_layout  # noqa: E402
from kt.freeze import everything, frozen, gradual_unfreezing, last_blocks  # noqa: E402
from kt.heads.classification.measure import evaluate  # noqa: E402
from kt.network.model import build, predict  # noqa: E402
from kt.training import seed_everything, train  # noqa: E402

EPOCHS, LR = 6, 1e-4
WAYS = {
    "head alone": [],
    "last 4 blocks, one rate": [Phase("fine_tune", last_blocks(4), EPOCHS, LR)],
    "last 4 blocks, LayerwiseDecay(0.8)": [
        Phase("fine_tune", last_blocks(4), EPOCHS, LR, layer_rates=LayerwiseDecay(0.8))
    ],
    "gradual_unfreezing((1, 2, 4))": gradual_unfreezing((1, 2, 4), epochs=EPOCHS // 3, lr=LR),
    "everything, one rate": [Phase("fine_tune", everything, EPOCHS, LR)],
    "everything, LayerwiseDecay(0.8)": [Phase("fine_tune", everything, EPOCHS, LR, layer_rates=LayerwiseDecay(0.8))],
}


def some(data, folder, pictures):
    """A copy with so many training pictures, the same share of each class; test as it is."""
    places = defaultdict(lambda: defaultdict(list))
    for placed in read_layout(data).pictures:
        places[placed.split or ""][placed.label].append(placed.file)
    for split, found in places.items():
        total = sum(map(len, found.values()))
        for label, files in found.items():
            chosen = np.random.default_rng(0).permutation(len(files))
            if split == "train":
                chosen = chosen[: round(pictures * len(files) / total)]
            (folder / split / label).mkdir(parents=True)
            for index in chosen:
                shutil.copy(files[index], folder / split / label)
    return folder


def head_of(splits, seed):
    """A model whose head is trained, with the best that was found: what all ways begin with."""
    phases = [Phase("train_head", frozen, epochs=10, lr=1e-3)]
    recipe = Recipe(lambda: splits, keras.applications.MobileNetV2, Classifier(dropout=0.2), phases, seed=seed)
    seed_everything(seed)
    built = build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    _, best = train(built, recipe, splits)
    return recipe, built, best


def run(phases, splits, recipe, built, head):
    """One way from the trained head on, whose weights stay where nothing has a lower validation loss."""
    built.model.set_weights(head.weights)
    best, started = head, time.perf_counter()
    if phases:
        _, best = train(built, dataclasses.replace(recipe, phases=phases), splits)
        if head.val_loss <= best.val_loss:
            best = head
    seconds = time.perf_counter() - started
    built.model.set_weights(best.weights)
    test = evaluate(predict(built.model, splits.test.examples), splits.test.labels, splits.classes)
    return {"test": test["balanced_accuracy"], "loss": best.val_loss, "kept": best.phase, "seconds": seconds}


def spread(values, digits):
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Folder(some(args.data, Path(folder), args.pictures), image_size=(args.size, args.size))
        splits = dataclasses.replace(source(), origin=args.data.name)
    print(splits.origin, {part: len(split) for part, split in splits.parts().items()}, file=sys.stderr)
    done = {name: [] for name in args.only}
    for seed in args.seeds:
        begun = head_of(splits, seed)
        for name in args.only:
            done[name].append(run(WAYS[name], splits, *begun))
            print(f"seed {seed}, {name}: {done[name][-1]}", file=sys.stderr, flush=True)
    print("| way | balanced test accuracy | validation loss | kept phase | seconds behind the head |")
    print("| --- | --- | --- | --- | --- |")
    for name, runs in done.items():
        cells = [
            f"`{name}`" if name.startswith("gradual") else name,
            spread([one["test"] for one in runs], 3),
            spread([one["loss"] for one in runs], 3),
            ", ".join(one["kept"] for one in runs),
            spread([one["seconds"] for one in runs], 0),
        ]
        print("| " + " | ".join(cells) + " |")


main()
