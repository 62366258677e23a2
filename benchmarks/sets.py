"""Two ways to make conformal sets on the same scores: by the score of each class, and by the sum of the better ones.

    python benchmarks/sets.py ../shared/data/{bean_leaves,clothing,apple_leaves} --json sets.json

*by score* is kt's rule: a class is in the set from a certain score on (Sadinle et al., 2019). *APS*, adaptive
prediction sets, adds classes from the best on, until their scores sum up to enough (Romano, Sesia and Candes,
Classification with Valid and Adaptive Coverage, 2020); *APS, random* leaves the last one out as often as keeps the
coverage exact. Both have the same promise, for the mean over all pictures. What may differ is how it is spread: over
the classes, and over sure and unsure pictures. The top class is always in the set.

The scores are those of kt's default, a linear probe on all depths of MobileNetV2, at 128 px: 100 and 300 training
pictures, a quarter as many for validation, at most 300 of test, as they are and at half the light; seeds 0 to 2, which
move the draw of the pictures. Nothing is chosen on the test split.
"""

import argparse
import json
import os
import tempfile
from math import ceil
from pathlib import Path

import numpy as np
from calibration import CHANGES, MOST_TEST, SIZE, changed, drawn, some

SIZES = (100, 300)
LEVELS = (0.8, 0.9)
TESTS = ("plain", "half the light")
WAYS = ("by score", "APS", "APS, random")


def score(data, seeds, folder):
    """Fit the probes of each set, size and seed, and keep what they say of validation and test.

    The features of a picture are computed once: the smaller draw of a seed is part of the larger one.
    """
    from kt.base import backend

    backend.start()
    import keras

    from kt import Classifier, LinearProbe, Recipe, linear
    from kt.data import Folder
    from kt.network import model
    from kt.training.probe import features, shares_of

    folder.mkdir(parents=True, exist_ok=True)
    for place in data:
        splits = Folder(place, image_size=(SIZE, SIZE), batch_size=32)()
        classes = len(splits.classes)
        recipe = Recipe(lambda: None, keras.applications.MobileNetV2, Classifier(), [LinearProbe(features="all")])
        built = model.build(recipe, kind=splits.kind, num_classes=classes)
        test = some(splits.test, MOST_TEST, 0, classes=classes)
        tests = {name: features(built, changed(test.examples, CHANGES[name])) for name in TESTS}
        for seed in seeds:
            largest = drawn(splits, max(SIZES), seed)
            known = {}
            for part in (largest.train, largest.validation):
                known |= dict(zip(part.names, features(built, part.examples), strict=True))
            for size in SIZES:
                own = drawn(splits, size, seed)
                train, validation = (
                    np.stack([known[name] for name in part.names]) for part in (own.train, own.validation)
                )
                probe = linear.fit(
                    train, own.train.labels, classes=classes, groups=own.train.groups, keep=shares_of(built), seed=seed
                )
                said = {f"test {name}": probe.scores(rows) for name, rows in tests.items()}
                np.savez(
                    folder / f"{place.name}-{size}-{seed}.npz",
                    **said,
                    **{
                        "validation": probe.scores(validation),
                        "validation labels": own.validation.labels,
                        "validation groups": np.array(own.validation.groups),
                        "test labels": test.labels,
                    },
                )
                print(f"{place.name}, {size} pictures, seed {seed}", flush=True)


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
        name, size, seed = file.stem.split("-")
        with np.load(file, allow_pickle=False) as kept:
            told = kept["validation"], kept["validation labels"], kept["validation groups"].tolist()
            labels = kept["test labels"]
            for test in TESTS:
                scores = kept[f"test {test}"]
                for level in LEVELS:
                    for way in WAYS:
                        inside = sets_of(told, scores, way=way, level=level, seed=int(seed))
                        if inside is None:
                            continue
                        values = measured(inside, scores, labels)
                        row = {"set": name, "pictures": int(size), "seed": int(seed), "test": test}
                        rounded = {key: round(float(value), 4) for key, value in values.items()}
                        rows.append({**row, "level": level, "way": way, **rounded})
    return rows


def alike(folder, covered=0.95):
    """Each way at the same coverage of test, set by test itself: how large its sets are, and whom they cover.

    It is no rule, for it needs the labels; it compares the shapes of the sets without the luck of validation.
    """
    print(
        f"\n| pictures | test | at a coverage of {covered} | classes | one class | unsure third: coverage | classes "
        "| worst class |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for size in SIZES:
        for test in TESTS:
            for way in WAYS:
                own = []
                for file in sorted(folder.glob(f"*-{size}-*.npz")):
                    with np.load(file, allow_pickle=False) as kept:
                        scores, labels = kept[f"test {test}"].astype(np.float64), kept["test labels"]
                    needed = totals(scores, way, np.random.default_rng(0))
                    top = scores.argmax(axis=1)
                    of_truth = np.where(top == labels, -1.0, needed[np.arange(len(labels)), labels])
                    inside = needed <= np.quantile(of_truth, covered, method="higher") + 1e-9
                    inside[np.arange(len(labels)), top] = True
                    own.append(measured(inside, scores, labels))
                mean = {key: np.mean([each[key] for each in own]) for key in own[0]}
                cells = [str(size), test, way, f"{mean['classes']:.2f}", f"{mean['single']:.2f}"]
                cells += [
                    f"{mean['unsure_coverage']:.3f}",
                    f"{mean['unsure_classes']:.2f}",
                    f"{mean['worst_class']:.3f}",
                ]
                print(f"| {' | '.join(cells)} |")


def measured(inside, scores, labels):
    """How good sets are: over all pictures, over the third with the lowest top scores, and in the worst class."""
    unsure = scores.max(axis=1) <= np.quantile(scores.max(axis=1), 1 / 3)
    hit = inside[np.arange(len(labels)), labels]
    return {
        "coverage": hit.mean(),
        "classes": inside.sum(axis=1).mean(),
        "single": (inside.sum(axis=1) == 1).mean(),
        "unsure_coverage": hit[unsure].mean(),
        "unsure_classes": inside[unsure].sum(axis=1).mean(),
        "worst_class": min(hit[labels == label].mean() for label in np.unique(labels)),
    }


def table(rows):
    """Means over sets and seeds for each size, test, level and way."""
    print(
        "| pictures | test | sets for | way | coverage | classes | one class | unsure third: coverage | classes "
        "| worst class |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    kinds = dict.fromkeys((row["pictures"], row["test"], row["level"], row["way"]) for row in rows)
    for kind in sorted(kinds, key=lambda kind: (kind[0], TESTS.index(kind[1]), kind[2], WAYS.index(kind[3]))):
        own = [row for row in rows if (row["pictures"], row["test"], row["level"], row["way"]) == kind]

        def mean(name, own=own):
            return np.mean([row[name] for row in own])

        covered = [row["coverage"] for row in own]
        cells = [str(each) for each in kind]
        cells.append(f"{mean('coverage'):.3f} ({min(covered):.2f} to {max(covered):.2f})")
        cells += [f"{mean('classes'):.2f}", f"{mean('single'):.2f}", f"{mean('unsure_coverage'):.3f}"]
        cells += [f"{mean('unsure_classes'):.2f}", f"{mean('worst_class'):.3f}"]
        print(f"| {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, nargs="*", help="none to use the kept scores alone")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--scores", type=Path, default=Path("sets-scores"), help="a folder that keeps scores")
    parser.add_argument("--json", type=Path, help="write all figures here")
    args = parser.parse_args()
    if args.data:
        with tempfile.TemporaryDirectory() as home:
            os.environ["KT_HOME"] = home
            score(args.data, args.seeds, args.scores)
    rows = figures(args.scores)
    if args.json:
        args.json.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n", encoding="utf-8")
    table(rows)
    alike(args.scores)


if __name__ == "__main__":
    main()
