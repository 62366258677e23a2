"""The main job from the command line: what a run leaves behind, and what the verbs say of it."""

import csv
import hashlib
import json
import shutil
import zipfile

import numpy as np
import pytest
from conftest import draw, kt, make_folder
from resuming import differences, weights_of

from kt.export.formats import NAMES
from kt.recipe import EXPORTS


def test_json_stands_alone_on_standard_output_and_is_the_report(ran):
    assert len(ran.stdout.strip().splitlines()) == 1
    on_disk = json.loads((ran.folder / "runs/tiny/LATEST/report.json").read_text())
    assert on_disk == ran.results


def test_the_documented_keys_are_there(ran):
    results = ran.results
    assert 0 <= results["test"]["accuracy"] <= 1
    assert 0 <= results["test"]["balanced_accuracy"] <= 1
    assert results["seconds"] > 0
    assert results["seed"] == 1
    for phase in results["phases"]:
        assert phase["name"] and phase["trainable_parameters"] > 0 and phase["seconds"] > 0
    for artifact in results["artifacts"]:
        assert {"name", "path", "released", "agreement", "accuracy", "bytes"} <= artifact.keys()


def test_the_report_is_headed_by_the_first_line_of_the_docstring(ran):
    assert ran.results["recipe"]["description"] == "A tiny network on pictures of one's own, for the tests."


def test_it_learns_what_is_easy(ran):
    low, _ = ran.results["test"]["intervals"]["balanced_accuracy"]
    assert low > 1 / 3, "no better than chance on pictures whose hue tells the class"


def test_each_phase_trained_what_it_should(ran):
    head, fine = ran.results["phases"]
    assert (head["first_trainable"], head["trainable_parameters"]) == ("head", 8 * 3 + 3)
    assert (fine["first_trainable"], fine["trainable_parameters"]) == ("block_2", 8 * 3 + 3 + 8 * 8 * 9 + 8)


def test_a_broken_file_is_named_counted_and_skipped(ran):
    assert ran.results["data"]["skipped"][0]["name"] == "red/broken.jpg"
    assert "skipped red/broken.jpg" in ran.stderr


def test_classes_are_sorted_and_written_into_every_artefact(ran):
    classes = ["blue", "green", "red"]
    version = ran.folder / "saved_models/tiny/1"
    assert ran.results["data"]["classes"] == classes
    assert (ran.folder / "runs/tiny/LATEST/labels.txt").read_text().split() == classes
    assert (version / "assets/labels.txt").read_text().split() == classes
    assert json.loads((version / "kt.json").read_text())["classes"] == classes
    with zipfile.ZipFile(version / "tiny_int8.tflite") as archive:
        assert archive.read("labels.txt").decode().split() == classes


def test_the_released_version_has_the_model_card_of_the_run(ran):
    card = (ran.folder / "saved_models/tiny/1/MODEL_CARD.md").read_text(encoding="utf-8")
    assert card == (ran.folder / "runs/tiny/LATEST/MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"{ran.results['test']['balanced_accuracy']:.3f}" in card and "- version: 1\n" in card


def test_the_split_is_written_and_covers_every_readable_picture_once(ran):
    with (ran.folder / "runs/tiny/LATEST/splits.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["name"] for row in rows}) == len(rows) == 90
    for row in rows:
        picture = next(ran.folder.rglob(row["name"]))
        assert row["content"] == hashlib.sha256(picture.read_bytes()).hexdigest()
    counts = ran.results["data"]["counts"]
    assert {name: sum(by.values()) for name, by in counts.items()} == {"train": 60, "validation": 12, "test": 18}


def test_every_artefact_was_checked_on_every_test_picture_and_released(ran):
    names = {artifact["format"] for artifact in ran.results["artifacts"]}
    assert names == {"saved_model", "tflite_float32", "tflite_float16", "tflite_int8"}
    for artifact in ran.results["artifacts"]:
        assert artifact["released"] and artifact["images"] == 18
        assert (ran.folder / artifact["path"]).exists()
    exact = [a for a in ran.results["artifacts"] if a["format"] in ("saved_model", "tflite_float32")]
    assert all(artifact["largest_score_difference"] < 1e-4 for artifact in exact)


def test_the_curves_are_kept_for_other_tools(ran):
    history = json.loads((ran.folder / "runs/tiny/LATEST/history.json").read_text())
    assert [len(history[name]["val_loss"]) for name in ("train_head", "fine_tune")] == [4, 2]
    assert list((ran.folder / "runs/tiny/LATEST/logs").glob("*/events.*"))


def test_the_report_page_is_there_and_self_contained(ran):
    page = (ran.folder / "runs/tiny/LATEST/report.html").read_text()
    assert "<svg" in page
    assert 'src="http' not in page


def test_formats_of_recipes_are_those_that_export_can_make():
    assert set(EXPORTS) == set(NAMES)


def test_predict_labels_files_and_folders_and_names_what_it_cannot_read(ran, tmp_path, kt_here):
    make_folder(tmp_path / "new", {"red": 3})
    draw("green", 99).save(tmp_path / "one.jpg", quality=95)
    (tmp_path / "new" / "bad.png").write_bytes(b"no")
    done = kt_here("predict", str(ran.folder / "saved_models/tiny"), "one.jpg", "new", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["path"] for row in rows] == ["one.jpg", "new/bad.png", *(f"new/red/00{i}.png" for i in range(3))]
    assert "error" in rows[1] and "new/bad.png" in done.stderr
    for row in rows[:1] + rows[2:]:
        assert row["label"] == max(row["scores"], key=row["scores"].get)
        assert row["score"] == row["scores"][row["label"]]
        assert sum(row["scores"].values()) == pytest.approx(1, abs=1e-4)


def test_saved_model_and_tflite_predict_the_same(ran, kt_here):
    place = ran.folder / "saved_models/tiny"
    answers = []
    for model in (place, place / "1/tiny_float32.tflite"):
        done = kt_here("predict", str(model), "pictures/red", "--json", cwd=ran.folder)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        answers.append([list(row["scores"].values()) for row in rows if "scores" in row])
    assert np.abs(np.array(answers[0]) - np.array(answers[1])).max() < 1e-4


def test_evaluate_on_the_tests_own_pictures_gives_the_reports_figures(ran, tmp_path, kt_here):
    with (ran.folder / "runs/tiny/LATEST/splits.csv").open() as file:
        for row in csv.DictReader(file):
            if row["split"] == "test":
                (tmp_path / "held" / row["label"]).mkdir(parents=True, exist_ok=True)
                shutil.copy(ran.folder / "pictures" / row["name"], tmp_path / "held" / row["name"])
    done = kt_here("evaluate", str(ran.folder / "saved_models/tiny"), "--data", "held", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["accuracy"] == ran.results["test"]["accuracy"]
    assert measured["log_loss"] == pytest.approx(ran.results["test"]["log_loss"], abs=1e-4)


def test_evaluate_refuses_a_class_that_the_model_does_not_know(ran, tmp_path, kt_here):
    make_folder(tmp_path / "held", {"red": 1})
    (tmp_path / "held/red").rename(tmp_path / "held/purple")
    done = kt_here("evaluate", str(ran.folder / "saved_models/tiny"), "--data", "held", cwd=tmp_path)
    assert done.returncode == 3
    assert "knows no class 'purple'" in done.stderr


@pytest.mark.slow
def test_export_makes_the_next_version_from_a_finished_run(ran, kt_here):
    done = kt_here("export", "runs/tiny/LATEST", "--format", "tflite", "--json", cwd=ran.folder)
    assert done.returncode == 0, done.stderr
    released = ran.folder / json.loads(done.stdout)["released_to"]
    assert sorted(path.name for path in released.iterdir()) == [
        "MODEL_CARD.md", "kt.json", "tiny_float16.tflite", "tiny_float32.tflite", "tiny_int8.tflite",
    ]  # fmt: skip
    card = (released / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"- version: {released.name}\n" in card and "tiny_int8.tflite" in card
    shutil.rmtree(released)


@pytest.mark.slow
def test_export_refuses_when_the_pictures_have_changed(ran, tmp_path, kt_here):
    shutil.copytree(ran.folder, tmp_path / "moved", symlinks=True)
    report = tmp_path / "moved/runs/tiny/LATEST/report.json"
    report.write_text(report.read_text().replace(str(ran.folder / "pictures"), str(tmp_path / "moved/pictures")))
    draw("red", 1000).save(tmp_path / "moved/pictures/red/001.png")
    done = kt_here("export", "runs/tiny/LATEST", cwd=tmp_path / "moved")
    assert done.returncode == 3
    assert "are not those of" in done.stderr


@pytest.mark.slow
def test_export_judges_by_the_pictures_that_the_run_kept_where_its_own_are_gone(ran, tmp_path, kt_here):
    shutil.copytree(ran.folder / "runs", tmp_path / "runs", symlinks=True)
    report = tmp_path / "runs/tiny/LATEST/report.json"
    report.write_text(report.read_text().replace(str(ran.folder / "pictures"), "/gone/pictures"))
    done = kt_here("export", "runs/tiny/LATEST", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (line,) = [one for one in done.stderr.splitlines() if "kept" in one and "tries" not in one and "  " not in one]
    assert "are not there; tried: /gone/pictures" in line
    assert line.endswith("The exports are judged by 18 test pictures that the run kept.")
    told = json.loads(done.stdout)
    for artifact in told["artifacts"]:
        assert artifact["released"] and artifact["images"] == 18, artifact["reason"]
        assert artifact["note"].endswith("judged by 18 test pictures that the run kept")
    card = json.loads((tmp_path / told["released_to"] / "kt.json").read_text())
    assert card["test"]["images"] == 18
    assert card["classes"] == ["blue", "green", "red"]
    assert not list((tmp_path / "runs/tiny/LATEST").resolve().glob(".work-*"))
    shutil.rmtree((tmp_path / "runs/tiny/LATEST").resolve() / "sample")
    refused = kt_here("export", "runs/tiny/LATEST", cwd=tmp_path)
    assert refused.returncode == 3
    assert "are not there; tried: /gone/pictures" in refused.stderr


@pytest.mark.slow
def test_the_same_seed_gives_the_same_model_bit_for_bit_and_another_seed_does_not(ran, tmp_path):
    def again(seed):
        done = kt(
            "run", "tiny.py", "--json", "--seed", seed, "--set", "export=", "--runs", str(tmp_path), cwd=ran.folder
        )
        assert done.returncode == 0, done.stderr
        return figures(json.loads(done.stdout)), weights_of(tmp_path / "tiny/LATEST/model.keras")

    def figures(results):
        return results["phases"][1]["history"]["loss"], results["test"]["log_loss"]

    (same, weights), (other, others) = again("1"), again("2")
    assert same == figures(ran.results)
    assert [*differences(weights, weights_of(ran.folder / "runs/tiny/LATEST/model.keras"), within=0.0)] == []
    assert same != other
    assert [*differences(weights, others, within=0.0)]


@pytest.mark.slow
def test_without_the_cache_the_run_comes_to_the_same(ran, tmp_path, kt_here):
    assert [phase["inputs"] for phase in ran.results["phases"]] == [
        "stored outputs of pool",
        "stored outputs of block_1_relu",
    ]
    done = kt_here("run", "tiny.py", "--json", "--seed", "1", "--set", "export=", "--no-cache", "--runs", str(tmp_path),
              cwd=ran.folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    for ordinary, cached in zip(results["phases"], ran.results["phases"], strict=True):
        assert ordinary["inputs"] == "pixels"
        assert ordinary["history"]["loss"] == pytest.approx(cached["history"]["loss"], abs=1e-5)
    assert results["test"]["balanced_accuracy"] == ran.results["test"]["balanced_accuracy"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_same_recipe_trains_on_other_backends_and_gives_the_same_files(ran, tmp_path, backend):
    pytest.importorskip(backend)
    done = kt("run", "tiny.py", "--json", "--backend", backend, "--runs", str(tmp_path / "runs"),
              "--saved-models", str(tmp_path / "models"), cwd=ran.folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results["backend"] == backend
    assert all(artifact["released"] for artifact in results["artifacts"]), results["artifacts"]
    assert {path.name for path in (tmp_path / "models/tiny/1").iterdir()} == {
        path.name for path in (ran.folder / "saved_models/tiny/1").iterdir()
    }


@pytest.mark.slow
def test_mixed_precision_trains_and_still_exports_a_float32_model(ran, tmp_path):
    done = kt("run", "tiny.py", "--json", "--mixed-precision", "--runs", str(tmp_path / "runs"),
              "--saved-models", str(tmp_path / "models"), cwd=ran.folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results["mixed_precision"]
    exact = [a for a in results["artifacts"] if a["format"] == "tflite_float32"]
    assert exact[0]["released"]


@pytest.mark.slow
def test_when_nothing_mobile_is_left_the_exit_code_says_so(ran, tmp_path):
    recipe = (ran.folder / "tiny.py").read_text().replace("tolerance=0.2,", 'export=["tflite"],')
    (tmp_path / "strict.py").write_text(recipe + BROKEN_CONVERTER)
    shutil.copytree(ran.folder / "pictures", tmp_path / "pictures")
    done = kt("run", "strict.py", cwd=tmp_path)
    assert done.returncode == 6, done.stderr
    assert "No artefact for phones passed" in done.stderr
    assert not list((tmp_path / "saved_models").glob("*/*"))


# Loaded by the export child with the recipe: a converter gone wrong, which mixes the classes up.
BROKEN_CONVERTER = """
import numpy as np
from kt.export.formats.tflite import TFLiteArtifact

right = TFLiteArtifact.scores
TFLiteArtifact.scores = lambda self, pixels: np.roll(right(self, pixels), 1, axis=1)
"""
