"""Which defaults are good on data that nobody tuned them for: ways to train, on the same splits, sets, sizes and seeds.

    python benchmarks/defaults.py ../shared/data/{clothing,bean_leaves,apple_leaves,apples} --peers ../shared/peers

The split is that of the peers' programs (a fifth of train is validation), so that their figures stand beside. A line of
JSON for each way, set, size and seed goes to --out; what is there already is not run again. --table prints the means.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kt import Classifier, Cosine, LinearProbe, Phase, Recipe, Views
from kt.data import Folder
from kt.freeze import frozen, last_blocks
from kt.heads.classification.measure import evaluate
from kt.network.model import build, predict
from kt.training import seed_everything, train

DEPTHS = [
    *("block_1", "block_2", "block_3", "block_4", "block_5", "block_6_expand_relu", "block_6", "block_7", "block_8"),
    *("block_9", "block_10", "block_11", "block_12", "block_13_expand_relu", "block_13", "block_14", "block_15"),
    *("block_16_expand_relu", "block_16_project_BN", "top"),
]
FEW = ["block_6_expand_relu", "block_13_expand_relu", "block_16_expand_relu", "top"]
turns = keras.Sequential([keras.layers.RandomFlip("horizontal", seed=1), keras.layers.RandomRotation(0.05, seed=2)])


def blocks(lr=1e-4, epochs=5, count=4, **more):
    return Phase("fine_tune", trainable=last_blocks(count), epochs=epochs, lr=lr, **more)


def calm_head(block, count):
    """A hundredth of the rate for the head: Adam moves the weight of each of thousands of features by as much."""
    return 0.01 if block == count else 1.0


def averaged(lr):
    """Adam whose weights become their own running average after every 20 steps (Polyak and Juditsky, 1992)."""
    return keras.optimizers.Adam(lr, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=20)


class TowardsStart(keras.optimizers.Adam):
    """Adam on the loss plus `strength` / 2 times the squared distance from the phase's start: L2-SP, Li et al. 2018."""

    def __init__(self, learning_rate, *, strength):
        super().__init__(learning_rate)
        self.strength = strength

    def build(self, variables):
        with tf.init_scope():  # Keras builds it while it traces the first step
            self.starts = [variable.numpy() for variable in variables]
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        start = self.starts[self._get_variable_index(variable)]
        super().update_step(gradient + self.strength * (variable - start), variable, learning_rate)


def l2_sp(lr):
    return TowardsStart(lr, strength=0.1)


HEAD = Phase("train_head", trainable=frozen, epochs=10, lr=1e-3)
WAYS = {
    "head": ([HEAD], {}),
    "head, blocks 1e-4": ([HEAD, blocks()], {}),
    "head, blocks 1e-4, 4 views": ([HEAD, blocks()], {"augment": Views(turns, views=4)}),
    "probe top": ([LinearProbe()], {}),
    "probe top, blocks 1e-4": ([LinearProbe(), blocks()], {}),
    "probe 4 depths": ([LinearProbe(features=FEW)], {}),
    "probe depths": ([LinearProbe(features=DEPTHS)], {}),
    "probe all": ([LinearProbe(features="all")], {}),
    "probe all, blocks 1e-4": ([LinearProbe(features="all"), blocks()], {}),
    "probe all, blocks 1e-4, calm head": ([LinearProbe(features="all"), blocks(layer_rates=calm_head)], {}),
    "probe all, 8 blocks 3e-5, calm head": (
        [LinearProbe(features="all"), blocks(3e-5, 5, 8, layer_rates=calm_head)],
        {},
    ),
    "probe all, 4 views": ([LinearProbe(features="all")], {"augment": Views(turns, views=4)}),
    "head, blocks 1e-4, averaged": ([HEAD, blocks(optimizer=averaged)], {}),
    "head, blocks 1e-4, L2-SP": ([HEAD, blocks(optimizer=l2_sp)], {}),
    "probe top, blocks 1e-4, averaged": ([LinearProbe(), blocks(optimizer=averaged)], {}),
    "probe top, blocks 1e-4, L2-SP": ([LinearProbe(), blocks(optimizer=l2_sp)], {}),
    "probe all, blocks 1e-4, averaged": ([LinearProbe(features="all"), blocks(optimizer=averaged)], {}),
    "probe all, blocks 1e-4, L2-SP": ([LinearProbe(features="all"), blocks(optimizer=l2_sp)], {}),
    "probe depths, 4 views": ([LinearProbe(features=DEPTHS)], {"augment": Views(turns, views=4)}),
    "probe depths, blocks 1e-5": ([LinearProbe(features=DEPTHS), blocks(1e-5, schedule=Cosine())], {}),
    "probe depths, blocks 3e-5": ([LinearProbe(features=DEPTHS), blocks(3e-5)], {}),
    "probe depths, blocks 1e-4": ([LinearProbe(features=DEPTHS), blocks()], {}),
    "probe depths, blocks 1e-4, smoothing": ([LinearProbe(features=DEPTHS), blocks()], {"smoothing": 0.1}),
    "probe depths, blocks 3e-4": ([LinearProbe(features=DEPTHS), blocks(3e-4)], {}),
    "probe depths, 8 blocks 1e-4": ([LinearProbe(features=DEPTHS), blocks(count=8)], {}),
}


def recipe_of(way, splits, seed):
    phases, more = WAYS[way]
    counts = np.bincount(splits.train.labels)
    return Recipe(
        data=lambda: splits,
        backbone=keras.applications.MobileNetV2,
        head=Classifier(dropout=0.2, label_smoothing=more.get("smoothing", 0.0)),
        phases=phases,
        augment=more.get("augment"),
        class_weight="balanced" if counts.max() >= 2 * counts.min() else None,
        seed=seed,
        export=[],
    )


def one(way, root, seed):
    """Balanced accuracy on test of what validation chose, and of where each phase ended."""
    keras.backend.clear_session()
    started, busy = time.perf_counter(), time.process_time()
    seed_everything(seed)
    splits = Folder(str(root), image_size=(224, 224), batch_size=32)()
    recipe = recipe_of(way, splits, seed)
    built = build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    results, best = train(built, recipe, splits)
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    test = evaluate(predict(built.model, splits.test.examples), splits.test.labels, splits.classes, resamples=0)
    return {
        "balanced_accuracy": round(test["balanced_accuracy"], 4),
        "log_loss": round(test["log_loss"], 4),
        "kept": best.phase,
        "val": {result.name: [round(value, 4) for value in result.history["val_loss"]] for result in results},
        "features": results[0].probe and results[0].probe["features"],
        "seconds": round(seconds, 1),
        "cpu": round(cpu, 1),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--peers", type=Path, default=Path("../shared/peers"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 300, 0], help="pictures of train; 0 for all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--out", type=Path, default=Path("runs/defaults.jsonl"))
    parser.add_argument("--table", action="store_true", help="print what is there, run nothing")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    if not options.table:
        sys.path.insert(0, str(options.peers))
        from common import stage

        there = {(row["way"], row["set"], row["size"], row["seed"]) for row in rows}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        for size in options.sizes:
            for seed in options.seeds:
                for data in options.data:
                    missing = [way for way in options.only if (way, data.name, size, seed) not in there]
                    root = stage(data, seed, size or None)[0] if missing else None
                    for way in missing:
                        row = {"way": way, "set": data.name, "size": size, "seed": seed, **one(way, root, seed)}
                        rows.append(row)
                        with options.out.open("a") as file:
                            file.write(json.dumps(row) + "\n")
    table(rows, options)


def table(rows, options):
    sets = [data.name for data in options.data]
    for size in options.sizes:
        print(f"\n{size or 'all'} pictures\n\n| way | {' | '.join(sets)} | mean | CPU, s |")
        print("| --- |" + " --- |" * (len(sets) + 2))
        for way in options.only:
            found = [
                [row for row in rows if (row["way"], row["set"], row["size"]) == (way, name, size)] for name in sets
            ]
            if any(found):
                means = [np.mean([row["balanced_accuracy"] for row in some]) if some else np.nan for some in found]
                cpu = np.mean([row["cpu"] for some in found for row in some])
                print(f"| {way} | {' | '.join(f'{mean:.3f}' for mean in means)} | {np.mean(means):.3f} | {cpu:.0f} |")


if __name__ == "__main__":
    main()
