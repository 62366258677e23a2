"""How near a TFLite file's distances are to the trained model's, what it calls unfamiliar, and what that costs.

    python benchmarks/unfamiliar_phone.py ../shared/data/{apples,apple_leaves,clothing,bean_leaves}

Each set in turn is what is known: 300 of its training pictures, and 100 more to set the limit, at 160 px. Familiar are
up to 150 of its test pictures; unfamiliar 60 each of the other sets, of apples drawn by kt, and of noise. Features are
those of a frozen MobileNetV2, and those before its last four blocks. All three files are made as a release makes them,
with unfamiliarity and without; each is asked for all pictures. Writes benchmarks/unfamiliar_phone.json and prints
tables.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.metrics import roc_auc_score
from unfamiliar import SIDE, drawn, noise, pictures_of

from kt import Classifier, Phase, Recipe, freeze
from kt.export.artifact import open_artifact
from kt.export.distances import judge_distances
from kt.export.formats.format import Details
from kt.export.formats.tflite import variants
from kt.familiar import Carried, Familiarity
from kt.frozen.unmoved import Unmoved
from kt.kinds.pictures.kind import Pictures
from kt.litert import interpreter
from kt.network.model import build

KNOWN, HELD_OUT, FAMILIAR, EACH = 300, 100, 150, 60
CALIBRATION, COMPARED = 100, 100
PLACES = {"top": freeze.frozen, "before the last 4 blocks": freeze.last_blocks(4)}


def main() -> None:
    """Measure, write the results and print the tables."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("sets", type=Path, nargs="+", help="folders with train/CLASS and test/CLASS")
    asked.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    given = asked.parse_args()
    sets = {folder.name: pictures_of(folder) for folder in given.sets}
    strange = [part["examples"][:EACH] for part in (drawn(), noise())]
    results: list[dict[str, Any]] = []
    for place in PLACES:
        for name in sets:
            results += measured(name, place, sets, strange)
            given.out.write_text(json.dumps(results, indent=0) + "\n", encoding="utf-8")
    print("\n".join(table(results)))


def measured(name: str, place: str, sets: dict[str, Any], strange: list[np.ndarray]) -> list[dict[str, Any]]:
    """A row for each file."""
    train, test, classes = sets[name]
    keras.utils.set_random_seed(0)
    phases = [
        Phase("train_head", freeze.frozen, epochs=1, lr=1e-3),
        Phase("fine_tune", PLACES[place], epochs=1, lr=1e-3),
    ]
    recipe = Recipe(lambda: None, keras.applications.MobileNetV2, Classifier(), phases)
    built = build(recipe, kind=Pictures((SIDE, SIDE)), num_classes=len(classes))
    unmoved = Unmoved(built, built.model, recipe)
    known, held_out = train["examples"][:KNOWN], train["examples"][KNOWN : KNOWN + HELD_OUT]
    familiar = test["examples"][:FAMILIAR]
    others = [part["examples"][:EACH] for other, (_, part, _) in sets.items() if other != name]
    far = np.concatenate([*others, *strange])
    rows = unmoved([known, held_out, familiar, far])
    groups = train["groups"].tolist()
    familiarity = Familiarity.fit(
        rows[0], rows[1], groups[KNOWN : KNOWN + HELD_OUT], known_groups=groups[:KNOWN]
    )  # fmt: skip
    trained, away = familiarity(rows[2]), familiarity(rows[3])
    limit = familiarity.limit
    assert limit is not None and unmoved.place is not None
    results = []
    with tempfile.TemporaryDirectory() as place_:
        folder = Path(place_)
        np.save(folder / "representative.npy", known)
        built.model.save(folder / "model.keras")
        model = keras.saving.load_model(folder / "model.keras", compile=False)
        carried = Carried(familiarity, unmoved.place)
        for kind in variants():
            made = {}
            for label, what in (("without", None), ("with", carried)):
                details = Details(
                    label, tuple(classes), representative=folder / "representative.npy", calibration=CALIBRATION,
                    familiar=what,
                )  # fmt: skip
                made[label] = kind.make(model, folder, details=details)
            opened = {label: open_artifact(file) for label, file in made.items()}
            near, strange_ones = opened["with"].answers(familiar), opened["with"].answers(far)
            verdict = judge_distances(
                near.unfamiliarity[:COMPARED], trained[:COMPARED], exact=kind.exact, promised=limit.rate
            )
            difference = near.unfamiliarity - trained
            fastest = milliseconds([made["with"], made["without"]], familiar[0])
            results.append(
                {
                    "known": name,
                    "features": place,
                    "file": kind.variant,
                    "same_scores": bool(np.array_equal(opened["without"].scores(familiar[:40]), near.scores[:40])),
                    "bytes": made["with"].stat().st_size,
                    "bytes_without": made["without"].stat().st_size,
                    "ms": fastest[0],
                    "ms_without": fastest[1],
                    "mean_difference": float(difference.mean()),
                    "sd_difference": float(difference.std(ddof=1)),
                    "largest_difference": float(np.abs(difference).max()),
                    "sd_familiar": float(trained.std(ddof=1)),
                    "expected_rate": verdict.rate,
                    "released_with_it": not verdict.reason,
                    "false_alarms": float(near.unfamiliar.mean()),
                    "false_alarms_trained": float((trained > limit.value).mean()),
                    "found": float(strange_ones.unfamiliar.mean()),
                    "found_trained": float((away > limit.value).mean()),
                    "decisions_changed_familiar": float((near.unfamiliar != (trained > limit.value)).mean()),
                    "decisions_changed_unfamiliar": float((strange_ones.unfamiliar != (away > limit.value)).mean()),
                    "auroc": auroc(near.unfamiliarity, strange_ones.unfamiliarity),
                    "auroc_trained": auroc(trained, away),
                }
            )
    return results


def milliseconds(files: list[Path], picture: np.ndarray) -> list[float]:
    """The fastest of 60 calls of each file, in turn, on one thread with XNNPACK: other work can only slow a call."""
    opened = [interpreter.opened(file, threads=1) for file in files]
    fastest = [np.inf] * len(files)
    for each in opened:
        each.set_tensor(each.get_input_details()[0]["index"], picture[None])
    for _ in range(60):
        for place, each in enumerate(opened):
            start = time.perf_counter()
            each.invoke()
            fastest[place] = min(fastest[place], 1000 * (time.perf_counter() - start))
    return fastest


def auroc(familiar: np.ndarray, unfamiliar: np.ndarray) -> float:
    """The chance that an unfamiliar picture is farther than a familiar one."""
    truth = np.repeat([0, 1], [len(familiar), len(unfamiliar)])
    return float(roc_auc_score(truth, np.concatenate([familiar, unfamiliar])))


def table(results: list[dict[str, Any]]) -> list[str]:
    """The results as a table in Markdown."""
    lines = [
        "| features | known | file | difference, mean ± sd | largest | expected rate | false alarms (trained) | found "
        "(trained) | decisions changed: familiar, unfamiliar | MB (without) | ms (without) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in results:
        rate = "" if row["expected_rate"] is None else f"{row['expected_rate']:.3f}"
        rate += "" if row["released_with_it"] else ", left out"
        lines.append(
            f"| {row['features']} | {row['known']} | {row['file']} | {row['mean_difference']:+.4f} ± "
            f"{row['sd_difference']:.4f} | {row['largest_difference']:.4f} | {rate} | {row['false_alarms']:.3f} "
            f"({row['false_alarms_trained']:.3f}) | {row['found']:.3f} ({row['found_trained']:.3f}) | "
            f"{row['decisions_changed_familiar']:.3f}, {row['decisions_changed_unfamiliar']:.3f} | "
            f"{row['bytes'] / 1e6:.2f} ({row['bytes_without'] / 1e6:.2f}) | {row['ms']:.1f} ({row['ms_without']:.1f}) |"
        )
    return lines


if __name__ == "__main__":
    main()
