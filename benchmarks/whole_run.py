"""How long a whole `kt run` takes of what `kt new` writes, with four gated artefacts and without, by stages.

    python benchmarks/whole_run.py ../shared/data/bean_leaves --learn 295 --test 200
    python benchmarks/whole_run.py ../shared/data/bean_leaves --before /path/to/another/checkout

After a run with artefacts, `kt predict --out` labels all the pictures with them. `--recipe FILE` is run in place of
what `kt new` writes, such as benchmarks/two_phases.py, whose phases train on cached activations.

DIR holds train/CLASS/* and test/CLASS/*; so many of each are taken, class by class in turn. Nothing is cached but the
weights, which one run before the clock fetches. `--before` measures another checkout of kt on the same pictures, each
right before this one, and holds the figures of the two against each other. A stage ends with the line that kt prints
then; its seconds are wall time, `CPU` is that of the process and its children.
"""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent

STAGES = (
    ("data are read", r"^data: "),
    ("the network is built", r"^weights: "),
    ("frozen layers", r"^frozen layers: computed"),
    ("training, and the learning curve where it comes before", r"^phase .*; (validation loss|best validation)"),
    ("first artefact", r"^  saved_model: .*released"),
    ("float32", r"_float32\.tflite: .*released"),
    ("float16", r"_float16\.tflite: .*released"),
    ("int8", r"_int8\.tflite: .*(released)"),
)
FIGURES = ("accuracy", "balanced_accuracy", "roc_auc", "log_loss", "calibration_error")


def taken(source, target, counts):
    """So many pictures of each split, class by class in turn, as files of their own."""
    for split, count in counts.items():
        folders = sorted(path for path in (source / split).iterdir() if path.is_dir())
        files = {folder.name: sorted(file for file in folder.rglob("*") if file.is_file()) for folder in folders}
        for name, there in files.items():
            random.Random(name).shuffle(there)
            (target / split / name).mkdir(parents=True)
        chosen = 0
        while chosen < count and any(files.values()):
            for name, there in files.items():
                if there and chosen < count:
                    file = there.pop()
                    shutil.copyfile(file, target / split / name / file.name)
                    chosen += 1


def kt(checkout, folder, *arguments):
    """The lines that kt prints, each with its second; the seconds of wall and of CPU."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "KT_HOME": str(folder / "home")}
    command = [sys.executable, "-c", "from kt.cli import main; main()", *arguments]
    started, before = time.perf_counter(), os.times()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = [(time.perf_counter() - started, line.rstrip("\n")) for line in process.stdout]
    if process.wait():
        raise SystemExit("\n".join(line for _, line in lines))
    wall, after = time.perf_counter() - started, os.times()
    return lines, wall, after.children_user + after.children_system - before.children_user - before.children_system


def once(checkout, data, *, exports, root, recipe=None):
    """One whole run in a folder of its own: seconds of each stage, of all, of CPU, and the report."""
    labelling = {}
    with tempfile.TemporaryDirectory(dir=root) as name:
        folder = Path(name)
        kt(checkout, folder, "new", "mine.py", "--data", str(data))
        if recipe is not None:
            shutil.copyfile(recipe, folder / "mine.py")
        options = ("--data", str(data), *(() if exports else ("--set", "export=[]")))
        lines, wall, cpu = kt(checkout, folder, "run", "mine.py", *options)
        told = json.loads(next(folder.glob("runs/mine/*/report.json")).read_text())
        if exports:
            out = folder / "scores.csv"
            asked = ("predict", "saved_models/mine", str(data), "--out", str(out))
            _, labelling["predict --out"], labelling["its CPU"] = kt(checkout, folder, *asked)
            told["scores.csv"] = out.read_text(encoding="utf-8").splitlines()[1:]
    stages, last = {}, 0.0
    for stage, pattern in STAGES:
        second = next((second for second, line in lines if re.search(pattern, line)), None)
        if second is not None:
            stages[stage] = second - last
            last = second
    return {"stages": {**stages, "report": wall - last}, "wall": wall, "cpu": cpu, "told": told, **labelling}


def differences(one, other):
    """Which figures and verdicts of two reports are not the same; figures to five digits, the rest exactly."""
    pairs = [(key, one["test"][key], other["test"][key]) for key in FIGURES]
    found = [f"{key} {ours} -> {theirs}" for key, ours, theirs in pairs if abs(ours - theirs) > 1e-5]
    for key in ("learning_curve", "cross_validation"):
        found += [key] if one[key] != other[key] else []
    for before, after in zip(one["artifacts"], other["artifacts"], strict=True):
        for key in ("released", "agreement", "accuracy"):
            if before[key] != after[key]:
                found.append(f"{before['name']}: {key} {before[key]} -> {after[key]}")
    labels = [[line.split(",")[1] for line in report["scores.csv"]] for report in (one, other)]
    found += ["labels of kt predict --out"] if labels[0] != labels[1] else []
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--learn", type=int, default=295)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--before", type=Path, help="another checkout of kt")
    parser.add_argument("--recipe", type=Path, help="a recipe's file, in place of what kt new writes")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a JSON file for the raw results")
    args = parser.parse_args()
    checkouts = {**({"before": args.before.resolve()} if args.before else {}), "now": HERE}
    raw = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        taken(args.data, root / "data", {"train": args.learn, "test": args.test})
        once(
            HERE, root / "data", exports=False, root=root, recipe=args.recipe
        )  # weights and files are at hand from here on
        for _ in range(args.repeats):
            for exports in (True, False):
                for which, checkout in checkouts.items():
                    found = once(checkout, root / "data", exports=exports, root=root, recipe=args.recipe)
                    raw.append({"which": which, "exports": exports, "load": os.getloadavg()[0], **found})
    if args.out:
        kept = [{**one, "told": {key: one["told"]["test"][key] for key in FIGURES}} for one in raw]
        args.out.write_text(json.dumps(kept, indent=1))
    rows = [("whole run", lambda one: one["wall"]), ("CPU", lambda one: one["cpu"])]
    rows += [(stage, lambda one, stage=stage: one["stages"].get(stage)) for stage in [*dict(STAGES), "report"]]
    rows += [(label, lambda one, label=label: one.get(label)) for label in ("predict --out", "its CPU")]
    columns = [(which, exports) for exports in (True, False) for which in checkouts]
    print(f"{args.data.name}: {args.learn} to learn from, {args.test} to test; seconds, median of {args.repeats}\n")
    heads = [f"{which}, {'four artefacts' if exports else 'no export'}" for which, exports in columns]
    print(f"| | {' | '.join(heads)} |")
    print(f"| --- |{' --- |' * len(columns)}")
    for label, value in rows:
        cells = []
        for which, exports in columns:
            seen = [value(one) for one in raw if (one["which"], one["exports"]) == (which, exports)]
            seen = [one for one in seen if one is not None]
            cells.append(f"{statistics.median(seen):.1f}" if seen else "-")
        print(f"| {label} | {' | '.join(cells)} |")
    if args.before:
        by = {
            which: next(one["told"] for one in raw if one["which"] == which and one["exports"]) for which in checkouts
        }
        print(f"\nfigures: {'; '.join(differences(by['before'], by['now'])) or 'the same, to the last digit'}")


if __name__ == "__main__":
    main()
