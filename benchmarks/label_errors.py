"""How many wrong labels and foreign pictures kt finds beside cleanlab, and what correcting them gains.

    python benchmarks/label_errors.py ../shared/data --work FOLDER --cleanlab OTHER/bin/python
    python benchmarks/label_errors.py ../shared/data --work FOLDER --table

Labels: 2% or 10% of up to 1,200 training pictures of a set get the label of another class, at random; kt judges all.
cleanlab 2.9 gets the same cross-validated answers, and those of a softmax regression on the features of all depths; it
runs in its own environment, as kt does not depend on it. Foreign pictures: from the other sets, apples drawn by kt, and
noise, each under a random label. Gain: the probe of a new recipe is trained on up to 400 pictures as given (a tenth of
the labels wrong), with what kt proposes, and with the true labels, and answers the test split. Looking: the same on
other draws with a least-squares probe, which costs less, and with a person who looks at what is listed, corrects what
is wrong and leaves the rest. FOLDER keeps each set's features (MobileNetV2, 224 pixels).
"""

import argparse
import json
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, balanced_accuracy_score

from kt import linear
from kt.checkup.answers import cross_validated
from kt.checkup.features import Features, features_of, features_of_splits, probe_network
from kt.checkup.labels import LIKELY, judge_labels, label_errors
from kt.checkup.outliers import LIMIT, distances
from kt.data import Folder
from kt.kinds.pictures.images import resize
from kt.kinds.pictures.kind import Pictures
from kt.linear import one_thread
from kt.linear.space import scale_of
from kt.samples import Apples
from kt.training.probe import shares

SETS = ("apples", "apple_leaves", "clothing", "bean_leaves")
SIDE, RATES, SEEDS, MOST = 224, (0.02, 0.1), (0, 1, 2), 1200
LEARNED, STRANGE = 400, 90
OTHER_SEEDS, LESS_LIKELY = range(3, 9), 0.2
C_OF_SOFTMAX, MOST_OF_SOFTMAX = 0.001, 800

CLEANLAB = """
import sys, numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
given, found = np.load(sys.argv[1]), {}
for number in range(len(given.files) // 2):
    labels, scores = given[f"labels {number}"], given[f"scores {number}"]
    for method in ("self_confidence", "normalized_margin", "confidence_weighted_entropy"):
        found[f"{method} {number}"] = 1 - get_label_quality_scores(labels, scores, method=method)
    for rule in ("prune_by_noise_rate", "confident_learning"):
        found[f"{rule} {number}"] = find_label_issues(labels, scores, filter_by=rule, n_jobs=1)
np.savez(sys.argv[2], **found)
"""


def main() -> None:
    """Measure, write the results and print the tables."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("root", type=Path, help="a folder with the four sets")
    asked.add_argument("--work", type=Path, required=True, help="where features are kept")
    asked.add_argument("--cleanlab", type=Path, help="the Python of an environment with cleanlab")
    asked.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    asked.add_argument("--parts", nargs="+", default=["labels", "foreign", "gain", "looking", "as they are"])
    asked.add_argument("--sets", nargs="+", default=list(SETS))
    asked.add_argument("--table", action="store_true", help="print the tables of results that are there")
    given = asked.parse_args()
    results = json.loads(given.out.read_text()) if given.out.is_file() else {}
    measured = {"labels": of_labels, "as they are": as_they_are, "foreign": of_foreign, "gain": of_gain,
                "looking": of_looking}  # fmt: skip
    for part in () if given.table else given.parts:
        for name in given.sets:
            started = time.perf_counter()
            results.setdefault(part, {})[name] = measured[part](given, name)
            print(f"{part}, {name}: {time.perf_counter() - started:.0f} s", flush=True)
            given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print("\n".join(tables(results)))


# ------------------------------------------------------------------------------------------------------------ features


def features(given: argparse.Namespace, name: str, *, whole: bool = False) -> dict[str, Any]:
    """The features, labels, groups and names of a set's pictures outside of the test split, and of those in it.

    whole: take all of them, not up to `MOST`.
    """
    file = given.work / f"{name}.npz"
    if not file.is_file():
        splits = Folder(given.root / name, image_size=(SIDE, SIDE), validation=0.05)()
        found = features_of_splits(splits)
        arrays = {
            f"{part}_{what}": values
            for part, split in splits.parts().items()
            for what, values in {
                "rows": found[part].all(), "labels": split.labels, "names": np.array(split.names),
                "groups": np.array(split.groups),
            }.items()
        }  # fmt: skip
        depths = found["train"].depths
        np.savez(file, classes=np.array(splits.classes), depths=[each for each, _ in depths],
                 widths=[width for _, width in depths], **arrays)  # fmt: skip
    kept = np.load(file)
    own = {what: np.concatenate([kept[f"{part}_{what}"] for part in ("train", "validation")])
           for what in ("rows", "labels", "names", "groups")}  # fmt: skip
    if not whole:
        drawn = np.sort(np.random.default_rng(0).permutation(len(own["labels"]))[:MOST])
        own = {what: values[drawn] for what, values in own.items()}
    own |= {f"test_{what}": kept[f"test_{what}"] for what in ("rows", "labels")}
    own["depths"] = tuple(zip(kept["depths"].tolist(), kept["widths"].tolist(), strict=True))
    return own | {"classes": kept["classes"].tolist()}


def strange(given: argparse.Namespace) -> dict[str, np.ndarray]:
    """Features of drawn apples and of noise: of single pixels, of coarse blots, and of one colour."""
    file = given.work / "strange.npz"
    if not file.is_file():
        random = np.random.default_rng(0)
        shape = (STRANGE // 3, SIDE, SIDE, 3)
        noise = np.concatenate([
            random.integers(0, 256, shape, np.uint8),
            np.stack([resize(random.integers(0, 256, (8, 8, 3), np.uint8), (SIDE, SIDE)) for _ in range(shape[0])]),
            np.broadcast_to(random.integers(0, 256, (shape[0], 1, 1, 3), np.uint8), shape),
        ])  # fmt: skip
        drawn = np.asarray(Apples(image_size=(SIDE, SIDE), batch_size=32)().test.examples[:STRANGE])
        found = features_of(probe_network(Pictures((SIDE, SIDE))), [drawn, noise])
        np.savez(file, **dict(zip(("drawn apples", "noise"), (each.all() for each in found), strict=True)))
    kept = np.load(file)
    return {what: kept[what] for what in kept.files}


def flipped(labels: np.ndarray, classes: int, rate: float, seed: int) -> np.ndarray:
    """Labels of which a share is that of another class."""
    random = np.random.default_rng([seed, round(1000 * rate)])
    places = random.choice(len(labels), round(rate * len(labels)), replace=False)
    changed = labels.copy()
    changed[places] = (labels[places] + random.integers(1, classes, len(places))) % classes
    return changed


# -------------------------------------------------------------------------------------------------------------- labels


def of_labels(given: argparse.Namespace, name: str) -> list[dict[str, Any]]:
    """Figures of each rate and seed; for apples also with groups that lie within their class, as folders give them."""
    own = features(given, name)
    rows, classes = Features(own["rows"], own["depths"]), len(own["classes"])
    inside = coordinates(own["rows"]) if given.cleanlab else np.zeros(0)
    results: list[dict[str, Any]] = []
    asked: list[tuple[dict[str, Any], str, np.ndarray, np.ndarray, np.ndarray]] = []
    for rate in RATES:
        for seed in SEEDS:
            labels = flipped(own["labels"], classes, rate, seed)
            wrong = labels != own["labels"]
            within = np.array([f"{label}/{group}" for label, group in zip(labels, own["groups"], strict=True)])
            ways = {"": own["groups"]} | ({", groups within classes": within} if name == "apples" else {})
            for way, groups in ways.items():
                started = time.perf_counter()
                judged = judge_labels(rows, labels, groups.tolist(), classes=classes, seed=seed)
                seconds = round(time.perf_counter() - started, 1)
                figures = {**ranked(wrong, 1 - judged.own), **listed(wrong, judged.wrong > LIKELY)}
                entry = {
                    "way": way,
                    "rate": rate,
                    "seed": seed,
                    "seconds": seconds,
                    "share": judged.share,
                    "kt": figures,
                }
                results.append(entry)
                if given.cleanlab:
                    same = cross_validated(rows, labels, groups.tolist(), classes=classes, seed=seed)
                    other = softmax_answers(inside, labels, groups, classes=classes, seed=seed)
                    asked += [(entry, "cleanlab, same answers", labels, same, wrong),
                              (entry, "cleanlab, softmax", labels, other, wrong)]  # fmt: skip
                print(name, rate, seed, way, figures, flush=True)
    if given.cleanlab:
        answered = by_cleanlab(given, [(labels, scores) for _, _, labels, scores, _ in asked])
        for (entry, which, _, _, wrong), found in zip(asked, answered, strict=True):
            entry[which] = {
                method: listed(wrong, values) if values.dtype == bool else ranked(wrong, values)
                for method, values in found.items()
            }
    return results


def coordinates(rows: np.ndarray) -> np.ndarray:
    """Standardised features in their `MOST_OF_SOFTMAX` widest directions."""
    standard = ((rows - rows.mean(axis=0)) / scale_of(rows.astype(np.float64))).astype(np.float32)
    values, vectors = np.linalg.eigh((standard @ standard.T).astype(np.float64))
    return vectors[:, -MOST_OF_SOFTMAX:] * np.sqrt(np.maximum(values[-MOST_OF_SOFTMAX:], 0))


def softmax_answers(rows: np.ndarray, labels: np.ndarray, groups: np.ndarray, *, classes: int, seed: int) -> np.ndarray:
    """Cross-validated answers of a softmax regression on `coordinates`, from the same folds."""
    scores = np.empty((len(labels), classes))
    for learned, held_out in linear.folds_of(labels, groups.tolist(), seed=seed):
        probe = LogisticRegression(C=C_OF_SOFTMAX, tol=3e-3, max_iter=500).fit(rows[learned], labels[learned])
        scores[held_out] = probe.predict_proba(rows[held_out])
    return scores


def by_cleanlab(
    given: argparse.Namespace, cases: list[tuple[np.ndarray, np.ndarray]]
) -> list[dict[str, np.ndarray]]:  # fmt: skip
    """How cleanlab ranks the labels of each case, and which it lists."""
    asked, answered = given.work / "asked.npz", given.work / "answered.npz"
    arrays = {f"labels {number}": labels for number, (labels, _) in enumerate(cases)}
    np.savez(asked, **arrays, **{f"scores {number}": scores for number, (_, scores) in enumerate(cases)})
    subprocess.run([given.cleanlab, "-W", "ignore", "-c", CLEANLAB, asked, answered], check=True)
    found = np.load(answered)
    results: list[dict[str, np.ndarray]] = [{} for _ in cases]
    for key in found.files:
        method, _, number = key.rpartition(" ")
        results[int(number)][method] = found[key]
    return results


def ranked(wrong: np.ndarray, suspicion: np.ndarray) -> dict[str, float]:
    return {"average_precision": round(float(average_precision_score(wrong, suspicion)), 4)}


def listed(wrong: np.ndarray, chosen: np.ndarray) -> dict[str, float]:
    """Precision and recall of what is listed."""
    hits = int((wrong & chosen).sum())
    return {
        "listed": int(chosen.sum()),
        "precision": round(hits / int(chosen.sum()), 4) if chosen.any() else None,
        "recall": round(hits / int(wrong.sum()), 4),
    }


def as_they_are(given: argparse.Namespace, name: str) -> dict[str, Any]:
    """What is found in a set in which nothing was changed, and the labels that are suspected most."""
    own = features(given, name, whole=True)
    rows, classes = Features(own["rows"], own["depths"]), own["classes"]
    judged = judge_labels(rows, own["labels"], own["groups"].tolist(), classes=len(classes))
    found = label_errors(rows, own["labels"], own["groups"].tolist(), own["names"].tolist(), classes=classes)
    far = distances(rows, own["labels"], own["groups"].tolist())
    order = np.argsort(judged.own, kind="stable")
    _, first = np.unique(judged.units[order], return_index=True)
    places = order[np.sort(first)[:10]]
    best = np.argmax(np.where(np.eye(len(classes), dtype=bool)[own["labels"]], -1, judged.answers), axis=1)
    return {
        "pictures": len(judged.own),
        "share": judged.share,
        "label_errors": [finding.words for finding in found],
        "most suspected": [
            f"{own['names'][place]}: {classes[best[place]]}? {judged.wrong[place]:.3f}" for place in places
        ],
        "outliers": [str(own["names"][place]) for place in np.flatnonzero(far.deviations > LIMIT)],
        "farthest": [
            f"{own['names'][place]}: {far.deviations[place]:.2f}"
            for place in np.argsort(-np.nan_to_num(far.deviations))[:6]
        ],
    }


# ------------------------------------------------------------------------------------------------------------- foreign


def of_foreign(given: argparse.Namespace, name: str) -> list[dict[str, Any]]:
    """How many of the foreign pictures are found and how many others are listed, by their share and the seed."""
    own = features(given, name)
    others = {each: features(given, each)["rows"] for each in SETS if each != name} | strange(given)
    results = []
    for share in (0.0, 0.01, 0.03):
        for seed in SEEDS if share else SEEDS[:1]:
            random = np.random.default_rng(seed)
            each = max(1, round(share * len(own["labels"]) / len(others)))
            planted = {what: rows[random.choice(len(rows), min(each, len(rows)), replace=False)]
                       for what, rows in others.items()} if share else {}  # fmt: skip
            kinds = np.array([""] * len(own["labels"]) + [what for what, rows in planted.items() for _ in rows])
            count = int((kinds != "").sum())
            labels = np.concatenate([own["labels"], random.integers(0, len(own["classes"]), count)])
            groups = [*own["groups"].tolist(), *(f"foreign {place}" for place in range(count))]
            rows = Features(np.concatenate([own["rows"], *planted.values()]), own["depths"])
            far = distances(rows, labels, groups).deviations
            known = np.isfinite(far)
            entry: dict[str, Any] = {"share": share, "seed": seed, "planted": count,
                                     "false": int((far[kinds == ""] > LIMIT).sum()),
                                     "pictures": len(own["labels"])}  # fmt: skip
            if share:
                entry |= ranked(kinds[known] != "", far[known])
                entry["found"] = {what: float((far[kinds == what] > LIMIT).mean()) for what in planted}
            results.append(entry)
    return results


# ---------------------------------------------------------------------------------------------------------------- gain


def of_gain(given: argparse.Namespace, name: str) -> list[dict[str, Any]]:
    """Balanced test accuracy of the probe of a new recipe, by what it learned from; a tenth of the labels is wrong."""
    own = features(given, name)
    classes, results = len(own["classes"]), []
    for seed in SEEDS:
        random = np.random.default_rng(seed)
        drawn = np.sort(random.permutation(len(own["labels"]))[:LEARNED])
        rows, truth, groups = own["rows"][drawn], own["labels"][drawn], own["groups"][drawn]
        labels = flipped(truth, classes, 0.1, seed)
        judged = judge_labels(Features(rows, own["depths"]), labels, groups.tolist(), classes=classes, seed=seed)
        found = judged.wrong > LIKELY
        others = np.where(np.eye(classes, dtype=bool)[labels], -1.0, np.nan_to_num(judged.answers))
        relabelled = np.where(found, np.argmax(others, axis=1), labels)
        whole = np.ones(len(labels), bool)
        sizes = np.bincount(truth)
        entry: dict[str, Any] = {"seed": seed, **listed(labels != truth, found)}
        for what, taught, kept in (
            ("as given", labels, whole), ("relabelled", relabelled, whole), ("left out", labels, ~found),
            ("true labels", truth, whole),
        ):  # fmt: skip
            probe = linear.fit(
                rows[kept], taught[kept], classes=classes, keep=shares(rows.shape[1]), groups=groups[kept].tolist(),
                balanced=bool(sizes.max() >= 2 * sizes.min()), seed=seed,
            )  # fmt: skip
            answers = probe.scores(own["test_rows"]).argmax(axis=1)
            entry[what] = round(float(balanced_accuracy_score(own["test_labels"], answers)), 4)
        results.append(entry)
        print(name, entry, flush=True)
    return results


def of_looking(given: argparse.Namespace, name: str) -> list[dict[str, Any]]:
    """What is gained on other draws if a person looks at what is listed; a tenth of the labels is wrong."""
    own = features(given, name)
    classes, results = len(own["classes"]), []
    for seed in OTHER_SEEDS:
        drawn = np.sort(np.random.default_rng(seed).permutation(len(own["labels"]))[:LEARNED])
        rows, truth, groups = own["rows"][drawn], own["labels"][drawn], own["groups"][drawn]
        labels = flipped(truth, classes, 0.1, seed)
        judged = judge_labels(Features(rows, own["depths"]), labels, groups.tolist(), classes=classes, seed=seed)
        others = np.where(np.eye(classes, dtype=bool)[labels], -1.0, np.nan_to_num(judged.answers)).argmax(axis=1)
        found, more, wrong = judged.wrong > LIKELY, judged.wrong > LESS_LIKELY, labels != truth
        entry: dict[str, Any] = {"seed": seed, **listed(wrong, found), "looked at": round(float(found.mean()), 4),
                                 "looked at, more": round(float(more.mean()), 4),
                                 "right class": round(float((others == truth)[found & wrong].mean()), 4)}  # fmt: skip
        for what, taught, weights in (
            ("as given", labels, None), ("relabelled", np.where(found, others, labels), None),
            ("left out", labels, np.where(found, 1e-6, 1.0)), ("weighted", labels, np.maximum(0.02, 1 - judged.wrong)),
            ("looked at, corrected", np.where(found, truth, labels), None),
            ("more looked at, corrected", np.where(more, truth, labels), None), ("true labels", truth, None),
        ):  # fmt: skip
            answers = least_squares(rows, taught, own["test_rows"], classes=classes, weights=weights)
            entry[what] = round(float(balanced_accuracy_score(own["test_labels"], answers)), 4)
        results.append(entry)
        print(name, entry, flush=True)
    return results


def least_squares(
    rows: np.ndarray, labels: np.ndarray, asked: np.ndarray, *, classes: int, weights: np.ndarray | None
) -> np.ndarray:
    """The classes `[M]` that balanced ridge regression answers; its penalty has the lowest leave-one-out error."""
    mean, scale = rows.mean(axis=0, dtype=np.float64), scale_of(rows.astype(np.float64))
    known, new = (rows - mean) / scale, (asked - mean) / scale
    kernel, other = known @ known.T, new @ known.T
    size = np.trace(kernel) / len(kernel)
    kernel, other = kernel / size + 1, other / size + 1
    counts = np.maximum(1, np.bincount(labels, minlength=classes))
    own = (len(labels) / classes / counts)[labels] * (1.0 if weights is None else weights)
    tried = []
    for penalty in (0.03, 0.1, 0.3, 1.0, 3.0):
        inverse = np.linalg.inv(kernel + penalty * np.diag(1 / own))
        dual = inverse @ np.eye(classes)[labels]
        left_out = dual / np.diag(inverse)[:, None]
        tried.append((float((left_out**2).sum(axis=1) @ own), penalty, dual))
    return (other @ min(tried, key=lambda each: each[:2])[2]).argmax(axis=1)


# -------------------------------------------------------------------------------------------------------------- tables


def tables(results: dict[str, Any]) -> Iterator[str]:
    """Means over the seeds."""
    ways = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
    yield "\n| set | wrong | kt: AP | cleanlab, same answers: AP | cleanlab, softmax: AP | kt: precision, recall |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, rows in results.get("labels", {}).items():
        for way, rate in dict.fromkeys((row["way"], row["rate"]) for row in rows):
            some = [row for row in rows if (row["way"], row["rate"]) == (way, rate)]
            cells = [f"{mean(some, 'kt', 'average_precision'):.3f}"]
            for which in ("cleanlab, same answers", "cleanlab, softmax"):
                if which in some[0]:
                    cells.append(" / ".join(f"{mean(some, which, each, 'average_precision'):.3f}" for each in ways))
                else:
                    cells.append("")
            cells.append(f"{mean(some, 'kt', 'precision'):.2f}, {mean(some, 'kt', 'recall'):.2f}")
            yield f"| {name}{way} | {100 * rate:g}% | {' | '.join(cells)} |"
    rules = ("prune_by_noise_rate", "confident_learning")
    yield "\n| set | wrong | kt | " + " | ".join(f"cleanlab, {rule}" for rule in rules) + " |"
    yield "| --- | --- | --- | --- | --- |"
    for name, rows in results.get("labels", {}).items():
        for way, rate in dict.fromkeys((row["way"], row["rate"]) for row in rows):
            some = [row for row in rows if (row["way"], row["rate"]) == (way, rate)]
            if "cleanlab, same answers" in some[0]:
                places = [("kt",), *(("cleanlab, same answers", rule) for rule in rules)]
                cells = [f"{mean(some, *place, 'precision'):.2f}, {mean(some, *place, 'recall'):.2f}"
                         for place in places]  # fmt: skip
                yield f"| {name}{way} | {100 * rate:g}% | {' | '.join(cells)} |"
    yield "\n| set | foreign | AP | found: all | found: least | others listed |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, rows in results.get("foreign", {}).items():
        for share in dict.fromkeys(row["share"] for row in rows):
            some = [row for row in rows if row["share"] == share]
            false = f"{np.mean([row['false'] for row in some]):.1f} of {some[0]['pictures']:,}"
            if not share:
                yield f"| {name} | none | | | | {false} |"
                continue
            found = {what: np.mean([row["found"][what] for row in some]) for what in some[0]["found"]}
            least = min(found, key=found.__getitem__)
            yield (f"| {name} | {100 * share:g}% | {mean(some, 'average_precision'):.3f} | "
                   f"{np.mean([*found.values()]):.2f} | {found[least]:.2f} ({least}) | {false} |")  # fmt: skip
    taught = ("as given", "relabelled", "left out", "true labels")
    yield f"\n| set | precision, recall | {' | '.join(taught)} |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, rows in results.get("gain", {}).items():
        cells = [f"{mean(rows, what):.3f}" for what in taught]
        yield f"| {name} | {mean(rows, 'precision'):.2f}, {mean(rows, 'recall'):.2f} | {' | '.join(cells)} |"


def mean(rows: list[dict[str, Any]], *path: str) -> float:
    """The mean of a figure over the seeds, where it is known."""
    values = []
    for row in rows:
        value: Any = row
        for key in path:
            value = value[key]
        if value is not None:
            values.append(value)
    return float(np.mean(values)) if values else float("nan")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    with one_thread():
        main()
