"""Which validator best chooses a way to adapt: kt's methods and validators on pairs of domains with target labels.

    python benchmarks/adaptation.py ../shared/data --out benchmarks/adaptation.json
    python benchmarks/adaptation.py ../shared/data --out benchmarks/adaptation.json --table

`kt.strategy.adapt` does the work, so this is what `kt adapt` does. Features: the pooled output of MobileNetV2, frozen,
at 128 pixels (digits: 64). Each pair's result goes to --out as soon as it is there, and is not computed again. The
target is split in train, whose labels nobody sees, and test (2/5). --table prints what each validator loses against the
best method, and how often it ends below no adaptation.
"""

import argparse
import io
import json
import tempfile
from hashlib import sha256
from pathlib import Path

import keras
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from kt import Classifier, LinearProbe, Recipe
from kt.data import Domains, Split, Splits
from kt.strategy.adapt import adapt, candidates

SIZE = 128


def photos(root, name, per_class):
    """Pictures, labels, classes and groups of a set, train and test together, equally many of each class and part."""
    classes = sorted(path.name for path in (root / name / "train").iterdir())
    found = []
    for part in ("train", "test"):
        for label, kind in enumerate(classes):
            files = sorted((root / name / part / kind).iterdir())
            for place in np.random.default_rng(1).permutation(len(files))[: per_class // 2]:
                picture = Image.open(files[place]).convert("RGB").resize((SIZE, SIZE), Image.BILINEAR)
                found.append((np.asarray(picture), label, files[place].name.split("__")[0]))
    pixels, labels, groups = zip(*found, strict=True)
    return np.stack(pixels), np.array(labels), list(groups), classes


def digits(scanner):
    import sys

    sys.path.insert(0, str(Path(__file__).parents[1] / "recipes"))
    from digits import Digits

    parts = Digits(scanner)().parts().values()
    pixels = np.concatenate([part.examples for part in parts])[:1797]
    labels = np.concatenate([part.labels for part in parts])[:1797]
    return pixels, labels, [str(place) for place in range(len(labels))], list("0123456789")


def drawn_apples():
    from kt.samples import Apples

    splits = Apples(image_size=(SIZE, SIZE))()
    parts = splits.parts().values()
    groups = [group for part in parts for group in part.groups]
    return (
        np.concatenate([part.examples for part in parts]),
        np.concatenate([part.labels for part in parts]),
        groups,
        list(splits.classes),
    )


def night(pixels):
    """Dark, bluish, blurred and noisy."""
    changed = []
    for place, one in enumerate(pixels):
        soft = np.asarray(Image.fromarray(one).filter(ImageFilter.GaussianBlur(1.2)), float)
        changed.append(soft * [0.35, 0.4, 0.55] + np.random.default_rng(place).normal(0, 12, one.shape))
    return np.clip(np.stack(changed), 0, 255).astype(np.uint8)


def warm(pixels):
    """A warm light."""
    return np.clip(pixels * [1.25, 1.0, 0.6] + [10, 5, 0], 0, 255).astype(np.uint8)


def poor(pixels):
    """A grey camera of a quarter of the resolution, with strong compression and little contrast."""
    changed = []
    for one in pixels:
        small = Image.fromarray(one).resize((SIZE // 4, SIZE // 4), Image.BILINEAR).convert("L")
        small.save(stored := io.BytesIO(), "JPEG", quality=20)
        large = Image.open(stored).convert("RGB").resize((SIZE, SIZE), Image.BILINEAR)
        changed.append(np.asarray(ImageEnhance.Contrast(large).enhance(0.6)))
    return np.stack(changed)


def halves(found):
    """Two halves of a set, in whole groups."""
    pixels, labels, groups, classes = found
    names = np.random.default_rng(3).permutation(sorted(set(groups)))
    first = np.isin(groups, names[: len(names) // 2])
    return [(pixels[own], labels[own], list(np.array(groups)[own]), classes) for own in (first, ~first)]


def changed(found, how):
    return how(found[0]), *found[1:]


def healthy(found):
    """Two classes: healthy or not."""
    pixels, labels, groups, classes = found
    place = next(place for place, name in enumerate(classes) if "healthy" in name)
    return pixels, (labels == place).astype(int), groups, ["bad", "healthy"]


def thinned(found):
    """Other class shares: 20 of the first class for each of the others."""
    pixels, labels, groups, classes = found
    random = np.random.default_rng(5)
    kept = np.concatenate(
        [random.permutation(np.flatnonzero(labels == label))[: 10 if label else 200] for label in range(len(classes))]
    )
    return pixels[kept], labels[kept], [groups[place] for place in kept], classes


def pairs(root):
    """Functions that give source and target, by name."""
    beans, clothes = (lambda: halves(photos(root, "bean_leaves", 300))), (lambda: halves(photos(root, "clothing", 100)))
    leaves = lambda: photos(root, "apple_leaves", 200)  # noqa: E731
    apples = lambda: photos(root, "apples", 500)  # noqa: E731
    return {
        "bean leaves, by day and at night": lambda: (beans()[0], changed(beans()[1], night)),
        "bean leaves, in warm light": lambda: (beans()[0], changed(beans()[1], warm)),
        "clothes, good and poor camera": lambda: (clothes()[0], changed(clothes()[1], poor)),
        "clothes, poor and good camera": lambda: (changed(clothes()[0], poor), clothes()[1]),
        "clothes, nothing differs": lambda: tuple(clothes()),
        "apple leaves and bean leaves": lambda: (healthy(leaves()), healthy(photos(root, "bean_leaves", 200))),
        "bean leaves and apple leaves": lambda: (healthy(photos(root, "bean_leaves", 200)), healthy(leaves())),
        "apple leaves, other shares": lambda: (halves(leaves())[0], thinned(halves(leaves())[1])),
        "drawn and real apples": lambda: (drawn_apples(), by_names(apples(), drawn_apples()[3])),
        "real and drawn apples": lambda: (by_names(apples(), drawn_apples()[3]), drawn_apples()),
        "optdigits and MNIST": lambda: (digits("optdigits"), digits("mnist")),
        "MNIST and optdigits": lambda: (digits("mnist"), digits("optdigits")),
    }


def by_names(found, classes):
    pixels, labels, groups, own = found
    return pixels, np.array([classes.index(own[label]) for label in labels]), groups, classes


def splits_of(found, name, *, test):
    """A source of data with a tenth of the groups as validation and a share as test."""
    pixels, labels, groups, classes = found
    names = np.random.default_rng(9).permutation(sorted(set(groups)))
    ends = [int(test * len(names)), int((test + 0.1) * len(names))]
    parts = []
    for chosen in (names[ends[1] :], names[ends[0] : ends[1]], names[: ends[0]] if test else names[:1]):
        own = np.flatnonzero(np.isin(groups, chosen))
        labelled = tuple(f"{name} {place}" for place in own)
        parts.append(Split(pixels[own], labels[own].astype(np.int64), labelled, tuple(groups[place] for place in own)))
    digest = sha256(pixels.tobytes()).hexdigest()
    return lambda: Splits(*parts, tuple(classes), 32, name, digest=digest)


def one(source, target, seeds):
    recipe = Recipe(
        data=Domains(splits_of(source, "source", test=0.0), splits_of(target, "target", test=0.4)),
        backbone=keras.applications.MobileNetV2,
        head=Classifier(dropout=0.0),
        phases=[LinearProbe()],
        class_weight="balanced",
        export=[],
    )
    with tempfile.TemporaryDirectory() as folder:
        return adapt(recipe, candidates(), Path(folder) / "out", seeds=seeds)


def table(results):
    """What each validator loses, in points of balanced accuracy; the row `kt adapt` is its whole rule."""
    for name, result in results.items():
        figures = {row["name"]: row["target_balanced_accuracy"] for row in result["methods"]}
        shown = " ".join(f"{method} {100 * figure:.1f}" for method, figure in figures.items() if figure is not None)
        print(f"{name}: {shown}; differ: {result['difference']}; chosen: {result['chosen']}, {result['verdict']}")
    validators = [row["name"] for row in next(iter(results.values()))["validators"]]
    rows = {validator: [] for validator in (*validators, "kt adapt")}
    for result in results.values():
        figures = {row["name"]: row["target_balanced_accuracy"] for row in result["methods"] if not row["error"]}
        picks = {row["name"]: row["chosen"] or "none" for row in result["validators"]} | {"kt adapt": result["chosen"]}
        for validator, chosen in picks.items():
            rows[validator].append((max(figures.values()) - figures[chosen], figures[chosen] - figures["none"]))
    print("| validator | below the best method | worst pair | against no adaptation | pairs below no adaptation |")
    print("|---|---|---|---|---|")
    for validator, found in sorted(rows.items(), key=lambda row: np.mean([loss for loss, _ in row[1]])):
        loss, gain = np.array(found).T * 100
        print(
            f"| {validator} | {loss.mean():.1f} | {loss.max():.1f} | {gain.mean():+.1f} | "
            f"{(gain < -0.05).sum()} of {len(gain)} |"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", action="append", help="this pair alone; may be repeated")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    results = json.loads(given.out.read_text()) if given.out.exists() else {}
    if not given.table:
        for name, load in pairs(given.root).items():
            if name in results or (given.only and name not in given.only):
                continue
            print(f"== {name}", flush=True)
            found = one(*load(), range(given.seeds))
            kept = (
                "difference",
                "validator",
                "chosen",
                "verdict",
                "methods",
                "validators",
                "target_trained",
                "seconds",
            )
            results[name] = {key: found[key] for key in kept}
            for row in results[name]["methods"]:
                row.pop("phases")
            given.out.write_text(json.dumps(results, indent=1) + "\n")
    table(results)


if __name__ == "__main__":
    main()
