"""Whether `kt advise` names a strategy that is within a point of the best of all, each run in full on the same splits.

    python benchmarks/advise.py ../shared/data --work DIR --sets apples apple_leaves digits noise

The folder holds SET/train/CLASS/* and SET/test/CLASS/*; `digits` (scikit-learn's, drawn large) and `noise` (random
pixels, two labels that mean nothing) are made here. Of each set so many pictures are to learn from as `--images` says,
evenly spaced within their classes, and up to 400 to test on (of noise 10,000). `kt advise --write` is asked once for
each set, and sees no test picture; the recipe that it writes is trained as the others are, on the same training and
validation pictures. What each reached is kept in DIR/results.jsonl, so that an interrupted run goes on.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

STRATEGIES = {
    "probe": "probe, top",
    "mid": "probe, block 12",
    "every": "probe, all",
    "top": "probe, then top",
    "all": "probe, then all",
    "scratch": "small network from scratch",
}
TESTED = 400
NOISE_TESTED = 10_000  # to tell a guess from a guess to within a point


# ----------------------------------------------------------------------------------------------------------- pictures


def stage(root, name, *, source, images):
    """DIR/sets/NAME with train/ and test/, made once."""
    folder = root / "sets" / f"{name}-{images}"
    if folder.exists():
        return folder
    beside = folder.with_name(f".{folder.name}")
    if name == "digits":
        _digits(beside, images)
    elif name == "noise":
        _noise(beside, images)
    else:
        for part, limit in (("train", images), ("test", TESTED)):
            for label, files in _spread(source / name / part, limit).items():
                (beside / part / label).mkdir(parents=True, exist_ok=True)
                for file in files:
                    (beside / part / label / file.name).symlink_to(file.resolve())
    return beside.rename(folder)


def _spread(folder, limit):
    found = {path.name: sorted(file for file in path.iterdir() if file.is_file()) for path in sorted(folder.iterdir())}
    share = min(1.0, limit / sum(map(len, found.values())))
    counts = {label: max(1, round(len(files) * share)) for label, files in found.items()}
    return {label: [files[i * len(files) // counts[label]] for i in range(counts[label])]
            for label, files in found.items()}  # fmt: skip


def _digits(folder, images):
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.images))
    for part, chosen in (("train", order[:images]), ("test", order[images : images + TESTED])):
        for index in chosen:
            place = folder / part / str(digits.target[index])
            place.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray((digits.images[index] * 255 / 16).astype(np.uint8))
            picture.resize((64, 64), Image.Resampling.BICUBIC).save(place / f"{index:04d}.png")


def _noise(folder, images):
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for part, count in (("train", images), ("test", NOISE_TESTED)):
        for index in range(count):
            place = folder / part / "ab"[index % 2]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(place / f"{index:04d}.png")


# ---------------------------------------------------------------------------------------------------------- one run


def small(include_top, weights, input_shape):  # noqa: ARG001
    """Four convolutions: what a few hundred pictures can train from nothing, which a MobileNetV2 they can't."""
    import keras

    inputs = x = keras.Input(input_shape)
    for block, width in enumerate((16, 32, 64, 128), start=1):
        x = keras.layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False, name=f"block_{block}_conv")(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"block_{block}_norm")(x)
        x = keras.layers.ReLU(name=f"block_{block}_relu")(x)
    return keras.Model(inputs, x, name="small")


small.preprocessing = "scale -1..1"


def recipe_of(strategy, folder, *, size):
    import keras

    from kt import Classifier, Cosine, LinearProbe, Phase, Recipe
    from kt.data import Folder
    from kt.freeze import everything, everything_with_batch_norm, last_blocks

    scratch = strategy == "scratch"
    tuned = {"epochs": 8, "lr": 1e-4, "schedule": Cosine()}
    phases = {
        "probe": [LinearProbe()],
        "mid": [LinearProbe(features="block_12")],
        "every": [LinearProbe(features="all")],
        "top": [LinearProbe(), Phase("fine_tune", last_blocks(4), **tuned)],
        "all": [LinearProbe(), Phase("fine_tune", everything, **tuned)],
        "scratch": [Phase("all", everything_with_batch_norm, epochs=40, lr=3e-3, schedule=Cosine())],
    }[strategy]
    return Recipe(
        data=Folder(folder, image_size=(size, size), batch_size=32),
        backbone=small if scratch else keras.applications.MobileNetV2,
        head=Classifier(dropout=0.0),
        phases=phases,
        weights="none" if scratch else "imagenet",
        class_weight="balanced",
    )


def train(recipe, splits, *, seed):
    """Train one strategy in this process, and tell its balanced accuracy on test."""
    import keras

    from kt.heads.classification.measure import evaluate
    from kt.network.model import build, predict
    from kt.training import seed_everything
    from kt.training import train as train_all

    started = time.perf_counter()
    keras.utils.clear_session()
    seed_everything(seed)
    recipe = dataclasses.replace(recipe, seed=seed)
    built = build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    _, best = train_all(built, recipe, splits)
    seconds = time.perf_counter() - started
    test = evaluate(predict(built.model, splits.test.examples), splits.test.labels, splits.classes,
                    groups=splits.test.groups)  # fmt: skip
    return {
        "balanced_accuracy": test["balanced_accuracy"],
        "interval": test["intervals"]["balanced_accuracy"],
        "val_loss": best.val_loss,
        "kept": best.phase,
        "seconds": round(seconds, 1),
    }


def train_several(folder, advised, jobs, *, size):
    """Each job `STRATEGY:SEED` in turn, a line of JSON each; the pictures are read once."""
    from kt.base import backend

    backend.start()
    from kt.recipe import load

    recipes = {
        job: load(advised).recipe if job.startswith("advised") else recipe_of(job.partition(":")[0], folder, size=size)
        for job in jobs
    }
    splits = next(iter(recipes.values())).data()
    for job, recipe in recipes.items():
        found = train(recipe, splits, seed=int(job.partition(":")[2]))
        print(json.dumps({"job": job, **found}), flush=True)


# ------------------------------------------------------------------------------------------------------------ all runs


def known(file):
    lines = file.read_text().splitlines() if file.exists() else []
    return {tuple(row["key"]): row for row in map(json.loads, lines)}


def run_set(args, name):
    file = args.work / "results.jsonl"
    folder = stage(args.work, name, source=args.data, images=args.images)
    advised = args.work / "recipes" / f"{folder.name}_{args.size}.py"
    advised = advised.with_stem(advised.stem.replace("-", "_"))
    place = (name, args.images, args.size)
    if not advised.exists():
        started = time.perf_counter()
        found = subprocess.run(
            [sys.executable, "-c", "from kt.cli import main; main()", "advise", str(folder), "--json",
             "--image-size", str(args.size), "--write", str(advised), "--backbones", "MobileNetV2"],
            stdout=subprocess.PIPE, text=True, check=True,
        ).stdout  # fmt: skip
        note(file, (*place, "advice"), {**json.loads(found), "seconds": round(time.perf_counter() - started, 1)})
    jobs = [f"{one}:{seed}" for seed in args.seeds for one in ("advised", *args.strategies)]
    missing = [job for job in jobs if (*place, job) not in known(file)]
    if missing:
        command = [
            sys.executable,
            __file__,
            str(args.data),
            "--size",
            str(args.size),
            "--one",
            str(folder),
            str(advised),
        ]
        with subprocess.Popen([*command, *missing], stdout=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                row = json.loads(line)
                note(file, (*place, row["job"]), row)
        if process.returncode:
            sys.exit(process.returncode)


def note(file, key, row):
    with file.open("a") as results:
        results.write(json.dumps({"key": key, **row}) + "\n")
    print(*key, row.get("balanced_accuracy", row.get("strategy")), f"{row['seconds']} s", flush=True)


def table(args):
    """Markdown: a row a set, a column a strategy (mean over seeds), the advice, and how far it is from the best."""
    rows = known(args.work / "results.jsonl")
    print(f"| set | {' | '.join(STRATEGIES.values())} | advice | advised recipe | from the best |")
    print(f"|{' --- |' * (len(STRATEGIES) + 4)}")
    for name in args.sets:
        means = defaultdict(list)
        for key, row in rows.items():
            if key[:3] == (name, args.images, args.size) and key[3] != "advice":
                means[key[3].partition(":")[0]].append(row["balanced_accuracy"])
        mean = {one: sum(values) / len(values) for one, values in means.items()}
        advice = rows[(name, args.images, args.size, "advice")]
        cells = [f"{mean[one]:.3f}" if one in mean else "not run" for one in STRATEGIES]
        gap = 100 * (mean["advised"] - max(mean.values()))
        words = f"{advice['quadrant']}: {advice['strategy']}, {advice['features']}"
        print(f"| {name} | {' | '.join(cells)} | {words} | {mean['advised']:.3f} | {gap:+.1f} points |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="the folder of sets")
    parser.add_argument("--work", type=Path, default=Path("runs/advise"))
    parser.add_argument("--sets", nargs="+", default=["apples", "apple_leaves", "digits", "noise"])
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=STRATEGIES)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--one", nargs="+", metavar=("FOLDER RECIPE", "JOB"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        folder, advised, *jobs = args.one
        train_several(Path(folder), Path(advised), jobs, size=args.size)
        return
    args.work.mkdir(parents=True, exist_ok=True)
    for name in args.sets:
        run_set(args, name)
    table(args)


if __name__ == "__main__":
    main()
