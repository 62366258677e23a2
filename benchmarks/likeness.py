"""How often a test that looks otherwise than train is seen, how often it is cried for nothing, and what to do then.

    python benchmarks/likeness.py ../shared/data --out benchmarks/likeness.json
    python benchmarks/likeness.py ../shared/data --out benchmarks/likeness.json --table

Each draw takes 160 or 240 pictures of a set as train and validation and 60 or 120 others, of other groups, as test.
`kt.learnability.likeness` compares them: as they are, and with the test pictures changed. A linear probe on the same
features (MobileNetV2, frozen, 128 pixels) answers the test at several multiples of its temperature, which was fitted on
cross-validated answers: the log loss says what being less sure costs, and what it pays where the pictures differ.
"""

import argparse
import io
import json
from pathlib import Path

import keras
import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from kt import Classifier, LinearProbe, Recipe, linear
from kt.data import Folder
from kt.heads.classification.calibrate import at_temperature, fitted_temperature
from kt.kinds.pictures.kind import Pictures
from kt.learnability.features import Known
from kt.learnability.likeness import likeness
from kt.network.model import build, predict

SIZE, MOST = 128, 640
SETS = ("apple_leaves", "bean_leaves", "clothing")
SIZES = ((160, 60), (240, 120))
FACTORS = (1.0, 1.25, 1.5, 2.0, 3.0)


def again(picture, quality):
    """Stored once more as JPEG."""
    picture.save(stored := io.BytesIO(), "JPEG", quality=quality)
    return Image.open(stored).convert("RGB")


CHANGES = {
    "as they are": lambda picture: picture,
    "stored as JPEG, quality 50": lambda picture: again(picture, 50),
    "four fifths of the light": lambda picture: ImageEnhance.Brightness(picture).enhance(0.8),
    "half the light": lambda picture: ImageEnhance.Brightness(picture).enhance(0.5),
    "six tenths of the contrast": lambda picture: ImageEnhance.Contrast(picture).enhance(0.6),
    "a third of the resolution": lambda picture: picture.resize((SIZE // 3, SIZE // 3)).resize((SIZE, SIZE)),
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(SIZE / 100)),
    "grey": lambda picture: picture.convert("L").convert("RGB"),
}


def pictures(root):
    """Pictures and labels of a set, train and test together, as evenly over the classes as they are there."""
    classes = sorted(path.name for path in (root / "train").iterdir() if path.is_dir())
    found = []
    for label, name in enumerate(classes):
        files = sorted(file for part in ("train", "test") for file in (root / part / name).iterdir())
        order = np.random.default_rng(1).permutation(len(files))[: MOST // len(classes)]
        found += [(Image.open(files[place]).convert("RGB").resize((SIZE, SIZE)), label) for place in order]
    return [picture for picture, _ in found], np.array([label for _, label in found])


def features_of(root):
    """Frozen features of the pictures after each change, `[changes, N, F]`, and labels."""
    own, labels = pictures(root)
    recipe = Recipe(
        data=Folder(root), backbone=keras.applications.MobileNetV2, head=Classifier(), phases=[LinearProbe()]
    )
    built = build(recipe, kind=Pictures((SIZE, SIZE)), num_classes=int(labels.max()) + 1)
    network = keras.Model(built.model.inputs, built.features)
    pixels = (np.stack([np.asarray(change(picture)) for picture in own]) for change in CHANGES.values())
    return np.stack([predict(network, each).mean(axis=(1, 2)) for each in pixels]), labels


def draw(features, labels, sizes, seed):
    """One draw: whether each change is seen, and the log loss of a probe at several multiples of its temperature."""
    order, (learned, tested) = np.random.default_rng(seed).permutation(len(labels)), sizes
    own, new = order[:learned], order[learned : learned + tested]
    alone = np.arange(len(labels)).astype(str)
    known = Known(features[0][own], labels[own], alone[own])
    classes = int(labels.max()) + 1
    probe = linear.fit(known.features, known.labels, classes=classes, seed=seed)
    honest = linear.cross_validated(known.features, known.labels, classes=classes, folds=5, seed=seed)
    temperature = fitted_temperature(honest, known.labels, alone[own].tolist())
    rows = []
    for place, change in enumerate(CHANGES):
        test = Known(features[place][new], labels[new], alone[new])
        found = likeness(known, test, alone[new].tolist(), seed=seed)
        scores = probe.scores(test.features)
        loss = {
            str(factor): float(
                -np.log(at_temperature(scores, factor * temperature)[np.arange(len(new)), labels[new]]).mean()
            )
            for factor in FACTORS
        }
        rows.append({"change": change, "verdict": found.verdict, "p": found.p, "auc": found.auc, "log_loss": loss})
    return rows


def table(rows):
    """For each change, how often it was seen, the AUC, and the log loss by multiple of the temperature."""
    print("| test pictures | train, test | seen | AUC |", " | ".join(f"{factor:g} T" for factor in FACTORS), "|")
    print("|---|---|---|---|" + "---|" * len(FACTORS))
    for change in CHANGES:
        for sizes in SIZES:
            own = [row for row in rows if row["change"] == change and row["sizes"] == list(sizes)]
            seen = sum(row["verdict"] == "differ" for row in own)
            auc = np.mean([row["auc"] for row in own])
            losses = [np.mean([row["log_loss"][str(factor)] for row in own]) for factor in FACTORS]
            figures = " | ".join(f"{loss:.3f}" for loss in losses)
            print(f"| {change} | {sizes[0]}, {sizes[1]} | {seen} of {len(own)} | {auc:.2f} | {figures} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    rows = json.loads(given.out.read_text()) if given.out.exists() else []
    for name in () if given.table else SETS:
        if any(row["set"] == name for row in rows):
            continue
        features, labels = features_of(given.root / name)
        for sizes in SIZES:
            for seed in range(given.draws):
                rows += [
                    {"set": name, "sizes": list(sizes), "seed": seed, **row}
                    for row in draw(features, labels, sizes, seed)
                ]
        print(name, flush=True)
        given.out.write_text(json.dumps(rows, indent=1) + "\n")
    table(rows)


if __name__ == "__main__":
    main()
