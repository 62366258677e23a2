"""What it costs to keep how far training is: the same training with and without, in turn, in one process.

    python benchmarks/checkpoints.py ../shared/data/apple_leaves --images 640 --out benchmarks/checkpoints.json

A head (5 epochs) and the last blocks (5 epochs) are trained on frozen layers' stored outputs, and once more on pixels
without them. Pictures are read once, and frozen layers computed once, before the clock. Every epoch that is due is
kept, as in `kt run`.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from kt.base import backend

backend.start()

import keras  # noqa: E402

from kt import Classifier, Phase, Recipe, freeze, training  # noqa: E402
from kt.data import Folder  # noqa: E402
from kt.network import model  # noqa: E402
from kt.strategy.compare.training import cut_down  # noqa: E402


def once(recipe, splits, *, steps, cached):
    """Seconds of training alone, and how often it was kept."""
    training.seed_everything(recipe.seed)
    built = model.build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    started = time.perf_counter()
    results, _ = training.train(built, recipe, splits, steps=steps, cached=cached)
    return time.perf_counter() - started, sum(one.epochs_run for one in results)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--stored-only", action="store_true", help="leave out training on pixels, which takes longest")
    parser.add_argument("--out", type=Path, help="a JSON file for the raw results")
    args = parser.parse_args()
    phases = [
        Phase("train_head", freeze.frozen, epochs=5, lr=1e-3),
        Phase("fine_tune", freeze.last_blocks(4), epochs=5, lr=1e-4),
    ]
    splits = Folder(args.data, image_size=(args.size, args.size))()
    splits = cut_down(splits, train=args.images, validation=128, test=1)
    recipe = Recipe(lambda: splits, keras.applications.MobileNetV2, Classifier(), phases)
    raw, ways = [], (True,) if args.stored_only else (True, False)
    for cached in ways:
        once(recipe, splits, steps=None, cached=cached)  # frozen layers and compiled functions are at hand behind it
        for _ in range(args.repeats):
            for kept in (False, True):
                with tempfile.TemporaryDirectory(dir=".") as folder:
                    steps = Path(folder) if kept else None
                    seconds, epochs = once(recipe, splits, steps=steps, cached=cached)
                    size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
                raw.append({"cached": cached, "kept": kept, "seconds": seconds, "epochs": epochs, "bytes": size})
    if args.out:
        args.out.write_text(json.dumps(raw, indent=1) + "\n")
    print(f"{args.data.name}: {args.images} pictures at {args.size} px, seconds, median of {args.repeats}\n")
    print("| | without | with | ratio | on disk at the end |\n| --- | --- | --- | --- | --- |")
    for cached in ways:
        seen = {
            kept: [one["seconds"] for one in raw if (one["cached"], one["kept"]) == (cached, kept)]
            for kept in (False, True)
        }
        without, kept = (statistics.median(seen[kept]) for kept in (False, True))
        size = max(one["bytes"] for one in raw if one["cached"] == cached)
        label = "on stored outputs" if cached else "on pixels"
        print(f"| {label} | {without:.1f} | {kept:.1f} | {kept / without:.3f} | {size / 1e6:.1f} MB |")


if __name__ == "__main__":
    main()
