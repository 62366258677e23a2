"""The page and `report.json` of a made-up run: what they show, what they must never do, and that the docs keep up."""

import base64
import hashlib
import html.parser
import json
import re
from pathlib import Path

import numpy as np
import pytest

from kt.base import numbers
from kt.data.splits import Skipped, Split, Splits
from kt.errors import DataError, ReleaseError
from kt.failures.errors import wrongest_places
from kt.failures.results import DepthProbe, Failures, FeatureMap, Insight, MovedBlock, Neighbours
from kt.failures.slices import slices
from kt.findings import Finding, Fix
from kt.heads.classification.measure import evaluate
from kt.report import again, summary, write
from kt.report.findings import for_report
from kt.report.templates import page_script
from kt.runs.trust import trust
from kt.training import Calibrated

HOSTILE = '<script>alert("1")</script>'
DOCS = Path(__file__).parent.parent / "docs" / "report.md"


def split(images, classes, *, name, each=2):
    """Pictures in plain colours; `each` of them show one thing."""
    labels = np.arange(images) % classes
    pixels = np.zeros((images, 24, 32, 3), dtype=np.uint8)
    pixels[:] = (np.arange(images) * 7 % 256)[:, None, None, None]
    return Split(
        pixels,
        labels.astype(np.int64),
        tuple(f"{name}/{i}.jpg" for i in range(images)),
        tuple(f"{name} {i // (classes * each)} {i % classes}" for i in range(images)),
    )


def made_up(classes=("bad", "good"), *, rendered=False, images=40):
    """A run's results, splits and scores."""
    splits = Splits(
        split(2 * images, len(classes), name="train"),
        split(images, len(classes), name="validation"),
        split(images, len(classes), name="test"),
        tuple(classes), 8, "a folder of pictures", "d1" * 32, rendered,
        (Skipped("torn.jpg", "truncated"),), ("one note",),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(len(classes)), size=images)
    scores[np.arange(images), splits.test.labels] += 0.5
    scores /= scores.sum(axis=1, keepdims=True)
    history = {
        "loss": [0.9, 0.5, 0.4], "accuracy": [0.5, 0.7, 0.8], "val_loss": [0.8, 0.6, 0.7],
        "val_accuracy": [0.5, 0.7, 0.6], "lr": [1e-3] * 3,
    }  # fmt: skip
    phase = {
        "name": "train_head", "epochs": 5, "epochs_run": 3, "lr": 1e-3, "layer_rates": [], "trainable_parameters": 2562,
        "total_parameters": 2260546, "trainable_layers": 1, "first_trainable": "predictions",
        "inputs": "pixels", "seconds": 4.0,
        "history": history, "best_epoch": 2, "best_val_loss": 0.6, "objective": None, "adapted_to": None,
    }  # fmt: skip
    by_depth = [{"block": "block_15", "lr": 6.4e-6}, {"block": "head", "lr": 1e-5}]
    tuned = {**phase, "name": "fine_tune", "lr": 1e-5, "layer_rates": by_depth, "trainable_layers": 22,
             "first_trainable": "block_13_expand", "best_epoch": 1, "best_val_loss": 0.52,
             "gain": {"log_loss": 0.08, "interval": [0.03, 0.13], "before": 0.6, "images": 40,
                      "things": 20}}  # fmt: skip
    judged = {
        "evidence": {
            "pictures": 395, "changed": 8, "changed_interval": [0.009, 0.04], "unseen": 215, "lost": 3, "gained": 4,
            "loss": -0.005, "loss_interval": [-0.03, 0.02], "confidence": 0.95, "known": False, "more_needed": 680,
            "told": "395 pictures are too few to know",
        },
        "tries": [{"way": "as it is", "pictures": 395, "changed": 30, "reason": "too much", "seconds": 1.5}],
    }  # fmt: skip
    artifact = {
        "name": "tflite", "format": "tflite_float32", "path": "saved_models/apples/3/model.tflite", "released": True,
        "reason": "", "agreement": 1.0, "accuracy": 0.8, "balanced_accuracy": 0.8, "accuracy_change": 0.0,
        "largest_score_difference": 2e-7, "bytes": 9_100_000, "latency_ms": 4.21, "images": 40, "seconds": 8.0,
        "note": "its first layers compute in float32", "mobile": True, "unfamiliarity_difference": 1e-7,
        "unfamiliarity_rate": None,
    }  # fmt: skip
    test = evaluate(scores, splits.test.labels, classes, groups=splits.test.groups, resamples=50)
    results = {
        "kt": "0.1.0",
        "recipe": {"name": "apples", "file": "recipes/apples.py", "description": "Good apples from bad ones.",
                   "settings": ["fine_tune.lr=1e-5"], "data": None,
                   "target": None, "target_labels": False, "places": {}, "resolved": {"phases": [{"lr": 1e-3}]}},
        "command": "kt run recipes/apples.py --set fine_tune.lr=1e-5", "started": "2026-05-04T10:12:13+02:00",
        "seconds": 74.2, "energy_joules": 7200.0, "resumed": [{"at": "2026-05-04T10:30:00+02:00", "forced": False}],
        "seed": 4242, "backend": "tensorflow", "mixed_precision": False,
        "versions": {"keras": "3.15.1"}, "machine": {"system": "Linux", "cores": 2},
        "data": {
            "origin": splits.origin, "rendered": rendered, "digest": splits.digest,
            "test_of": "target", "classes": list(classes),
            "kind": "pictures", "image_size": [24, 32], "batch_size": 8,
            "counts": {name: {c: int((part.labels == i).sum()) for i, c in enumerate(classes)}
                       for name, part in splits.parts().items()},
            "skipped": [{"name": "torn.jpg", "reason": "truncated"}], "notes": ["one note"], "value_range": [0, 4095],
        },
        "weights": {"name": "MobileNetV2", "origin": "package", "file": "w.h5", "sha256": "3e" * 32,
                    "licence": "Apache-2.0", "note": "", "preprocessing": "[-1, 1]"},
        "goal": {"metric": "balanced_accuracy", "target": 0.9, "budget_seconds": 1800.0, "reached": False,
                 "ended": "gains had ended"},
        "depths": [{"features": "top", "log_loss": 0.31}, {"features": "block_9", "log_loss": 0.42}],
        "ladder": [
            {"name": "probe", "backbone": "MobileNetV2", "figure": 0.81, "interval": [0.7, 0.9], "seconds": 4.0,
             "verdict": "won: the only one that was tried", "won": True},
            {"name": "top_blocks", "backbone": "MobileNetV2", "figure": None, "interval": None, "seconds": 0.0,
             "verdict": "not begun: it would take about 2 h 10 min, and 1 min 00 s was left", "won": False},
        ],
        "search": [{"name": "trial 1", "lr": 3e-4, "blocks": 2, "dropout": 0.25, "figure": 0.8,
                    "interval": [0.7, 0.9], "seconds": 9.0, "verdict": "0.010 behind as written", "won": False}],
        "phases": [phase, tuned],
        "best": {"phase": "fine_tune", "epoch": 1, "val_loss": 0.52, "val_accuracy": 0.7},
        "notes": ["only 13 pictures", "a note on training"], "few_pictures": ["only 13 pictures"],
        "warnings": ["far below its probe"],
        "learned": {"verdict": "yes", "reason": "", "chance": 0.5, "forced": False},
        "learning_curve": [
            {"images_per_class": n, "images": 2 * n, "balanced_accuracy": a, "low": a - 0.1, "high": a + 0.05}
            for n, a in ((8, 0.71), (16, 0.78), (32, 0.834))
        ],
        "outlook": "it rises still: twice the pictures would bring more",
        "cross_validation": {
            "images": 120, "groups": 60, "accuracy": 0.83, "balanced_accuracy": 0.8125, "confidence": 0.95,
            "intervals": {"accuracy": [0.77, 0.87], "balanced_accuracy": [0.7433, 0.8714]},
        },
        "unfamiliar": {"score": "nearest", "features": {"part": "frozen", "layers": ["out_relu"], "count": 1280},
                       "known": 100, "threshold": 0.71, "rate": 0.05, "held_out": 60, "held_out_independent": 60,
                       "why": "", "test": {"examples": 40, "called": 2, "share": 0.05, "interval": [0.006, 0.17]}},
        "likeness": {"verdict": "differ", "p": 0.002, "auc": 0.91, "interval": [0.85, 0.96], "train": 40, "test": 20,
                     "most_unlike": list(splits.test.names[:2])},
        "test": test, "validation": {"accuracy": 0.7},
        **trust(scores, scores, splits, Calibrated(1.3, images, images // 2), seed=0),
        "explained": {
            "method": "grad_cam", "why": "", "seconds": 2.5, "depths": [{"features": "top", "share": 0.6}],
            "pictures": [{"name": "apple_1.jpg", "label": classes[0], "predicted": classes[-1], "score": 0.7,
                          "half": 0.12, "place": "top left", "without": 0.3, "without_elsewhere": 0.65,
                          "in_words": "half of what speaks for it lies on 12% of the picture, top left"}],
            "faithful": {way: {"shares": [0.0, 0.5, 1.0], "by_map": [0.9, 0.5, 0.2], "at_random": [0.9, 0.7, 0.2],
                               "gain": gain, "interval": interval, "pictures": 12, "groups": 12}
                         for way, gain, interval in (("deletion", 0.1, [0.05, 0.15]), ("insertion", 0.04, None))},
        },
        **for_report(found_in(splits)),
        "artifacts": [artifact, {**artifact, **judged, "name": "int8", "format": "tflite_int8", "path": None,
                                 "released": False, "reason": "balanced accuracy fell by 0.034"}],
        "version": 3, "released_to": "saved_models/apples/3",
    }  # fmt: skip
    return results, splits, scores


def found_in(splits):
    """Findings of a data set, made up: copies in two splits, many blurred pictures, and a label that looks wrong."""
    one, other = splits.train.names[0], splits.test.names[0]
    suspect = splits.train.names[3]
    return [
        Finding("leak", "error", (one, other), f"{one} and {other} are copies.", "Leave it out of train.",
                (Fix(one, "leave_out", "", f"a copy of {other}"),), 0.9, {"distance": 0.1}),
        Finding("label_error", "warning", (suspect,), f"{suspect} looks like {splits.classes[-1]}.", "Look at it.",
                (Fix(suspect, "relabel", splits.classes[-1], "8 of its 10 nearest are"),), 0.8,
                beside=splits.train.names[4:7]),
        *(Finding("blurred", "note", (name,), f"{name} is blurred.", "Look at it.")
          for name in splits.train.names[:30]),
    ]  # fmt: skip


def failed_of(splits, scores):
    """What a run may know of a model's failures, made up."""
    test = splits.test
    sliced = slices(
        scores.argmax(axis=1) == test.labels, test.labels, splits.kind.properties(test.examples, None),
        groups=test.groups, seed=1,
    )  # fmt: skip
    wrong = wrongest_places(test, scores)
    near = Neighbours((0, 5, 9), (0.9, 0.8, -0.1), 0.97)
    spots = np.random.default_rng(2).normal(size=(20, 2)).astype(np.float32)
    alike = (*[0.5] * (len(splits.classes) - 1), None)
    views = tuple(FeatureMap(when, 1280, 0.2, spots, alike) for when in ("before", "after"))
    insight = Insight(
        (near,) * len(wrong), 80, "frozen", views, tuple(range(10)), tuple(range(10)),
        (MovedBlock("stem", 0.0, 0.0), MovedBlock("block_1", 0.12, None)),
        (DepthProbe("block_1", 96, 0.7, (0.6, 0.8)), DepthProbe("top", 1280, 0.9, (0.8, 0.95))),
    )  # fmt: skip
    return Failures(sliced, insight)


def page_of(results, splits, scores, directory, *, failed=None):
    write(results, splits, scores, directory, failed=failed)
    return (directory / "report.html").read_text(encoding="utf-8")


def visible(page):
    """The page's text without styles and tags, white space folded."""
    body = re.sub(r"<script>.*?</script>", "", page[page.index("<body") :], flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


class Elements(html.parser.HTMLParser):
    """Every element with its attributes, and whether each is closed where it should be."""

    VOID = {"meta", "img", "br", "link"}

    def __init__(self):
        super().__init__()
        self.found, self.open = [], []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def elements(page):
    parser = Elements()
    parser.feed(page)
    assert parser.open == []
    return parser.found


def scripts(page):
    """The text of each script."""
    return re.findall(r"<script[^>]*>(.*?)</script>", page, flags=re.DOTALL)


def test_the_page_fetches_nothing_and_runs_nothing_but_its_own_script(tmp_path):
    page = page_of(*made_up(), tmp_path)
    assert scripts(page) == [page_script().text]
    for tag, attributes in elements(page):
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"src", "href", "srcset", "xlink:href", "action", "data"}:
                assert value.startswith(("data:image/", "#")), value
    assert "url(http" not in page
    assert "@import" not in page
    assert re.findall(r"https?://\S+", page) == []
    (policy,) = (a["content"] for _, a in elements(page) if a.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(scripts(page)[0].encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def test_no_two_elements_share_an_id_between_charts(tmp_path):
    page = page_of(*made_up(), tmp_path)
    ids = [attributes["id"] for _, attributes in elements(page) if "id" in attributes]
    assert len(ids) > 20
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', page))
    assert {a or b for a, b in used} <= set(ids)


def test_hostile_names_are_shown_not_obeyed(tmp_path):
    results, splits, scores = made_up((HOSTILE, '"><img src=x onerror=y>', "c$x$ & d"))
    results["recipe"]["name"] = results["command"] = results["notes"][0] = HOSTILE
    results["phases"][0]["name"] = HOSTILE
    results["artifacts"][1]["reason"] = results["artifacts"][0]["path"] = HOSTILE
    results["recipe"]["resolved"] = {HOSTILE: "</pre>" + HOSTILE}
    test = splits.test
    named = Split(test.examples, test.labels, tuple(f"{HOSTILE}{i}" for i in range(len(test))), test.groups)
    results["likeness"]["most_unlike"] = list(named.names[:2])
    splits = Splits(splits.train, splits.validation, named, splits.classes, 8, HOSTILE, "d", False)
    page = page_of(results, splits, scores, tmp_path)
    assert scripts(page) == [page_script().text]
    assert "onerror" not in {name for _, attributes in elements(page) for name in attributes}
    assert HOSTILE in visible(page)


def test_many_hostile_class_names_are_safe_in_the_heatmap_too(tmp_path):
    page = page_of(*made_up([f"</text>{HOSTILE}{i}" for i in range(20)], images=60), tmp_path)
    assert scripts(page) == [page_script().text]
    elements(page)


def test_both_phases_share_one_axis_of_epochs(tmp_path):
    page = page_of(*made_up(), tmp_path)
    (chart,) = re.findall(r'<svg class="chart" role="img" aria-label="loss .*?</svg>', page, flags=re.DOTALL)
    assert "over the phases train_head, then fine_tune" in chart
    texts = re.findall(r">([^<>]+)</text>", chart)
    assert {"train_head", "fine_tune", "training", "validation", "kept", "1", "6"} <= set(texts)
    assert "7" not in texts  # three epochs and three epochs
    assert chart.count(">train_head<") == 1


def test_a_metric_that_no_phase_has_gives_no_chart(tmp_path):
    results, splits, scores = made_up()
    for phase in results["phases"]:
        phase["history"] = {"loss": [0.5], "val_loss": [float("nan")]}
    page = page_of(results, splits, scores, tmp_path)
    assert 'aria-label="loss' in page
    assert 'aria-label="accuracy' not in page
    assert json.loads((tmp_path / "report.json").read_text())["phases"][0]["history"]["val_loss"] == [None]


def test_charts_take_the_colours_of_the_page_and_pictures_have_words(tmp_path):
    page = page_of(*made_up(), tmp_path)
    assert "stroke: var(--first)" in page
    assert "#0102" not in page
    for tag, attributes in elements(page):
        if tag == "img":
            assert attributes["alt"]
        if tag == "svg":
            assert attributes["aria-label"]
            assert "viewbox" in attributes


def test_matplotlib_is_left_as_it_was(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    page_of(*made_up(), tmp_path)
    assert dict(matplotlib.rcParams) == before


def test_the_page_says_what_was_released_what_was_refused_and_why(tmp_path):
    text = visible(page_of(*made_up(), tmp_path))
    assert "Released as version 3 tflite, in saved_models/apples/3" in text
    assert "int8 was refused balanced accuracy fell by 0.034" in text
    assert "9.1 MB" in text
    assert "4.2 ms" in text


def test_the_page_says_whether_the_last_phase_was_worth_it(tmp_path):
    results, splits, scores = made_up()
    fine_tune = results["phases"][-1]
    for gain, interval, said in [
        (0.08, [0.03, 0.13], "fine_tune helped"),
        (0.08, [-0.03, 0.19], "fine_tune: no difference that shows"),
        (0.001, [0.0005, 0.0015], "fine_tune: no difference that shows"),
        (-0.08, [-0.13, -0.03], "fine_tune did not help"),
    ]:
        fine_tune["gain"] = {"log_loss": gain, "interval": interval, "before": 0.6, "images": 40, "things": 20}
        text = visible(page_of(results, splits, scores, tmp_path))
        assert f"{said} Log loss on validation against before: " in text
        assert "picture by picture on 40 pictures of 20 things, with room for the best of 3 epochs." in text
        assert "Best validation loss: train_head 0.6000, fine_tune 0.5200." in text
    del fine_tune["gain"]
    assert "fine_tune was kept" in visible(page_of(results, splits, scores, tmp_path))
    results["best"] = {"phase": "train_head", "epoch": 2}
    text = visible(page_of(results, splits, scores, tmp_path))
    assert "fine_tune did not help" in text
    assert "The weights of train_head, epoch 2, were kept." in text


def test_a_step_that_fits_another_domain_is_not_judged_by_the_source_s_validation(tmp_path):
    results, splits, scores = made_up()
    results["phases"][-1] |= {"adapted_to": "target", "gain": None}
    text = visible(page_of(results, splits, scores, tmp_path))
    assert "fine_tune is fitted to target Validation is of the source, so its losses do not judge" in text
    assert "did not help" not in text


def test_rendered_pictures_are_marked_and_photos_are_not(tmp_path):
    badge = "Rendered pictures, not photos"
    assert badge in visible(page_of(*made_up(rendered=True), tmp_path))
    assert badge not in visible(page_of(*made_up(), tmp_path))


def test_errors_of_the_data_are_a_step_with_the_command_that_proposes_decisions(tmp_path):
    results, splits, scores = made_up()
    leak = Finding("leak", "error", ("a.jpg", "b.jpg"), "The same.", "Leave it out.", (Fix("b.jpg", "leave_out"),))
    dark = Finding("dark", "note", ("c.jpg",), "Dark.", "Look at it.")
    results |= for_report([dark])
    assert "kt check" not in visible(page_of(results, splits, scores, tmp_path)).partition("What it is for")[0]
    results |= for_report([leak, dark])
    results["recipe"]["places"] = {"root": "/photos of mine", "fixes": "f.csv"}
    text = visible(page_of(results, splits, scores, tmp_path))
    assert "Look at what is wrong with the data, further below: copies across splits (1)." in text
    assert "kt check '/photos of mine' --fix fixes.csv" in text


def test_the_page_holds_what_is_needed_to_run_it_again(tmp_path):
    text = visible(page_of(*made_up(), tmp_path))
    for fact in ("kt run recipes/apples.py --set fine_tune.lr=1e-5", "4242", "d1" * 32, "keras 3.15.1", "3e" * 32):
        assert fact.replace(" ", "") in text.replace(" ", "")


def test_figures_stand_on_the_page_with_their_intervals(tmp_path):
    results, splits, scores = made_up()
    text = visible(page_of(results, splits, scores, tmp_path))
    for name in ("balanced_accuracy", "accuracy", "roc_auc", "log_loss", "calibration_error"):
        low, high = results["test"]["intervals"][name]
        assert f"{results['test'][name]:.3f} {low:.3f} to {high:.3f}" in text
    assert "40 test pictures of 20 things" in text


def test_rates_by_depth_stand_on_the_page_from_the_lowest_to_the_highest(tmp_path):
    text = visible(page_of(*made_up(), tmp_path))
    assert "3 of 5 0.001 2 562" in text
    assert "3 of 5 6.4e-06 to 1e-05 by depth 2 562" in text


def test_few_things_are_cautioned_about_and_many_are_not(tmp_path):
    few = made_up(images=16)
    assert "show only 4 things" in visible(page_of(*few, tmp_path))
    assert "show only" not in visible(page_of(*made_up(images=80), tmp_path))


def test_the_wrongest_pictures_really_are_the_wrongest(tmp_path):
    results, splits, scores = made_up(images=80)
    write(results, splits, scores, tmp_path)
    told = json.loads((tmp_path / "report.json").read_text())["wrongest"]
    labels, predicted = splits.test.labels, scores.argmax(axis=1)
    wrong = [i for i in range(80) if predicted[i] != labels[i]]
    expected = sorted(wrong, key=lambda i: scores[i, labels[i]])[:12]
    assert len(wrong) > 12
    assert [row["name"] for row in told] == [splits.test.names[i] for i in expected]
    worst = expected[0]
    assert told[0]["label"] == splits.classes[labels[worst]]
    assert told[0]["predicted"] == splits.classes[predicted[worst]]
    assert told[0]["score"] == scores[worst].max()
    assert told[0]["score_of_label"] == scores[worst, labels[worst]]


def test_a_picture_in_the_report_is_the_one_that_is_named(tmp_path):
    """Each picture has a grey of its own, so that a thumbnail tells which it is."""
    import base64
    import io

    from PIL import Image

    results, splits, scores = made_up()
    page = page_of(results, splits, scores, tmp_path)
    sources = {a["title"]: a["src"] for tag, a in elements(page) if tag == "img" and a["alt"].startswith("Test")}
    places = {*wrongest_places(splits.test, scores), 0, 1}  # the first two are those that are most unlike
    assert set(sources) == {splits.test.names[i] for i in places}
    for i in places:
        picture = Image.open(io.BytesIO(base64.b64decode(sources[splits.test.names[i]].partition(",")[2])))
        assert picture.size == (32, 24)
        assert abs(int(np.asarray(picture).mean()) - int(splits.test.examples[i].mean())) <= 2


def test_a_model_without_mistakes_has_no_wrongest_pictures(tmp_path):
    results, splits, _ = made_up()
    scores = np.eye(2)[splits.test.labels]
    results["test"] = evaluate(scores, splits.test.labels, splits.classes)
    assert "made no mistake" in visible(page_of(results, splits, scores, tmp_path))
    assert json.loads((tmp_path / "report.json").read_text())["wrongest"] == []


def test_the_page_says_that_the_test_looks_otherwise_and_shows_the_furthest_pictures(tmp_path):
    results, splits, scores = made_up()
    page = page_of(results, splits, scores, tmp_path)
    assert "AUC 0.910 (0.850 to 0.960)" in visible(page)
    card = (tmp_path / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "look otherwise than those of training" in visible(page) and "look otherwise than those of training" in card
    shown = json.loads((tmp_path / "shown.json").read_text(encoding="utf-8"))["unlike"]
    assert len(shown) == 2 and all(address in page for address in shown)
    alike = {**results, "likeness": {**results["likeness"], "verdict": "alike", "most_unlike": []}}
    assert "No difference was seen" in visible(page_of(alike, splits, scores, tmp_path))
    few = {**results, "likeness": {**results["likeness"], "verdict": "too few to tell", "auc": None, "interval": None}}
    assert "Does the test look like the training" not in page_of(few, splits, scores, tmp_path)


def test_report_json_holds_the_results_as_they_were(tmp_path):
    results, splits, scores = made_up()
    write(results, splits, scores, tmp_path)
    told = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert told.pop("format") == 1
    assert len(told.pop("wrongest")) > 0
    assert len(told.pop("confused")) == 2
    unknown = {"slices": None, "nearest": None, "map": None, "blocks": [], "depth_probes": []}
    assert told == {**results, **unknown}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("MODEL_CARD.md", "history.json", "report.html", "report.json", "shown.json")
    ]


def test_what_json_lacks_becomes_plain(tmp_path):
    results, splits, scores = made_up()
    results["machine"] = {
        "cores": np.int64(2),
        "path": Path("a/b"),
        "bad": float("nan"),
        "load": np.array([1.0, np.inf]),
    }
    given = write(results, splits, scores, tmp_path)
    told = json.loads((tmp_path / "report.json").read_text())
    assert given == told, "what is given back is not what the file holds"
    assert told["machine"] == {"cores": 2, "path": "a/b", "bad": None, "load": [1.0, None]}


@pytest.mark.parametrize(
    "missing",
    ["artifacts", "phases", "best", "weights", "test", "validation", "notes", "machine", "recipe", "data", None],
)
def test_a_part_that_is_missing_leaves_the_rest_of_the_page(tmp_path, missing):
    results, splits, scores = made_up()
    results = {key: value for key, value in results.items() if missing and key != missing}
    page = page_of(results, splits, scores, tmp_path)
    elements(page)
    assert "How to run it again" in visible(page)
    assert ("Artefacts" in visible(page)) == ("artifacts" in results)
    assert summary(results)


def test_an_artefact_that_could_not_be_made_has_dashes_and_a_reason(tmp_path):
    results, splits, scores = made_up()
    failed = dict.fromkeys(results["artifacts"][0])
    results["artifacts"] = [{**failed, "name": "tflite", "released": False, "reason": "the converter gave up"}]
    results["version"] = results["released_to"] = None
    text = visible(page_of(results, splits, scores, tmp_path))
    assert "Nothing was released" in text
    assert "tflite was refused the converter gave up" in text
    assert "None" not in text


def test_a_hundred_classes_get_a_heatmap_and_a_page_of_bearable_size(tmp_path):
    page = page_of(*made_up([f"kind {i:03}" for i in range(100)], images=300), tmp_path)
    assert 'aria-label="Confusion matrix of 100 classes' in page
    assert 'class="matrix' not in page
    assert "Per class, worst first" in visible(page)
    assert len(page) < 1_500_000


@pytest.mark.parametrize(("classes", "numbered"), [(15, True), (16, False)])
def test_up_to_fifteen_classes_the_confusion_matrix_has_numbers(tmp_path, classes, numbered):
    page = page_of(*made_up([f"kind {i}" for i in range(classes)], images=60), tmp_path)
    assert ('class="matrix' in page) == numbered
    assert ("Confusion matrix of" in page) != numbered


def test_scores_of_another_split_are_refused(tmp_path):
    results, splits, scores = made_up()
    with pytest.raises(
        DataError, match="a row for each of the 40 test pictures and a column for each of the 2 classes"
    ):
        write(results, splits, scores[:5], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_summary_says_how_good_what_is_out_what_is_not_and_what_to_type(tmp_path):
    results, *_ = made_up(rendered=True)
    text = summary(results, tmp_path / "report.html")
    low, high = results["test"]["intervals"]["accuracy"]
    assert re.search(rf"^accuracy +{results['test']['accuracy']:.3f}  \({low:.3f} to {high:.3f}\)$", text, re.MULTILINE)
    assert "same answer on 100%, accuracy unchanged, its first layers compute in float32, saved_models" in text
    assert "9.1 MB" in text
    assert re.search(r"^refused +int8: balanced accuracy fell by 0.034$", text, re.MULTILINE)
    assert "rendered pictures, not photos" in text
    assert "kt predict saved_models/apples photo.jpg" in text
    assert text.splitlines()[-1].endswith("report.html")


def test_the_summary_of_a_run_that_released_nothing_does_not_tell_to_use_it():
    results, *_ = made_up()
    results["released_to"] = None
    assert "kt predict" not in summary(results)
    assert "nothing after" in summary(results) and "the report says why" in summary(results)
    assert summary({**results, "artifacts": []}).endswith("; the recipe exports nothing")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (numbers.figure(0.86649), "0.866"),
        (numbers.figure(None), "\u2013"),
        (numbers.percent(0.99999), "99.9%"),
        (numbers.percent(1.0), "100%"),
        (numbers.change(-0.0349), "\u22120.035"),
        (numbers.change(-0.0001), "0.000"),
        (numbers.scientific(0), "0"),
        (numbers.scientific(3.14e-7), "3.1e-07"),
        (numbers.count(2257984), "2\u202f257\u202f984"),
        (numbers.size(9_100_000), "9.1 MB"),
        (numbers.size(812), "1 kB"),
        (numbers.duration(4.21), "4.2 s"),
        (numbers.duration(185), "3 min 05 s"),
        (numbers.duration(7800), "2 h 10 min"),
        (numbers.number(1e-5), "1e-05"),
        (numbers.number(True), "True"),
    ],
)
def test_numbers_are_written_for_people(text, expected):
    assert text == expected


# Below these, keys are names that depend on the run; the docs write them like this.
OPEN = {
    "explained.faithful": "<way>", "findings_more": "<kind>", "findings[].figures": "<figure>",
    "versions": "<package>", "machine": "<fact>", "data.counts": "<split>", "data.counts.<split>": "<class>",
    "test.intervals": "<figure>", "cross_validation.intervals": "<figure>", "validation": "<figure>",
    "recipe.resolved": "<setting>", "calibration.test.before": "<figure>", "calibration.test.after": "<figure>",
    "calibration.test.gain": "<figure>", "calibration.test.intervals": "<figure>",
}  # fmt: skip


def paths(value, path=""):
    """Each key of a report as the docs write it, `phases[].history.loss`."""
    if isinstance(value, list):
        for item in value:
            yield from paths(item, f"{path}[]")
    elif isinstance(value, dict):
        for key, item in value.items():
            inner = f"{path}.{OPEN.get(path, key)}".lstrip(".")
            yield inner
            if path != "recipe.resolved":
                yield from paths(item, inner)


def test_the_docs_explain_every_key_and_no_other(tmp_path):
    results, splits, scores = made_up()
    write(results, splits, scores, tmp_path, failed=failed_of(splits, scores))
    produced = set(paths(json.loads((tmp_path / "report.json").read_text())))
    documented = set(re.findall(r"^\| `([^`]+)` \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
    assert produced - documented == set(), "docs/report.md lacks these"
    assert documented - produced == set(), "docs/report.md explains what no report holds"


def test_the_page_shows_each_rung_and_trial_with_its_verdict(tmp_path):
    shown = visible(page_of(*made_up(), tmp_path))
    assert "The target of 0.9 was not reached: the worse end of the interval counts. Budget: 30 min 00 s." in shown
    assert "It ended there because gains had ended." in shown
    assert "probe MobileNetV2 0.810 0.700 to 0.900 4.0 s won: the only one that was tried" in shown
    assert "top_blocks MobileNetV2 \u2013 \u2013 \u2013 not begun: it would take about 2 h 10 min" in shown
    assert "trial 1 3.0e-04 2 0.25 0.800 0.700 to 0.900 9.0 s 0.010 behind as written" in shown


def test_the_page_shows_by_which_pictures_an_export_was_judged_and_each_way_it_was_made(tmp_path):
    shown = visible(page_of(*made_up(), tmp_path))
    assert "another answer than the trained model's on 8 of 395 pictures of test, validation and train" in shown
    assert "3 right answers lost and 4 gained. 395 pictures are too few to know." in shown
    assert "as it is: 30 of 395 answers changed, too much, 1.5 s" in shown


def test_the_page_of_a_recipe_as_it_is_written_says_nothing_of_trying(tmp_path):
    results, splits, scores = made_up()
    for key in ("goal", "depths", "ladder", "search"):
        del results[key]
    assert "What was tried" not in page_of(results, splits, scores, tmp_path)


def test_the_page_is_made_again_from_the_folder_alone(tmp_path):
    results, splits, scores = made_up()
    page_of(results, splits, scores, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    (tmp_path / "report.html").unlink()
    assert again(tmp_path) == tmp_path / "report.html"
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("report.json", None, "has no report yet"),
        ("shown.json", None, "has no shown.json: an earlier kt made it"),
        ("report.json", "{", "is damaged"),
        ("report.json", "[]", "report.json is damaged: it is a list of 0, expected an object"),
        ("report.json", '{"format": 99}', "is of format 99, and this kt reads 1"),
        ("shown.json", "{}", "shown.json is damaged: classes is missing"),
        ("shown.json", "picture", r"shown.json is damaged: wrongest\[0\] is .*, expected the data: address"),
    ],
)
def test_a_run_whose_page_can_not_be_made_is_told_and_its_page_stays(tmp_path, name, content, told):
    results, splits, scores = made_up()
    page_of(results, splits, scores, tmp_path)
    page = (tmp_path / "report.html").read_bytes()
    if content is None:
        (tmp_path / name).unlink()
    elif content == "picture":  # an address that a browser would fetch
        shown = json.loads((tmp_path / name).read_text(encoding="utf-8"))
        shown["wrongest"][0] = "https://example.org/a.jpg"
        (tmp_path / name).write_text(json.dumps(shown), encoding="utf-8")
    else:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ReleaseError, match=told):
        again(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == page
