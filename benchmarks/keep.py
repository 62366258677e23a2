"""Whether a later phase should be kept only where validation is sure of it: both phases, on validation and test.

    python benchmarks/keep.py DATA [DATA ...] --peers ../shared/peers --seeds 0 1

Each phase is trained in turn, and the second kept whatever validation says. A line of JSON for each set, way and seed
goes to --out; then a table of the mean balanced test accuracy by what had been kept under each rule.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import keras
import numpy as np
from defaults import recipe_of

from kt.data import Folder
from kt.heads.classification.measure import evaluate
from kt.network.model import build, predict
from kt.training import seed_everything, train

WAYS = ["head, blocks 1e-4", "probe top, blocks 1e-4", "probe all, blocks 1e-4"]


def both(way, root, seed):
    """Test accuracy after each phase; by how much the second lowers the loss on validation, and its standard error."""
    keras.backend.clear_session()
    seed_everything(seed)
    splits = Folder(str(root), image_size=(224, 224), batch_size=32)()
    recipe = recipe_of(way, splits, seed)
    built = build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    losses, test = [], []
    for step in recipe.phases:
        train(built, dataclasses.replace(recipe, phases=[step]), splits)
        scores = predict(built.model, splits.validation.examples)
        losses.append(-np.log(np.maximum(scores[np.arange(len(scores)), splits.validation.labels], 1e-7)))
        answers = predict(built.model, splits.test.examples)
        found = evaluate(answers, splits.test.labels, splits.classes, resamples=0)
        test.append(round(found["balanced_accuracy"], 4))
    gain = losses[0] - losses[1]
    return {"test": test, "gain": float(gain.mean()), "se": float(gain.std(ddof=1) / len(gain) ** 0.5)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--peers", type=Path, default=Path("../shared/peers"))
    parser.add_argument("--size", type=int, default=300, help="pictures of train")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, default=Path("runs/keep.jsonl"))
    options = parser.parse_args()
    sys.path.insert(0, str(options.peers))
    from common import stage

    options.out.parent.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for data in options.data:
            root = stage(data, seed, options.size)[0]
            for way in WAYS:
                row = {"way": way, "set": data.name, "seed": seed, **both(way, root, seed)}
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    table([json.loads(line) for line in options.out.read_text().splitlines()])


def table(rows):
    print("| way | runs | first | second | lower loss | by half a standard error | by one |")
    print("| --- |" + " --- |" * 6)
    for way in WAYS:
        mine = [row for row in rows if row["way"] == way]
        least = [[np.inf] * len(mine), [-np.inf] * len(mine), *([k * row["se"] for row in mine] for k in (0, 0.5, 1))]
        means = [np.mean([row["test"][row["gain"] > limit] for row, limit in zip(mine, limits, strict=True)])
                 for limits in least]  # fmt: skip
        print(f"| {way} | {len(mine)} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")


if __name__ == "__main__":
    main()
