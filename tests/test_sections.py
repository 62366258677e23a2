"""The sections of a run's page: made again from old and from hostile files, and added to by a section of one's own."""

import copy
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import REPOSITORY
from markupsafe import Markup, escape
from test_report import HOSTILE, elements, failed_of, made_up, scripts, visible

from kt.errors import ReleaseError
from kt.report import again, write
from kt.report.entry import Entry
from kt.report.page import render_page
from kt.report.reported import ReportedRun
from kt.report.sections import SECTIONS
from kt.report.shown import Shown
from kt.report.templates import page_script

FIRST_KEYS = {
    "": ("format", "kt", "command", "started", "seconds", "seed", "backend", "mixed_precision", "versions", "machine",
         "notes", "recipe", "data", "weights", "phases", "best", "test", "validation", "wrongest", "artifacts",
         "version", "released_to"),
    "recipe": ("name", "file", "description", "settings", "data", "resolved"),
    "data": ("origin", "rendered", "digest", "classes", "image_size", "batch_size", "counts", "skipped", "notes"),
    "phases": ("name", "epochs", "epochs_run", "lr", "trainable_parameters", "total_parameters", "trainable_layers",
               "first_trainable", "seconds", "history", "best_epoch", "best_val_loss"),
    "artifacts": ("name", "format", "path", "released", "reason", "agreement", "accuracy", "balanced_accuracy",
                  "accuracy_change", "largest_score_difference", "bytes", "latency_ms", "images", "seconds"),
}  # fmt: skip
"""The keys that the first reports of format 1 had, where others have come since."""


def first_report(report):
    """The report as the first kt of this format wrote it."""
    old = {key: report[key] for key in FIRST_KEYS[""]}
    for part in ("recipe", "data"):
        old[part] = {key: report[part][key] for key in FIRST_KEYS[part]}
    for part in ("phases", "artifacts"):
        old[part] = [{key: row[key] for key in FIRST_KEYS[part]} for row in report[part]]
    old["phases"][0]["trainable_layers"] = ["predictions"]  # their names, where there is a number now
    return old


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What `report.json` and `shown.json` of a run hold."""
    folder = tmp_path_factory.mktemp("run")
    results, splits, scores = made_up()
    write(results, splits, scores, folder, failed=failed_of(splits, scores))
    return tuple(json.loads((folder / name).read_text(encoding="utf-8")) for name in ("report.json", "shown.json"))


def put(folder: Path, report, shown) -> Path:
    for name, content in (("report.json", report), ("shown.json", shown)):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def page_of(folder: Path) -> str:
    return again(folder).read_text(encoding="utf-8")


def gathered(report, shown):
    run = ReportedRun(Entry(report, "report.json"), Shown.from_json(Entry(shown, "shown.json")))
    return [section.gather(run) for section in SECTIONS]


# ------------------------------------------------------------------------------------------------------- old reports


def test_a_report_of_the_first_kt_is_made_again_without_what_it_does_not_tell(tmp_path, files):
    report, shown = files
    text = visible(page_of(put(tmp_path, first_report(report), shown)))
    for title in ("The data", "Training", "On the test pictures", "The wrongest pictures", "Artefacts"):
        assert title in text
    for title in ("What was tried", "Would more pictures help?", "Few pictures", "Look at this first"):
        assert title not in text
    assert "predictions 1 layer" in text
    assert "fine_tune was kept Best validation loss: train_head 0.6000, fine_tune 0.5200." in text
    assert "Released as version 3 tflite" in text
    assert "None" not in text


@pytest.mark.parametrize("key", ["caution", "examples", "wrongest"])
def test_what_shown_json_lacks_is_left_out(tmp_path, files, key):
    report, shown = files
    page = page_of(put(tmp_path, report, {name: value for name, value in shown.items() if name not in (key, "unlike")}))
    alts = {attributes["alt"].partition(" ")[0] for tag, attributes in elements(page) if tag == "img"}
    expected = {"examples": {"Test"}, "wrongest": {"Training"}, "caution": {"Test", "Training"}}
    assert alts == {"Near", *expected[key]}
    assert "The wrongest pictures" in visible(page)


@pytest.mark.parametrize("key", [key for key in made_up()[0] if key not in ("kt", "started")])
def test_each_key_of_report_json_may_be_absent_or_null(files, key):
    report, shown = files
    without = {name: value for name, value in report.items() if name != key}
    assert gathered(without, shown) == gathered({**report, key: None}, shown)


def test_a_report_of_no_run_at_all_says_how_to_run_it_again_and_shows_the_data(tmp_path, files):
    text = visible(page_of(put(tmp_path, {"format": 1}, files[1])))
    assert "The data" in text and "How to run it again" in text
    assert "On the test pictures" not in text


# --------------------------------------------------------------------------------------------------- hostile reports


def changed(value, keys, new):
    """The same with another value at the place that the keys lead to."""
    if not keys:
        return new
    value = copy.copy(value)
    value[keys[0]] = changed(value[keys[0]], keys[1:], new)
    return value


def places(value, keys=()):
    """Where values stand: the keys that lead to each, in lists to the first only."""
    if keys:
        yield keys
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*keys, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*keys, 0))


@pytest.mark.parametrize(
    ("file", "keys", "value", "said"),
    [
        ("report.json", ("test", "accuracy"), "high", "test.accuracy is 'high', expected a number"),
        ("report.json", ("test", "intervals", "log_loss"), [0.1], "test.intervals.log_loss is a list of 1, expected"),
        ("report.json", ("test", "confusion_matrix"), [[1]], "confusion_matrix is a list of 1, expected a list of 2"),
        ("report.json", ("test", "confusion_matrix", 0, 0), -3, r"\[0\]\[0\] is -3, expected a whole number from 0"),
        ("report.json", ("phases", 0, "name"), None, r"phases\[0\].name is missing, expected text"),
        ("report.json", ("phases", 1, "seconds"), 10**400, r"phases\[1\].seconds is 1000+…, expected a number"),
        ("report.json", ("phases",), {"name": "x"}, "phases is an object, expected a list"),
        ("report.json", ("recipe",), "apples", "recipe is 'apples', expected an object"),
        ("report.json", ("data", "rendered"), "no", "data.rendered is 'no', expected true or false"),
        ("report.json", ("wrongest",), [], r"wrongest is a list of 0, expected a list of \d+, as many as shown.json"),
        ("report.json", ("learning_curve", 0, "images_per_class"), 0, "is 0, expected a number above 0"),
        ("shown.json", ("wrongest", 0), "https://example.org/a.jpg", "expected the data: address of a JPEG"),
        ("shown.json", ("wrongest", 0), "data:image/svg+xml;base64,PHN2Zy8+", "expected the data: address of a JPEG"),
        ("shown.json", ("wrongest", 0), "data:image/jpeg;base64,PHN2Zy8+", "expected the data: address of a JPEG"),
        ("shown.json", ("wrongest", 0), 'data:image/jpeg;base64,"onerror=x', "expected the data: address of a JPEG"),
        ("shown.json", ("sizes", 0), ["train", 80], r"sizes\[0\] is a list of 2, expected a list of 3"),
        ("shown.json", ("counts", 0, 1), [1], r"counts\[0\]\[1\] is a list of 1, expected a list of 3"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_named_with_the_place_and_the_page_stays(tmp_path, files, file, keys, value, said):
    report, shown = files
    if file == "report.json":
        report = changed(report, keys, value)
    else:
        shown = changed(shown, keys, value)
    (tmp_path / "report.html").write_text("as it was")
    with pytest.raises(ReleaseError, match=f"{file} is damaged: .*{said}.*run the recipe once more.$") as raised:
        again(put(tmp_path, report, shown))
    assert "\n" not in str(raised.value)
    assert (tmp_path / "report.html").read_text() == "as it was"


def test_no_value_at_any_place_does_more_than_end_in_one_line(files):
    report, shown = files
    refused = 0
    for value in (HOSTILE, -1, 1e300, 10**400, True, [], {}, [[HOSTILE]], {"a": 1}, "\udc80\x1b[31m"):
        for number, content in enumerate(files):
            for keys in places(content):
                hostile = [report, shown]
                hostile[number] = changed(content, keys, value)
                try:
                    gathered(*hostile)
                except ReleaseError as error:
                    refused += 1
                    assert "is damaged: " in str(error) and "\n" not in str(error)
    assert refused > 1000


def test_markup_in_any_text_is_shown_and_not_obeyed(tmp_path, files):
    def hostile(value):
        if isinstance(value, dict):
            return {key: hostile(item) for key, item in value.items()}
        if isinstance(value, list):
            return [hostile(item) for item in value]
        return f"{value}{HOSTILE}" if isinstance(value, str) and not value.startswith("data:") else value

    report, shown = map(hostile, files)
    page = page_of(put(tmp_path, report, shown))
    assert scripts(page) == [page_script().text]
    assert not [name for _, attributes in elements(page) for name in attributes if name.startswith("on")]
    for text in ("apples", "tflite", "bad", "train_head", "only 13 pictures", "kind"):
        assert (text in visible(page)) == (text != "kind")
    assert visible(page).count(HOSTILE) > 100


def test_names_that_are_no_text_are_escaped_in_charts_too(tmp_path):
    name = "caf\udce9\x1b[31m"  # a byte that is not UTF-8, and what a terminal obeys
    write(*made_up([f"kind {i}" for i in range(16)], images=32), tmp_path)
    report, shown = (
        json.loads((tmp_path / file).read_text(encoding="utf-8")) for file in ("report.json", "shown.json")
    )
    report = changed(report, ("phases", 0, "name"), name)
    page = page_of(put(tmp_path, report, changed(shown, ("classes", 0), name)))
    assert page.count(r"caf\xe9\x1b[31m") > 4
    assert r">caf\xe9\x1b[31m</text>" in page


def test_numbers_that_json_lacks_and_files_that_are_none_are_told(tmp_path, files):
    report, shown = files
    put(tmp_path, changed(report, ("seconds",), float("nan")), shown)
    assert "2026-05-04 10:12 · tensorflow · kt 0.1.0" in visible(page_of(tmp_path))
    (tmp_path / "report.json").write_text("[" * 100_000)
    with pytest.raises(ReleaseError, match=r"report.json is damaged: it is no JSON"):
        again(tmp_path)


# ----------------------------------------------------------------------------------------------- what a page needs


@pytest.mark.parametrize("damaged", [False, True])
def test_kt_report_loads_neither_tensorflow_nor_keras(tmp_path, files, damaged):
    report, shown = files
    put(tmp_path, changed(report, ("test", "accuracy"), "high") if damaged else report, shown)
    script = (
        "import sys\nfrom kt.cli import main\n"
        "try:\n    main()\nfinally:\n    heavy = {'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)\n"
        "    print('loaded', *sorted(heavy))"
    )
    child = subprocess.run(
        [sys.executable, "-c", script, "report", str(tmp_path)],
        env={**os.environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert child.stdout.splitlines()[-1] == "loaded", child.stderr
    assert child.returncode == (6 if damaged else 0)
    assert (tmp_path / "report.html").exists() != damaged
    if damaged:
        assert len(" ".join(child.stderr.splitlines()).split("error: ")) == 2
        assert "Traceback" not in child.stderr


@dataclass(frozen=True)
class Slowest:
    """What a section of one's own says."""

    phase: str
    seconds: float


class SlowestPhase:
    """A section of one's own, as docs/report.md tells how to write one."""

    def gather(self, run):
        phases = [Slowest(phase["name"].name(), phase["seconds"].number()) for phase in run.report["phases"]]
        return max(phases, key=lambda phase: phase.seconds) if phases else None

    def html(self, data):
        return Markup(f"<section><h2>Slowest</h2><p>{escape(data.phase)}, {data.seconds:g} s</p></section>")


def test_a_section_of_ones_own_stands_where_the_list_has_it(tmp_path, files):
    report, shown = files
    put(tmp_path, changed(report, ("phases", 1, "seconds"), 9.0), shown)
    text = visible(render_page(ReportedRun.read(tmp_path), [SlowestPhase(), SECTIONS[-1]]))
    assert "Slowest fine_tune, 9 s How to run it again" in text
    assert "On the test pictures" not in text
    assert "Slowest" not in visible(render_page(ReportedRun(Entry({}, "report.json")), [SlowestPhase()]))


def test_each_section_has_a_file_of_its_own_and_the_list_has_each():
    folder = REPOSITORY / "kt" / "report" / "sections"
    parts = {"confusion", "per_class", "calibration", "mistakes"}  # of on_test, which sets them side by side
    files = {path.stem for path in folder.glob("*.py")} - {"__init__"} - parts
    assert {section.__name__.rpartition(".")[2] for section in SECTIONS} == files


@pytest.mark.slow
def test_the_templates_of_the_sections_are_in_the_wheel(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", tmp_path, REPOSITORY],
        check=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    templates = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "kt" / "report").rglob("*.jinja")}
    assert len(templates) > 10
    assert templates <= names
