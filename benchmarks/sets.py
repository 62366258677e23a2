"""Two ways to make conformal sets on the same scores: by the score of each class, and by the sum of the better ones.

    python benchmarks/calibration.py ../shared/data/{apples,apple_leaves,clothing,bean_leaves} --scores scores
    python benchmarks/sets.py scores --json sets.json

*by score* is kt's rule: a class is in the set from a certain score on (Sadinle et al., 2019). *APS*, adaptive
prediction sets, adds classes from the best on, until their scores sum up to enough (Romano, Sesia and Candes,
Classification with Valid and Adaptive Coverage, 2020); *APS, random* leaves the last one out as often as keeps the
coverage exact. Both have the same promise, for the mean over all pictures. What may differ is how it is spread: over
the classes, and over sure and unsure pictures. The top class is always in the set. Nothing is chosen on the test split.
"""

import argparse
import json
from math import ceil
from pathlib import Path

import numpy as np

LEVELS = (0.8, 0.9)
TESTS = ("plain", "half the light", "blurred", "grey")
WAYS = ("by score", "APS", "APS, random")


def totals(scores, way, random):
    """What each class needs to be in the set, `[N, C]`: the lower, the earlier."""
    if way == "by score":
        return 1 - scores
    order = np.argsort(-scores, axis=1, kind="stable")
    sums = np.cumsum(np.take_along_axis(scores, order, axis=1), axis=1)
    needed = np.empty_like(sums)
    np.put_along_axis(needed, order, sums, axis=1)
    return needed - random.random((len(scores), 1)) * scores if way == "APS, random" else needed


def sets_of(told, scores, *, way, level, seed):
    """Whether each class is in each set, `[N, C]`, by validation; None if that has too few groups."""
    validation, labels, groups = told
    random = np.random.default_rng(seed)
    order = random.permutation(len(groups))
    chosen = order[np.unique(np.asarray(groups)[order], return_index=True)[1]]  # one of each group
    rank = ceil((len(chosen) + 1) * level - 1e-9)
    if rank > len(chosen):
        return None
    needed = totals(validation.astype(np.float64), way, random)[chosen, labels[chosen]]
    inside = totals(scores.astype(np.float64), way, random) <= np.sort(needed)[rank - 1] + 1e-9
    inside[np.arange(len(scores)), scores.argmax(axis=1)] = True
    return inside


def figures(folder):
    """A row for each training, test, level and way."""
    rows = []
    for file in sorted(folder.glob("*.npz")):
        trained, name, size, seed = file.stem.split("-")
        with np.load(file, allow_pickle=False) as kept:
            told = kept["validation"], kept["validation labels"], kept["validation groups"].tolist()
            labels = kept["test labels"]
            for test in TESTS:
                scores = kept[f"test {test}"]
                unsure = scores.max(axis=1) <= np.quantile(scores.max(axis=1), 1 / 3)
                for level in LEVELS:
                    for way in WAYS:
                        inside = sets_of(told, scores, way=way, level=level, seed=int(seed))
                        if inside is None:
                            continue
                        hit = inside[np.arange(len(labels)), labels]
                        by_class = [hit[labels == label].mean() for label in np.unique(labels)]
                        values = {
                            "coverage": hit.mean(),
                            "classes": inside.sum(axis=1).mean(),
                            "single": (inside.sum(axis=1) == 1).mean(),
                            "unsure_coverage": hit[unsure].mean(),
                            "unsure_classes": inside[unsure].sum(axis=1).mean(),
                            "worst_class": min(by_class),
                        }
                        row = {"trained": trained, "set": name, "pictures": int(size), "seed": int(seed), "test": test}
                        rounded = {key: round(float(value), 4) for key, value in values.items()}
                        rows.append({**row, "level": level, "way": way, **rounded})
    return rows


def table(rows):
    """Means over sets and seeds for each way to train, kind of test, level and way."""
    print(
        "| trained by | test | sets for | way | coverage | classes | unsure third: coverage | classes | worst class |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for trained, size in dict.fromkeys((row["trained"], row["pictures"]) for row in rows):
        for tests in (TESTS[:1], TESTS[1:]):
            for level in LEVELS:
                for way in WAYS:
                    own = [
                        row
                        for row in rows
                        if (row["trained"], row["pictures"], row["level"], row["way"]) == (trained, size, level, way)
                        and row["test"] in tests
                    ]
                    if not own:
                        continue
                    covered = [row["coverage"] for row in own]
                    mean = {
                        key: np.mean([row[key] for row in own])
                        for key in own[0]
                        if key not in ("way", "set", "trained", "test")
                    }
                    cells = [f"{trained}, {size}", "plain" if len(tests) == 1 else "changed", str(level), way]
                    cells += [
                        f"{mean['coverage']:.3f} ({min(covered):.2f} to {max(covered):.2f})",
                        f"{mean['classes']:.2f}",
                    ]
                    cells += [
                        f"{mean['unsure_coverage']:.3f}",
                        f"{mean['unsure_classes']:.2f}",
                        f"{mean['worst_class']:.3f}",
                    ]
                    print(f"| {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scores", type=Path, help="the folder that calibration.py kept")
    parser.add_argument("--json", type=Path, help="write all figures here")
    args = parser.parse_args()
    rows = figures(args.scores)
    if args.json:
        args.json.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")
    table(rows)


if __name__ == "__main__":
    main()
