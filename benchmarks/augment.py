"""What RandAugment, MixUp and CutMix pay on few pictures, where a head and then the last blocks train.

    python benchmarks/augment.py ../shared/data/{apples,apple_leaves,clothing,bean_leaves} --json augment.json

MobileNetV2 at 96 px, 5 epochs of a head at 3e-3, 10 from block 13 on at 1e-4, at most 40 training pictures a class and
100 in all, 100 of validation. Each way has the settings that kt proposes, and the same pictures, rates and epochs; the
epoch with the lowest validation loss is kept, and nothing was chosen on the test split. The seed moves the draw of the
pictures and the training. Every figure is on the whole test split of its set.
"""

import argparse
import dataclasses
import json
import os
import tempfile
import time
from pathlib import Path

SIZE = 96
A_CLASS, IN_ALL = 40, 100


def ways():
    """Each way of augmenting by name."""
    from kt import CutMix, MixUp, RandAugment, Views

    return {
        "none": None,
        "Views(RandAugment(), 4)": Views(RandAugment(), views=4),
        "RandAugment()": RandAugment(),
        "MixUp()": MixUp(),
        "CutMix()": CutMix(),
    }


def some(part, count, seed, *, classes):
    """So many pictures of a split, as evenly over the classes as they are there."""
    import numpy as np

    random = np.random.default_rng(seed)
    turns = np.empty(len(part))
    for label in range(classes):
        members = random.permutation(np.flatnonzero(part.labels == label))
        turns[members] = np.arange(len(members))
    return part.take(np.sort(np.lexsort((random.permutation(len(part)), turns))[:count]))


def few(splits, seed):
    classes = len(splits.classes)
    return dataclasses.replace(
        splits,
        train=some(splits.train, min(A_CLASS * classes, IN_ALL), seed, classes=classes),
        validation=some(splits.validation, 100, seed, classes=classes),
    )


def one_run(splits, augment, seed):
    """Figures of one training."""
    import keras
    import numpy as np
    from sklearn.metrics import accuracy_score, balanced_accuracy_score

    from kt import Classifier, Phase, Recipe, training
    from kt.base.chance import losses
    from kt.freeze import from_block, frozen
    from kt.network import model

    phases = [
        Phase("train_head", frozen, epochs=5, lr=3e-3),
        Phase("fine_tune", from_block("block_13"), epochs=10, lr=1e-4),
    ]
    backbone = keras.applications.MobileNetV2
    recipe = Recipe(lambda: splits, backbone, Classifier(dropout=0.2), phases, augment=augment, seed=seed)
    training.seed_everything(seed)
    built = model.build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    started = time.perf_counter()
    _, best = training.train(built, recipe, splits)
    seconds = time.perf_counter() - started
    scores = model.predict(built.model, splits.test.examples)
    truth, told = splits.test.labels, scores.argmax(axis=1)
    return {
        "pictures": len(splits.train),
        "kept_phase": best.phase,
        "kept_epoch": best.epoch,
        "validation_loss": best.val_loss,
        "validation_accuracy": best.val_accuracy,
        "test_balanced_accuracy": float(balanced_accuracy_score(truth, told)),
        "test_accuracy": float(accuracy_score(truth, told)),
        "test_loss": float(np.mean(losses(scores, truth))),
        "seconds": seconds,
    }


def spread(values, digits=3):
    return f"{sum(values) / len(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(runs):
    """A row a set and a way: mean and range over the seeds."""
    print("| pictures | augment | validation loss | test: balanced accuracy | test: log loss | s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, way in dict.fromkeys((run["set"], run["augment"]) for run in runs):
        found = [run for run in runs if (run["set"], run["augment"]) == (name, way)]
        figures = [[run[key] for run in found] for key in ("validation_loss", "test_balanced_accuracy", "test_loss")]
        seconds = sum(run["seconds"] for run in found) / len(found)
        print(f"| {name} | `{way}` | {' | '.join(map(spread, figures))} | {seconds:.0f} |")


def differences(runs):
    """Each way against none on the same pictures and seed, over all sets."""
    plain = {(run["set"], run["seed"]): run for run in runs if run["augment"] == "none"}
    print("\n| augment | balanced accuracy, points against none | better in | log loss against none | better in |")
    print("| --- | --- | --- | --- | --- |")
    for way in dict.fromkeys(run["augment"] for run in runs if run["augment"] != "none"):
        pairs = [(run, plain[run["set"], run["seed"]]) for run in runs if run["augment"] == way]
        points = [100 * (one["test_balanced_accuracy"] - other["test_balanced_accuracy"]) for one, other in pairs]
        losses = [one["test_loss"] - other["test_loss"] for one, other in pairs]
        cells = [spread(points, 1), f"{sum(p > 0 for p in points)} of {len(pairs)}"]
        cells += [spread(losses), f"{sum(loss < 0 for loss in losses)} of {len(pairs)}"]
        print(f"| `{way}` | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="write each run's figures here; what is there is not done again")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["KT_HOME"] = home
        from kt.base import backend

        backend.start()
        import keras

        from kt.data import Folder

        runs = json.loads(args.json.read_text(encoding="utf-8")) if args.json and args.json.exists() else []
        done = {(run["set"], run["augment"], run["seed"]) for run in runs}
        read = {folder.name: Folder(folder, image_size=(SIZE, SIZE), batch_size=32)() for folder in args.data}
        for seed in args.seeds:
            for name, splits in read.items():
                for way, augment in ways().items():
                    if (name, way, seed) in done:
                        continue
                    figures = one_run(few(splits, seed), augment, seed)
                    runs.append({"set": name, "augment": way, "seed": seed, **figures})
                    print(json.dumps(runs[-1]), flush=True)
                    if args.json:
                        args.json.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")
                    keras.backend.clear_session()
    table(runs)
    differences(runs)


if __name__ == "__main__":
    main()
