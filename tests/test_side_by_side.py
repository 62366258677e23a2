"""Two runs side by side: which pictures count as the same, and differences that are those of the same pictures."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_report import HOSTILE, elements, made_up, scripts, visible

from kt.base.metrics import HEADLINES
from kt.base.stages import Stage
from kt.data.splits import Split
from kt.errors import ReleaseError
from kt.heads.classification.measure import evaluate
from kt.kinds.pictures.kind import Pictures
from kt.report import write
from kt.report.side_by_side import sentences, side_by_side_page
from kt.report.templates import page_script
from kt.runs.answers import keep_answers
from kt.strategy.paired import Resamples
from kt.strategy.side_by_side import _joined, side_by_side

CLASSES = ("bad", "good", HOSTILE)
IMAGES = 90


def scores_of(labels, right, classes):
    """Scores whose top class is the label where right, else the next class."""
    scores = np.full((len(labels), classes), 0.1, np.float32)
    scores[np.arange(len(labels)), np.where(right, labels, (labels + 1) % classes)] = 1 - 0.1 * (classes - 1)
    return scores


def rows_of(folder: Path):
    with (folder / "splits.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def put_rows(folder: Path, rows) -> None:
    with (folder / "splits.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["split", "label", "group", "name", "content"])
        table.writeheader()
        table.writerows(rows)


def change_report(folder: Path, change) -> None:
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    change(report)
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two runs on the same pictures, and which of them each classified correctly."""
    folder = tmp_path_factory.mktemp("runs")
    rng, right = np.random.default_rng(3), {}
    for name, share in (("a", 0.6), ("b", 0.9)):
        results, splits, _ = made_up(CLASSES, images=IMAGES)
        test = splits.test
        right[name] = rng.random(IMAGES) < share
        scores = scores_of(test.labels, right[name], len(CLASSES))
        results["test"] = evaluate(scores, test.labels, CLASSES, groups=test.groups, resamples=50)
        results["recipe"]["places"] = {"root": "/photos"}
        results["recipe"]["resolved"] = {"phases": [{"name": "head", "lr": {"a": 1e-3, "b": 1e-4}[name]}], "seed": 1}
        write(results, splits, scores, folder / name)
        keep_answers(Stage(folder / name / "answers" / "test", "key"), scores, test, classes=CLASSES, seed=0,
                     kind=Pictures((24, 32)))  # fmt: skip
        put_rows(folder / name, [
            {"split": "test", "label": CLASSES[label], "group": group, "name": picture, "content": f"{place:064}"}
            for place, (label, group, picture) in enumerate(zip(test.labels, test.groups, test.names, strict=True))
        ])  # fmt: skip
    return folder, right, splits.test


@pytest.fixture
def runs(made, tmp_path):
    """Copies of both runs, which a test may change."""
    return [Path(shutil.copytree(made[0] / name, tmp_path / name)) for name in ("a", "b")]


def test_the_difference_is_that_of_the_same_pictures_with_the_paired_interval(made, runs):
    _, right, test = made
    results = side_by_side(*runs)
    assert results["common"] == {"basis": "content", "why": "", "images": IMAGES, "only_first": 0, "only_second": 0,
                                 "relabelled": 0}  # fmt: skip
    balanced, accuracy, loss = results["paired"]["differences"]
    assert accuracy["difference"] == pytest.approx(right["b"].mean() - right["a"].mean())
    by_name = np.array([sorted(CLASSES).index(CLASSES[label]) for label in test.labels])
    draws = Resamples(by_name, _joined(test.groups, test.groups), seeds=1)
    a, b = (draws.balanced_accuracy(right[name][:, None]) for name in "ab")
    assert balanced["interval"] == pytest.approx(b.minus(a).interval)
    assert balanced["better"] == accuracy["better"] == loss["better"] == "second"
    assert loss["difference"] < 0  # a lower loss is better
    paired = results["paired"]
    assert paired["only_second_right"] == (right["b"] & ~right["a"]).sum()
    assert paired["groups"] == len(set(test.groups)) < paired["images"] == IMAGES
    for each in results["figures"]:
        report = json.loads((runs[0] / "report.json").read_text())["test"]
        assert each["first"] == report[each["name"]]
        assert list(each["first_interval"]) == report["intervals"][each["name"]]


def test_a_run_against_itself_does_not_differ(runs):
    results = side_by_side(runs[0], runs[0])
    assert {row["difference"] for row in results["paired"]["differences"]} == {0}
    assert {row["better"] for row in results["paired"]["classes"]} == {"none"}
    assert results["settings"] == []
    assert sentences(results)[0].startswith("No difference that these pictures show")
    assert "Nothing that the reports record" in visible(side_by_side_page(results))


def test_the_mean_of_a_figure_has_the_draws_of_the_balanced_accuracy(made):
    _, right, test = made
    labels = np.zeros(IMAGES, np.int64)  # of one class both figures are the same
    draws = Resamples(labels, test.groups, seeds=1)
    mean, balanced = draws.mean(right["a"].astype(float)), draws.balanced_accuracy(right["a"][:, None])
    assert mean.value == pytest.approx(balanced.value)
    np.testing.assert_allclose(mean.draws, balanced.draws)


def test_settings_that_differ_are_listed_and_others_are_not(runs):
    change_report(runs[1], lambda report: report["versions"].update(keras="9.9", jax="1"))
    settings = {row["name"]: (row["first"], row["second"]) for row in side_by_side(*runs)["settings"]}
    assert settings == {
        "phases.head.lr": (1e-3, 1e-4),
        "version of keras": ("3.15.1", "9.9"),
        "version of jax": (None, "1"),
    }


def test_pictures_are_the_same_by_content_whatever_their_order_and_names(runs):
    rows, (a, b) = rows_of(runs[1]), runs
    before = side_by_side(a, b)
    change_report(b, lambda report: report["data"].update(digest="another", image_size=[48, 48]))
    put_rows(b, [{**row, "name": f"moved/{row['name']}"} for row in rows])
    assert side_by_side(a, b)["paired"] == before["paired"]


def test_only_pictures_of_both_tests_count(made, runs):
    _, right, _ = made
    rows = rows_of(runs[1])
    for row in rows[:30]:
        row["content"] = f"other {row['name']}"
    put_rows(runs[1], rows)
    results = side_by_side(*runs)
    assert [results["common"][key] for key in ("images", "only_first", "only_second")] == [IMAGES - 30, 30, 30]
    accuracy = results["paired"]["differences"][1]
    assert accuracy["first"] == pytest.approx(right["a"][30:].mean())
    assert accuracy["second"] == pytest.approx(right["b"][30:].mean())


def test_without_content_pictures_of_the_same_folders_are_the_same_by_name(runs):
    for run in runs:
        put_rows(run, [{**row, "content": ""} for row in rows_of(run)])
    change_report(runs[1], lambda report: report["data"].update(digest="another"))
    results = side_by_side(*runs)
    assert results["common"]["basis"] == "names"
    assert "They were recognised by their names; their content was not compared." in sentences(results)
    change_report(runs[1], lambda report: report["recipe"].update(places={"root": "/elsewhere"}))
    results = side_by_side(*runs)
    assert results["paired"] is None
    assert "they read different places" in results["common"]["why"]
    assert sentences(results)[0] == "No difference is given: the tests are not of the same pictures."


def test_a_table_of_an_earlier_kt_is_read(runs):
    for run in runs:
        lines = (run / "splits.csv").read_text(encoding="utf-8").splitlines()
        (run / "splits.csv").write_text("".join(f"{line.rpartition(',')[0]}\n" for line in lines), encoding="utf-8")
    assert side_by_side(*runs)["common"]["basis"] == "content"  # by the digest of all pictures


def test_too_few_common_pictures_give_no_difference(runs):
    rows = rows_of(runs[1])
    for row in rows[19:]:
        row["content"] = f"other {row['name']}"
    put_rows(runs[1], rows)
    results = side_by_side(*runs)
    assert results["paired"] is None
    assert results["common"]["why"] == "The runs have only 19 test pictures in common; a difference takes at least 20."
    page = visible(side_by_side_page(results))
    assert "only 19 test pictures" in page and "B minus A" not in page


def test_a_picture_of_another_class_in_each_run_is_left_out_and_counted(made, runs):
    rows = rows_of(runs[1])
    rows[0]["content"], rows[1]["content"] = rows[1]["content"], rows[0]["content"]  # of two classes
    put_rows(runs[1], rows)
    results = side_by_side(*runs)
    assert [results["common"][key] for key in ("images", "relabelled", "only_first")] == [IMAGES - 2, 2, 0]
    assert "2 more are of another class in each run, and left out." in sentences(results)


def test_pictures_of_one_group_in_either_run_stay_together():
    joined = _joined(["a", "a", "b", "c", "d"], ["1", "2", "2", "3", "4"])
    assert joined[0] == joined[1] == joined[2]
    assert len(set(joined)) == 3
    assert len(set(_joined(["a", "b"], ["b", "a"]))) == 2  # names of one run mean nothing in the other


def test_a_class_differs_only_beyond_chance_after_correction(made, runs):
    rows = {row["label"]: row for row in side_by_side(*runs)["paired"]["classes"]}
    assert set(rows) == set(CLASSES)
    for row in rows.values():
        assert row["adjusted_p_value"] >= row["p_value"]
        assert (row["better"] != "none") == (row["adjusted_p_value"] < 0.05)
        assert row["only_second_right"] - row["only_first_right"] == pytest.approx(row["difference"] * row["images"])


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda run: shutil.rmtree(run), "There is no .*b; kt runs shows which runs there are."),
        (lambda run: (run / "report.json").unlink(), "b has no report yet"),
        (lambda run: (run / "report.json").write_text("{"), "report.json is damaged"),
        (lambda run: change_report(run, lambda report: report["test"].update(accuracy="high")), "accuracy is 'high'"),
    ],
)  # fmt: skip
def test_a_run_without_a_report_is_named_in_one_line(runs, break_it, said):
    break_it(runs[1])
    with pytest.raises(ReleaseError, match=said) as raised:
        side_by_side(*runs)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda run: shutil.rmtree(run / "answers"), "does not hold what its model says of the test examples"),
        (lambda run: (run / "splits.csv").unlink(), "splits.csv can't be read"),
        (lambda run: put_rows(run, rows_of(run)[1:]), "splits.csv does not list the test examples that were scored"),
    ],
)
def test_a_run_that_lacks_its_answers_is_shown_without_a_difference(runs, break_it, said):
    break_it(runs[1])
    results = side_by_side(*runs)
    assert results["paired"] is None and said in results["common"]["why"]
    assert {row["name"] for row in results["figures"]} == set(HEADLINES)
    assert said in visible(side_by_side_page(results))


def test_names_on_the_page_are_shown_and_not_obeyed(runs):
    change_report(runs[1], lambda report: report["recipe"].update(name=HOSTILE, resolved={HOSTILE: HOSTILE}))
    page = side_by_side_page(side_by_side(*runs))
    assert scripts(page) == [page_script().text]
    elements(page)
    assert visible(page).count(HOSTILE) > 4


def kt(*arguments: object) -> subprocess.CompletedProcess[str]:
    script = (
        "import sys\nfrom kt.cli import main\n"
        "try:\n    main()\nfinally:\n    heavy = {'tensorflow', 'keras', 'jax', 'torch'} & set(sys.modules)\n"
        "    print('loaded', *sorted(heavy), file=sys.stderr)"
    )
    return subprocess.run(
        [sys.executable, "-c", script, "report", *map(str, arguments)],
        env={**os.environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_verb_writes_the_page_into_the_second_run_and_loads_no_tensorflow(runs):
    done = kt(*runs)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "loaded"
    assert done.stdout.startswith("B is better: balanced accuracy of B minus that of A +0.")
    (page,) = runs[1].glob("against-*.html")
    assert "The difference on the same test pictures" in page.read_text(encoding="utf-8")
    assert page.name == f"against-{runs[0].parent.name}-a.html"


def test_the_verb_prints_json_and_refuses_json_of_one_run(runs, tmp_path):
    done = kt(*runs, "--json", "--out", tmp_path / "page.html")
    assert json.loads(done.stdout)["paired"]["images"] == IMAGES
    assert (tmp_path / "page.html").is_file()
    assert not list(runs[1].glob("against-*"))
    refused = kt(runs[0], "--json")
    assert refused.returncode == 2 and "go with two runs" in refused.stderr


def test_the_docs_explain_every_key_of_the_json(runs):
    text = (Path(__file__).parent.parent / "docs" / "report.md").read_text(encoding="utf-8")
    section = text[text.index("## Two runs side by side") : text.index("## A section of one's own")]
    results = side_by_side(*runs)
    keys = {*results, *results["runs"][0], *results["figures"][0], *results["common"], *results["paired"],
            *results["paired"]["differences"][0], *results["paired"]["classes"][0],
            *results["settings"][0]}  # fmt: skip
    assert {key for key in keys if not re.search(rf"\b{key}\b", section)} == set()


def test_the_hash_of_a_file_goes_with_its_picture():
    part = Split(
        np.zeros((3, 2, 2, 3), np.uint8), np.arange(3), ("a", "b", "c"), ("a", "b", "c"), hashes=("1", "2", "3")
    )
    assert part.take(np.array([2, 0])).hashes == ("3", "1")
