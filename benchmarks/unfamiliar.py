"""Which score tells best that a picture is unlike anything a model learned from: AUROC and false alarms, near and far.

    python benchmarks/unfamiliar.py ../shared/data/{apples,apple_leaves,clothing,bean_leaves}

Each set in turn is what is known: 100 or 300 of its training pictures, of all classes but one where it has three or
more. The class left out is *near*. Pictures of the other sets, apples drawn by kt, and noise are *far*. Familiar are
the set's test pictures of known classes. Features are those of the frozen backbone: at its top, at the depths that
`LinearProbe(features="all")` takes, and before its last four blocks, averaged over positions. Writes
benchmarks/unfamiliar.json and prints tables.
"""

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

from kt import Classifier, LinearProbe, Phase, Recipe, freeze, linear
from kt.backbones import EfficientNetLite0
from kt.data.groups import Place, find_groups
from kt.familiar.limit import limit_of
from kt.familiar.scores import Nearest, Projection, RelativeMahalanobis, VirtualLogit, least_confidence
from kt.freeze import NOTHING
from kt.frozen.cut import find_cut
from kt.frozen.encoder import Encoder
from kt.kinds.pictures.images import read_rgb, resize
from kt.kinds.pictures.kind import Pictures
from kt.linear import one_thread
from kt.network.model import build
from kt.samples import Apples

SIDE, TRAIN, TEST, FAR = 160, 600, 300, 150
SIZES, SEEDS = (100, 300), (0, 1, 2)
CHOSEN = "kNN, k = 1, 128 directions"
KEPT = 0.95
"""The share of familiar pictures that are accepted where false positives are counted."""

Score = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    """Measure, write the results and print the tables."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("sets", type=Path, nargs="+", help="folders with train/CLASS and test/CLASS")
    asked.add_argument("--backbone", choices=["mobilenet_v2", "efficientnet_lite0"], default="mobilenet_v2")
    asked.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    given = asked.parse_args()
    sets = {folder.name: pictures_of(folder) for folder in given.sets}
    strange = {"drawn apples": drawn(), "noise": noise()}
    results: list[dict[str, Any]] = []
    with one_thread():
        for place in ("top", "all depths", "before the last 4 blocks"):
            encode = encoder(given.backbone, place)
            parts = [part for each in sets.values() for part in each[:2]] + list(strange.values())
            rows = encode([part["examples"] for part in parts])
            for part, features in zip(parts, rows, strict=True):
                part["features"] = features
            for name in sets:
                results += [{"features": place, **row} for row in measured(name, sets, strange)]
    kept = json.loads(given.out.read_text()) if given.out.is_file() else {}
    kept[given.backbone] = by_case(results)
    given.out.write_text(json.dumps(kept, separators=(",", ":")).replace('"kNN', '\n"kNN') + "\n", encoding="utf-8")
    print("\n".join(tables(results)))


def by_case(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of each features, known set, size, score and unfamiliar pictures: a list with one for each seed."""
    found: dict[str, Any] = {}
    for row in results:
        case = found
        for key in ("features", "known", "size", "score", "against"):
            case = case.setdefault(str(row[key]), {})
        for name, value in row.items():
            if name not in ("features", "known", "size", "score", "against", "seed"):
                case.setdefault(name, []).append(value)
    return found


def pictures_of(folder: Path) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Training and test pictures with labels and groups, and the classes."""
    classes = sorted(path.name for path in (folder / "train").iterdir() if path.is_dir())
    return (*(part(folder / name, classes, most) for name, most in (("train", TRAIN), ("test", TEST))), classes)


def part(folder: Path, classes: list[str], most: int) -> dict[str, Any]:
    """Up to `most` pictures, drawn at random from all."""
    files = sorted(file for label in classes for file in (folder / label).iterdir() if file.is_file())
    files = [files[place] for place in np.random.default_rng(0).permutation(len(files))[:most]]
    groups = find_groups([Place(file.relative_to(folder), file.relative_to(folder).parent.parts) for file in files])
    return {
        "examples": np.stack([resize(read_rgb(file), (SIDE, SIDE)) for file in files]),
        "labels": np.array([classes.index(file.parent.name) for file in files]),
        "groups": np.array(groups.names),
    }


def drawn() -> dict[str, Any]:
    """Test apples that kt draws."""
    return {"examples": Apples(image_size=(SIDE, SIDE), batch_size=32)().test.examples[:FAR]}


def noise() -> dict[str, Any]:
    """A third each of single pixels, of coarse blots, and of one colour."""
    random = np.random.default_rng(0)
    fine = random.integers(0, 256, (FAR // 3, SIDE, SIDE, 3), np.uint8)
    blots = [resize(random.integers(0, 256, (8, 8, 3), np.uint8), (SIDE, SIDE)) for _ in range(FAR // 3)]
    plain = np.broadcast_to(random.integers(0, 256, (FAR // 3, 1, 1, 3), np.uint8), fine.shape)
    return {"examples": np.concatenate([fine, blots, plain])}


def encoder(backbone: str, place: str) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    """A function that gives the features of pictures, in parts."""
    made = {"mobilenet_v2": keras.applications.MobileNetV2, "efficientnet_lite0": EfficientNetLite0}[backbone]
    phases = [
        LinearProbe(features="all") if place == "all depths" else Phase("train_head", freeze.frozen, epochs=1, lr=1e-3)
    ]
    recipe = Recipe(lambda: None, made, Classifier(), phases)
    built = build(recipe, kind=Pictures((SIDE, SIDE)), num_classes=2)
    later = freeze.last_blocks(4) if place.startswith("before") else None
    cut = find_cut(built, freeze.moving(later, built.backbone) if later else NOTHING)
    encoding = Encoder(built)

    def encode(parts: list[np.ndarray]) -> list[np.ndarray]:
        rows = encoding.activations(parts, cut)
        return [averaged(np.asarray(row[np.arange(len(row))]), cut.tensors) for row in rows]

    return encode


def averaged(rows: np.ndarray, tensors: tuple[Any, ...]) -> np.ndarray:
    """Maps averaged over their positions."""
    found, start = [], 0
    for tensor in tensors:
        size = int(np.prod(tensor.shape[1:]))
        found.append(rows[:, start : start + size].reshape(len(rows), -1, tensor.shape[-1]).mean(axis=1))
        start += size
    return np.concatenate(found, axis=1)


def measured(name: str, sets: dict[str, Any], strange: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A result for each size, seed, score and kind of unfamiliar pictures."""
    train, test, classes = sets[name]
    others = {other: each[1]["features"][:FAR] for other, each in sets.items() if other != name}
    others |= {what: each["features"] for what, each in strange.items()}
    for size in SIZES:
        for seed in SEEDS:
            random = np.random.default_rng(seed)
            left_out = int(random.integers(len(classes))) if len(classes) > 2 else -1
            places = random.permutation(np.flatnonzero(train["labels"] != left_out))[:size]
            features, labels = train["features"][places], train["labels"][places]
            familiar, groups = (test[key][test["labels"] != left_out] for key in ("features", "groups"))
            unfamiliar = {f"far: {what}": rows for what, rows in others.items()}
            if left_out >= 0:
                unfamiliar["near"] = test["features"][test["labels"] == left_out]
            for score, give in scores(features, labels).items():
                low = give(familiar)
                yield {
                    "known": name,
                    "size": size,
                    "seed": seed,
                    "score": score,
                    "against": "familiar",
                    **promise(low, groups, {what: give(rows) for what, rows in unfamiliar.items()}, seed=seed),
                }
                for what, rows in unfamiliar.items():
                    if len(rows):
                        yield {"known": name, "size": size, "seed": seed, "score": score, "against": what,
                               **figures(low, give(rows))}  # fmt: skip


def scores(features: np.ndarray, labels: np.ndarray) -> dict[str, Score]:
    """Each score, fitted on known pictures."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        present, numbers = np.unique(labels, return_inverse=True)
        probe = linear.fit(features, numbers, classes=len(present), C=linear.FALLBACK)
    main = Projection.fit(features, most=128)
    found: dict[str, Score] = {"MSP": lambda rows: least_confidence(probe.scores(rows))}
    half = len(main.directions.T) // 2
    found["ViM"] = VirtualLogit.fit(features, probe.weights, probe.bias, dimensions=half)
    for count in (1, 5, 10):
        found[f"kNN, k = {count}"] = Nearest.fit(features, neighbours=count)
    for most in (128, 32):
        found[f"kNN, k = 1, {most} directions"] = Nearest.fit(features, neighbours=1, most=most)
    found["kNN, k = 1, centred, 128"] = behind(main, Nearest.fit(main(features), neighbours=1))
    relative = RelativeMahalanobis.fit(main(features), numbers)
    found["relative Mahalanobis, 128"] = behind(main, relative)
    found["Mahalanobis, 128"] = behind(main, replace(relative, relative=False))
    return found


def behind(space: Projection, score: Score) -> Score:
    """A score of projected features."""
    return lambda rows: score(space(rows))


def figures(familiar: np.ndarray, unfamiliar: np.ndarray) -> dict[str, float]:
    """AUROC, and the share of unfamiliar pictures that pass where 95% of the familiar ones do."""
    truth = np.concatenate([np.zeros(len(familiar)), np.ones(len(unfamiliar))])
    values = np.concatenate([familiar, unfamiliar])
    limit = np.quantile(familiar, KEPT)
    return {
        "auroc": round(float(roc_auc_score(truth, values)), 4),
        "fpr95": round(float(np.mean(unfamiliar <= limit)), 4),
    }


def promise(
    familiar: np.ndarray, groups: np.ndarray, unfamiliar: dict[str, np.ndarray], *, seed: int
) -> dict[str, Any]:  # fmt: skip
    """A limit from the familiar pictures of half of the groups, and how many of the others it calls unfamiliar.

    Where each picture is on its own, the half has 50 pictures at most.
    """
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    first = np.isin(groups, names[: min(50, len(names) // 2)])
    limit = limit_of(familiar[first], groups[first].tolist())
    if limit is None:
        return {"groups": len(np.unique(groups[first])), "promised": None}
    return {
        "groups": limit.independent,
        "promised": round(limit.rate, 4),
        "called": round(float(np.mean(familiar[~first] > limit.value)), 4),
        "found": {what: round(float(np.mean(values > limit.value)), 4) for what, values in unfamiliar.items()},
    }


def tables(results: list[dict[str, Any]]) -> Iterator[str]:
    """Means over sets and seeds, near and far, by features and score; then by set for the best."""
    yield "| features | score | near AUROC | near FPR95 | far AUROC | far FPR95 | far, worst set: AUROC |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for features in dict.fromkeys(row["features"] for row in results):
        for score in dict.fromkeys(row["score"] for row in results):
            rows = [row for row in results if row["features"] == features and row["score"] == score]
            near = [row for row in rows if row["against"] == "near"]
            far = [row for row in rows if row["against"].startswith("far")]
            worst = min(
                float(np.mean([row["auroc"] for row in far if (row["known"], row["against"]) == pair]))
                for pair in {(row["known"], row["against"]) for row in far}
            )
            cells = [f"{np.mean([row[key] for row in part]):.3f}" for part in (near, far) for key in ("auroc", "fpr95")]
            yield f"| {features} | {score} | {' | '.join(cells)} | {worst:.3f} |"
    yield "\n| features | known | promised | called | found: near | found: far | least found: far |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    chosen = [row for row in results if row["score"] == CHOSEN and row["against"] == "familiar"]
    for features, known in dict.fromkeys((row["features"], row["known"]) for row in chosen):
        rows = [row for row in chosen if (row["features"], row["known"]) == (features, known)]
        if any(row["promised"] is None for row in rows):
            yield f"| {features} | {known} | too few groups: {min(row['groups'] for row in rows)} | | | | |"
            continue
        near = [row["found"]["near"] for row in rows if "near" in row["found"]]
        far = {what: np.mean([row["found"][what] for row in rows]) for what in rows[0]["found"] if what != "near"}
        least = min(far, key=far.__getitem__)
        yield (
            f"| {features} | {known} | {np.mean([row['promised'] for row in rows]):.3f} | "
            f"{np.mean([row['called'] for row in rows]):.3f} | {f'{np.mean(near):.2f}' if near else ''} | "
            f"{np.mean([*far.values()]):.3f} | {far[least]:.2f} ({least[5:]}) |"
        )


if __name__ == "__main__":
    main()
