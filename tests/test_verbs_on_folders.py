"""`kt evaluate` and `kt predict` on folders as people have them, with a model that was released."""

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
from conftest import Ran, draw, make_folder

LABELS = ("blue", "green", "red")


@pytest.fixture
def model(ran: Ran) -> Path:
    return ran.folder / "saved_models" / "tiny"


def test_evaluate_takes_the_test_of_a_folder_above_it(model: Path, tmp_path: Path, kt_ends) -> None:
    make_folder(tmp_path / "Training", dict.fromkeys(LABELS, 3))
    make_folder(tmp_path / "Testing", dict.fromkeys(LABELS, 2))
    code, out, err = kt_ends("evaluate", model, "--data", tmp_path, "--json")
    assert code == 0, err
    assert json.loads(out)["images"] == 6
    assert "measured on Testing/, 6 pictures; Training/ is not looked at" in err


def test_evaluate_draws_its_intervals_over_things(model: Path, tmp_path: Path, kt_ends) -> None:
    for label in LABELS:
        for plant in range(4):
            make_folder(tmp_path / "all" / label, {f"plant_{plant}": 0})
            for view in range(3):
                draw(label, 10 * plant + view).save(tmp_path / "all" / label / f"plant_{plant}" / f"{view}.png")
    for group_by, groups in (("auto", 12), ("none", 36), (r"(plant_\d)", 4)):
        code, out, err = kt_ends("evaluate", model, "--data", tmp_path, "--json", "--group-by", group_by)
        assert code == 0, err
        assert (json.loads(out)["images"], json.loads(out)["groups"]) == (36, groups)
    assert kt_ends("evaluate", model, "--data", tmp_path, "--group-by", "plant")[0] == 2


def test_evaluate_measures_pictures_whatever_their_names(model: Path, tmp_path: Path, kt_ends) -> None:
    make_folder(tmp_path, dict.fromkeys(LABELS, 4))
    for file in (tmp_path / "red").iterdir():
        draw("red", 7).save(file.with_suffix(".jfif"), "JPEG")
        file.unlink()
    (tmp_path / "blue" / "000.png").rename(tmp_path / "blue" / "photo1")
    code, out, err = kt_ends("evaluate", model, "--data", tmp_path, "--json")
    assert (code, json.loads(out)["images"]) == (0, 12), err


def test_evaluate_ends_where_a_class_has_lost_all_of_its_pictures(model: Path, tmp_path: Path, kt_ends) -> None:
    make_folder(tmp_path, {"red": 3, "green": 3, "blue": 0})
    code, _, err = kt_ends("evaluate", model, "--data", tmp_path)
    assert code == 3 and "A class of" in err and "has no picture: blue/ (empty)" in err
    (tmp_path / "blue" / "page.jpg").write_text("<html>")
    code, _, err = kt_ends("evaluate", model, "--data", tmp_path)
    assert code == 3 and "None of the pictures of blue in" in err and "could be read" in err


def test_evaluate_knows_the_models_classes_where_folders_are_not_clear(model: Path, tmp_path: Path, kt_ends) -> None:
    for label in LABELS:
        make_folder(tmp_path / label, {})
        for place in ("indoors", "outdoors"):
            (tmp_path / label / place).mkdir(parents=True)
            draw(label, len(place)).save(tmp_path / label / place / "0.png")
    code, out, err = kt_ends("evaluate", model, "--data", tmp_path, "--json")
    assert (code, json.loads(out)["images"]) == (0, 6), err


def test_evaluate_takes_another_spelling_of_a_class(model: Path, tmp_path: Path, kt_ends) -> None:
    make_folder(tmp_path, dict.fromkeys(LABELS, 2))
    (tmp_path / "red").rename(tmp_path / "Red ")
    code, out, err = kt_ends("evaluate", model, "--data", tmp_path, "--json")
    assert (code, json.loads(out)["images"]) == (0, 6), err


# ------------------------------------------------------------------------------------------------ kt predict


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Pictures with and without suffixes, a broken one, and what is none."""
    folder = tmp_path / "mixed"
    (folder / "deep").mkdir(parents=True)
    draw("red", 1).save(folder / "a.jfif", "JPEG")
    draw("red", 2).save(folder / "deep" / "photo", "PNG")
    (folder / "broken.heic").write_bytes(b"-")
    (folder / "notes.txt").write_text("-")
    (folder / "self.png").symlink_to("self.png")
    (folder / "self").symlink_to("self")
    os.mkfifo(folder / "pipe")
    return folder


def test_predict_answers_or_names_each_file(model: Path, mixed: Path, kt_ends) -> None:
    code, out, err = kt_ends("predict", model, mixed)
    assert code == 0
    assert [Path(line.split("\t")[0]).name for line in out.splitlines()] == ["a.jfif", "photo"]
    assert "broken.heic: " in err and "self.png: not a file (a link to itself)" in err
    assert f"left out, for they are no pictures that kt reads: 1 .txt ({mixed / 'notes.txt'})" in err
    assert f"left out: 1 link to itself ({mixed / 'self'}), 1 pipe ({mixed / 'pipe'})" in err


def test_a_table_of_predictions_says_what_was_left_out(model: Path, mixed: Path, kt_ends) -> None:
    out = mixed.parent / "scores.csv"
    code, told, err = kt_ends("predict", model, mixed, "--out", out)
    assert code == 0, err
    assert "4 pictures, 2 of them can't be read; left out: 1 .txt, 1 link to itself, 1 pipe;" in told
    rows = list(csv.DictReader(out.open()))
    assert [Path(row["path"]).name for row in rows] == ["a.jfif", "broken.heic", "photo", "self.png"]
    assert [bool(row["error"]) for row in rows] == [False, True, False, True]
    code, told, _ = kt_ends("predict", model, mixed, "--out", mixed.parent / "again.csv", "--json")
    assert json.loads(told)["left_out"] == "1 .txt, 1 link to itself, 1 pipe"


def test_a_file_that_is_named_is_tried_or_told_why_not(model: Path, mixed: Path, kt_ends) -> None:
    shutil.copy(mixed / "a.jfif", mixed / "a.txt")
    (mixed / "gone").symlink_to("nowhere")
    named = [mixed / name for name in ("a.txt", "notes.txt", "gone", "self", "pipe")]
    code, out, err = kt_ends("predict", model, *named)
    assert code == 0
    assert [Path(line.split("\t")[0]).name for line in out.splitlines()] == ["a.txt"]
    assert "notes.txt: not a " in err
    assert "gone: no such file (a link that leads nowhere)" in err
    assert "self: not a file (a link to itself)" in err
    assert "pipe: not a file (a pipe)" in err
