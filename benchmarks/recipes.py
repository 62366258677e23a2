"""Run a recipe with several seeds and print one row of the table in README.md.

    python benchmarks/recipes.py recipes/apples.py [--data DIR] [--seeds 0 1 2] [--keep DIR]

Each seed is a whole `kt run`: figures on the test split, kept phase, int8's size and change, seconds of wall clock.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path


def one_run(recipe, data, seed, keep):
    command = ["kt", "run", recipe, "--json", "--seed", str(seed), "--runs", str(keep / "runs")]
    command += ["--saved-models", str(keep / "saved_models"), *(["--data", data] if data else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if not done.stdout:
        sys.exit(f"seed {seed} ended with exit code {done.returncode}")
    return json.loads(done.stdout)


def spread(values, digits=3):
    mean = sum(values) / len(values)
    return f"{mean:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def row(recipe, data, seeds, runs):
    balanced = [run["test"]["balanced_accuracy"] for run in runs]
    int8 = [artifact for run in runs for artifact in run["artifacts"] if artifact["format"] == "tflite_int8"]
    change = [100 * (artifact["accuracy_change"] or 0) for artifact in int8]
    cells = [
        Path(recipe).name,
        Path(data).name if data else "embedded, rendered",
        f"{len(seeds)}",
        spread(balanced),
        " ".join(run["best"]["phase"] for run in runs),
        f"{max((artifact['bytes'] or 0) for artifact in int8) / 1e6:.2f} MB, {spread(change, 1)}" if int8 else "",
        f"{sum(artifact['released'] for artifact in int8)} of {len(int8)}",
        spread([run["seconds"] for run in runs], 0),
    ]
    return "| " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--data")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--keep", type=Path, help="keep the runs here instead of in a temporary folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keep = args.keep or Path(folder)
        runs = [one_run(args.recipe, args.data, seed, keep) for seed in args.seeds]
    print("| recipe | data | seeds | balanced accuracy | kept phase | int8, points of accuracy | released | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print(row(args.recipe, args.data, args.seeds, runs))


main()
