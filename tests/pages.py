"""Pages of every kind, made of made-up results, for tests of how they look and what they are made of."""

from pathlib import Path
from typing import Any

from PIL import Image
from test_report import found_in, made_up

from kt.checkup.result import Checkup
from kt.report import write
from kt.report.adaptation import adaptation_page
from kt.report.checked import page_of
from kt.report.comparison import comparison_page
from kt.report.rates import write_rates
from kt.report.side_by_side import side_by_side_page

PAGES = ("few", "many", "most", "comparison", "adaptation", "rates", "side_by_side", "checked")
"""The report of two, twelve and thirty classes, and a page of each other kind."""

LONG = "a_class_with_a_name_that_is_one_word_and_never_ends"


def comparison() -> str:
    rows = [
        {
            "name": name, "title": title, "weights": "imagenet", "balanced_accuracy": 0.7, "interval": [0.6, 0.8],
            "phases": [{"name": "train_head", "epochs": 5, "lr": 1e-3, "trainable": "kt.freeze.frozen"}],
            "validation_balanced_accuracy": 0.7, "seconds": 700.0, "error": None,
            "against_scratch": {"balanced_accuracy": 0.2, "interval": [0.1, 0.3], "p_value": 0.01,
                                "verdict": "positive"},
            "runs": [{"seed": 0, "balanced_accuracy": 0.7}],
        }
        for name, title in (("scratch", "from scratch"), ("probe_all", "linear probe, all depths"))
    ]  # fmt: skip
    return comparison_page(
        {
            "recipe": {"name": "leaves"}, "started": "2026-05-04T10:12:13", "seconds": 800.0, "backend": "tensorflow",
            "kt": "0.1.0", "finished": True, "seeds": [0, 1], "strategies": rows, "best": "probe_all", "curves": [],
            "verdict": "positive", "command": "kt compare recipes/leaves.py --data " + "photos/" * 20, "versions": {},
            "machine": {}, "notes": ["cut to fit the budget of 15 min 00 s: no learning curves"],
            "data": {"origin": "photos", "digest": "d1" * 32, "rendered": False, "classes": ["a", "b"],
                     "image_size": [224, 224], "pictures": {"train": 300, "test": 90}, "things": {"test": 90}},
            "plan": {"strategies": [{"name": "scratch", "epochs": 5, "steps": 400, "seconds": 90.0}], "seeds": 2,
                     "pictures": {"train": 300}, "shares": [], "estimated_seconds": 700.0, "budget_seconds": 900.0,
                     "cut": ["no learning curves"]},
            "transfer_gain": {"strategy": "probe_all", "balanced_accuracy": 0.2, "interval": [0.1, 0.3],
                              "p_value": 0.01, "verdict": "positive", "scratch_steps": 400, "pictures": 300,
                              "scratch_needs": None,
                              "strategy_needs": None},
        }
    )  # fmt: skip


def adaptation() -> str:
    apart = {"proxy_a_distance": 1.2, "interval": [1.0, 1.4], "mmd": 0.1, "mmd_p": 0.01}
    rows = [
        {
            "name": name, "title": title, "chosen": name == "coral", "error": None, "target_balanced_accuracy": value,
            "interval": [value - 0.1, value + 0.1], "validators": {"dev": 0.3}, "distance": apart, "seconds": 3.0,
            "against_none": against, "runs": [{"seed": 0, "balanced_accuracy": value}], "verdict": "positive",
        }
        for name, title, value, against in (
            ("none", "no adaptation", 0.6, None),
            ("coral", "CORAL", 0.7, {"balanced_accuracy": 0.1, "interval": [0.02, 0.2], "p_value": 0.01}),
        )
    ]  # fmt: skip
    spots = {"source": [[0, 0], [1, 1]], "target": [[2, 2], [3, 1]], "labels": [0, 1]}
    results: dict[str, Any] = {
        "recipe": {"name": "leaves"}, "started": "2026-05-04T10:12:13", "seconds": 80.0, "backend": "tensorflow",
        "kt": "0.1.0", "finished": True, "seeds": [0, 1], "share": 0.8, "verdict": "positive", "notes": [],
        "methods": rows, "chosen": "coral", "validator": "dev", "difference": "features", "target_trained": None,
        "validators": [{"name": "dev", "chosen": "coral", "target_balanced_accuracy": 0.7, "below_best": 0.0,
                        "above_none": 0.1}],
        "target": {"labelled": True, "examples": 90}, "map": {"before": spots, "after": spots}, "versions": {},
        "command": "kt adapt recipes/leaves.py --target " + "photos/" * 20, "machine": {},
        "data": {"origin": "photos", "digest": "d1" * 32, "rendered": False, "classes": ["a", LONG], "kind": "pictures",
                 "image_size": [224, 224], "pictures": {"train": 300, "test": 90}, "things": {"test": 90}},
    }  # fmt: skip
    return adaptation_page(results)


def side_by_side() -> str:
    runs = [
        {"run": f"runs/leaves/{time}", "recipe": "leaves", "description": "", "started": "2026-05-04T10:12:13",
         "seconds": 80.0, "kind": "pictures", "rendered": False, "images": 90, "groups": 30, "version": 1}
        for time in ("20260504-101213", "20260505-101213")
    ]  # fmt: skip
    difference = {"name": "balanced_accuracy", "first": 0.7, "second": 0.8, "difference": 0.1, "interval": [0.02, 0.2],
                  "p_value": 0.01, "better": "second"}  # fmt: skip
    classes = [
        {"label": f"{LONG}_{i}", "images": 6, "first": 0.5, "second": 0.75, "difference": 0.25, "only_first_right": 1,
         "only_second_right": 2, "p_value": 0.6, "adjusted_p_value": 1.0, "better": "second" if i else "none"}
        for i in range(12)
    ]  # fmt: skip
    return side_by_side_page(
        {
            "format": 1, "runs": runs, "only_first_classes": [], "only_second_classes": [LONG],
            "figures": [{"name": "balanced_accuracy", "first": 0.7, "first_interval": [0.6, 0.8], "second": 0.8,
                         "second_interval": None}],
            "common": {"basis": "names", "why": "", "images": 90, "only_first": 0, "only_second": 0, "relabelled": 1},
            "paired": {"images": 90, "groups": 30, "confidence": 0.95, "caution": "Few things.", "both_right": 50,
                       "only_first_right": 10, "only_second_right": 20, "both_wrong": 10, "differences": [difference],
                       "classes": classes},
            "settings": [{"name": "phases.fine_tune.lr", "first": 1e-5, "second": None},
                         {"name": "data: digest", "first": "d1" * 32, "second": "d2" * 32}],
        }
    )  # fmt: skip


def checked(folder: Path) -> str:
    """The page of `kt check`, with a file behind each name."""
    _, splits, _ = made_up(("bad", LONG))
    findings = found_in(splits)
    picture = folder / "picture.png"
    Image.new("RGB", (40, 30), (90, 120, 60)).save(picture)
    files = {name: picture for finding in findings for name in (*finding.items, *finding.beside)}
    why = ("likely wrong labels, outliers, groups, and whether test looks like train, as --quick asks",)
    return page_of(Checkup("folder photos", 99, {"bad": 50, LONG: 49}, {}, tuple(findings), left_out=why, files=files))


def written(folder: Path) -> dict[str, Path]:
    """Each page as a file in the folder, by its name."""
    sizes = {"few": ("bad", LONG), "many": tuple(f"{LONG}_{i}" for i in range(12)), "most": tuple(map(str, range(30)))}
    for name, classes in sizes.items():
        write(*made_up(classes, images=2 * len(classes) + 36), folder / name)
    found = {name: folder / name / "report.html" for name in sizes}
    for name, text in (("comparison", comparison()), ("adaptation", adaptation()), ("side_by_side", side_by_side()),
                       ("checked", checked(folder))):  # fmt: skip
        found[name] = folder / f"{name}.html"
        found[name].write_text(text, encoding="utf-8")
    rates = {
        "recipe": "leaves", "phase": "fine_tune", "started": "2026-05-04T10:12:13", "seconds": 9.0, "seed": 0,
        "kt": "1", "first_loss": 1.0, "batch_losses": [1.0, 0.9, 2.0], "lr": 1e-5, "backend": "tensorflow",
        "suggested": 1e-4, "why": "it falls fastest there", "set": "--set fine_tune.lr=1e-4",
        "rates": [1e-5, 1e-4, 1e-3], "losses": [1.0, 0.8, 2.0], "smoothed": [1.0, 0.8, 2.0], "diverged_at": None,
        "measured_on": 100, "pictures": 200, "layer_rates": False, "command": "kt lr-find " + "photos/" * 20,
    }  # fmt: skip
    found["rates"] = write_rates(rates, folder)
    return found
