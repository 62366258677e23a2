"""Whether `kt drift` keeps its promise: false alarms on sets without drift, and power on sets with it.

    python benchmarks/drift.py ../shared/data/bean_leaves ../shared/data/clothing

For each set, `kt run` learns from a third of its pictures, without those of its first class. The other two thirds are
the pool, which the exported model sees once for each change. Then sets are drawn from the pool: 250 held-out pictures
and 20 to 200 new ones, which share none. What is counted is how often `compare` alarms at 0.05. Writes
benchmarks/drift.json and prints a table.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from scipy.stats import beta

from kt.drift import OF_SHARES, Observed, Reference, judge
from kt.drift.permuted import COMPARISONS, compare
from kt.drift.unlike import unlike
from kt.export.artifact import open_artifact
from kt.kinds.pictures.images import resize
from kt.linear import one_thread

ALARM, HELD_OUT, SIZES = 0.05, 250, (20, 50, 100, 200)
NULLS, DRAWS, JUDGED = 150, 20, 10
PERMUTATIONS = 199

Change = Callable[[Image.Image], Image.Image]


def blurred(image: Image.Image) -> Image.Image:
    """As out of focus by about a hundredth of the picture's side."""
    return image.filter(ImageFilter.GaussianBlur(max(image.size) / 160))


def darker(image: Image.Image) -> Image.Image:
    """Three quarters of the light."""
    return ImageEnhance.Brightness(image).enhance(0.75)


def dark(image: Image.Image) -> Image.Image:
    """Half of the light."""
    return ImageEnhance.Brightness(image).enhance(0.5)


def other_camera(image: Image.Image) -> Image.Image:
    """Half the resolution, a warm cast, strong JPEG compression."""
    small = image.resize((max(8, image.width // 2), max(8, image.height // 2)), Image.Resampling.BILINEAR)
    cast = np.asarray(small, np.float32) * np.array([1.06, 1.0, 0.92], np.float32)
    return compressed(Image.fromarray(np.clip(cast, 0, 255).astype(np.uint8)), quality=50)


def similar_camera(image: Image.Image) -> Image.Image:
    """The same resolution, a slight cast, usual JPEG compression."""
    cast = np.asarray(image, np.float32) * np.array([1.03, 1.0, 0.97], np.float32)
    return compressed(Image.fromarray(np.clip(cast, 0, 255).astype(np.uint8)), quality=75)


def compressed(image: Image.Image, *, quality: int) -> Image.Image:
    """The picture after JPEG."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


CHANGES: dict[str, Change] = {
    "blur": blurred,
    "light x 0.75": darker,
    "light x 0.5": dark,
    "other camera": other_camera,
    "similar camera": similar_camera,
}


def main() -> None:
    """Measure each set, write the results and print the table."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("sets", type=Path, nargs="+", help="folders with train/CLASS and test/CLASS")
    asked.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    given = asked.parse_args()
    results = []
    for folder in given.sets:
        with tempfile.TemporaryDirectory() as work, one_thread():
            results += list(measured(folder, Path(work)))
        given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print("\n".join(table(results)))


def measured(folder: Path, work: Path) -> Iterator[dict[str, Any]]:
    """A result for each kind of change and each number of new pictures."""
    files = sorted(
        file for file in folder.glob("*/*/*") if file.is_file() and file.parents[1].name in ("train", "test")
    )
    files = [files[place] for place in np.random.default_rng(0).permutation(len(files))]
    classes = sorted({file.parent.name for file in files})
    known = classes[1:]
    learn, pool = files[: len(files) // 3], files[len(files) // 3 :]
    model = trained(work, [file for file in learn if file.parent.name in known])
    labels = np.array([classes.index(file.parent.name) - 1 for file in pool])  # -1: the class that it does not know
    seen = {name: observed(model, pool, change) for name, change in {"none": lambda image: image, **CHANGES}.items()}
    about = {"set": folder.name, "pool": int((labels >= 0).sum()), "features": seen["none"].features.shape[1]}
    for size in SIZES:
        for name in ("none", *CHANGES, "new class, a fifth", "other shares"):
            begun, draws = time.perf_counter(), NULLS if name == "none" else DRAWS
            drawn = [draw(labels, name, size, seed=1000 * size + number) for number in range(draws)]
            new_of = seen.get(name, seen["none"])
            found = [
                alarm(seen["none"], held_out, new_of, new, labels, seed=n) for n, (held_out, new) in enumerate(drawn)
            ]
            result = {**about, "change": name, "size": size, "draws": draws, **summary(found)}
            if name in ("other shares", "other camera") and size >= 50:
                result["seems_shares"] = seems(seen["none"], new_of, labels, drawn[:JUDGED])
            print(f"{folder.name} {name} {size}: {result['alarms']} of {draws}, {time.perf_counter() - begun:.0f} s",
                  file=sys.stderr, flush=True)  # fmt: skip
            yield result


def trained(work: Path, files: list[Path]) -> Any:
    """The SavedModel of a run on these pictures."""
    for file in files:
        place = work / "pictures" / file.parent.name / f"{file.parents[1].name}_{file.name}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(file.resolve())
    subprocess.run([sys.executable, "-c", "from kt.cli import main; main()", "run", "pictures"], cwd=work, check=True)
    return open_artifact(work / "saved_models" / "pictures")


def observed(model: Any, files: list[Path], change: Change) -> Observed:
    """What the model says of changed pictures."""
    size, parts = model.kind.image_size, []
    for start in range(0, len(files), 64):
        pictures = [change(Image.open(file).convert("RGB")) for file in files[start : start + 64]]
        parts.append(model.observed(np.stack([resize(np.asarray(picture), size) for picture in pictures])))
    return Observed.joined(parts)


def draw(labels: np.ndarray, name: str, size: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The places of held-out and of new pictures in the pool."""
    random = np.random.default_rng(seed)
    known, strange = (random.permutation(np.flatnonzero(which)) for which in (labels >= 0, labels < 0))
    held_out, rest = known[:HELD_OUT], known[HELD_OUT:]
    if name == "new class, a fifth":
        return held_out, np.concatenate([rest[: size - size // 5], strange[: size // 5]])
    if name == "other shares":  # twice as many of one class as of all others
        one, others = rest[labels[rest] == labels.max()], rest[labels[rest] != labels.max()]
        many = min(len(one), 2 * size // 3)
        return held_out, np.concatenate([one[:many], others[: many // 2]])
    return held_out, rest[:size]


def alarm(
    seen: Observed, held_out: np.ndarray, new_of: Observed, new: np.ndarray, labels: np.ndarray, *, seed: int
) -> dict[str, Any]:
    """The p values of one draw, and how many of its pictures are called new."""
    sides = [(part.features.astype(float), part.scores.astype(float)) for part in (seen.at(held_out), new_of.at(new))]
    compared = compare(*sides, permutations=PERMUTATIONS, seed=seed)
    far = unlike(Reference.of(seen.at(held_out), labels[held_out]), new_of.at(new)).places
    strange = labels[new] < 0
    return {
        "p": compared.p, "each": compared.each, "auc": compared.auc,
        "called_new": len(far) / len(new), "strange_called_new": float(strange[far].sum() / max(1, strange.sum())),
    }  # fmt: skip


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts of alarms with Clopper and Pearson's 95% interval of their rate, and means."""
    alarms, draws = sum(one["p"] <= ALARM for one in found), len(found)
    low = float(beta.ppf(0.025, alarms, draws - alarms + 1)) if alarms else 0.0
    high = float(beta.ppf(0.975, alarms + 1, draws - alarms)) if alarms < draws else 1.0
    return {
        "alarms": alarms,
        "rate": alarms / draws,
        "interval": [low, high],
        "by_test": {name: float(np.mean([one["each"][name] <= ALARM for one in found])) for name in COMPARISONS},
        "auc": float(np.mean([one["auc"] for one in found])),
        "called_new": float(np.mean([one["called_new"] for one in found])),
        "strange_called_new": float(np.mean([one["strange_called_new"] for one in found])),
    }


def seems(seen: Observed, new_of: Observed, labels: np.ndarray, drawn: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """How often a set seems to have other shares of the classes only, of those that drift."""
    judged = [judge(Reference.of(seen.at(one), labels[one]), new_of.at(new)) for one, new in drawn]
    drifted = [drift.seems == OF_SHARES for drift in judged if drift.seems]
    return float(np.mean(drifted)) if drifted else float("nan")


def table(results: list[dict[str, Any]]) -> Iterator[str]:
    """One line a set and change."""
    yield "| set | change | " + " | ".join(f"{size} new" for size in SIZES) + " | AUC at 100 | called new at 100 |"
    yield "| --- | --- |" + " --- |" * (len(SIZES) + 2)
    for name, change in dict.fromkeys((one["set"], one["change"]) for one in results):
        rows = {one["size"]: one for one in results if (one["set"], one["change"]) == (name, change)}
        rates = [f"{rows[size]['rate']:.2f}" for size in SIZES]
        if change == "none":
            ends = [rows[size]["interval"] for size in SIZES]
            rates = [f"{rate} ({low:.2f} to {high:.2f})" for rate, (low, high) in zip(rates, ends, strict=True)]
        yield f"| {name} | {change} | {' | '.join(rates)} | {rows[100]['auc']:.2f} | {rows[100]['called_new']:.3f} |"


if __name__ == "__main__":
    main()
