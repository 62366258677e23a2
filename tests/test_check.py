"""`kt check` as a whole: its table, its JSON, its page, its file of decisions and its exit codes."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import make_folder
from PIL import Image

from kt.checkup.result import Checkup
from kt.cli.check import _sentence
from kt.data import Folder
from kt.errors import WeightsError
from kt.findings import KINDS, Finding, Fix
from kt.report.checked import page_of
from kt.report.findings import CARDS, for_report, shown_kinds
from kt.runs.found import _summary


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve readable pictures of each of two classes, one file that is none, and a copy under the other class."""
    root = make_folder(tmp_path / "photos", {"blue": 12, "red": 12})
    (root / "red" / "torn.png").write_bytes((root / "red" / "000.png").read_bytes()[:60])
    shutil.copy(root / "blue" / "003.png", root / "red" / "blue again.png")
    return root


def kinds_of(told: str) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for finding in json.loads(told)["findings"]:
        found.setdefault(finding["kind"], []).append(finding)
    return found


def test_what_is_wrong_is_told_with_its_remedy_and_nothing_is_changed(photos: Path, kt_ends) -> None:
    before = {file: file.read_bytes() for file in photos.rglob("*.png")}
    code, out, err = kt_ends("check", photos, "--quick", "--json")
    assert code == 0, err
    found = kinds_of(out)
    assert [each["items"] for each in found["unreadable"]] == [["red/torn.png"]]
    assert [sorted(each["items"]) for each in found["label_conflict"]] == [["blue/003.png", "red/blue again.png"]]
    assert all(each["advice"].endswith(".") and each["words"].endswith(".") for each in json.loads(out)["findings"])
    assert {file: file.read_bytes() for file in photos.rglob("*.png")} == before


def test_the_table_has_a_row_a_kind_the_worst_first(photos: Path, kt_ends) -> None:
    code, out, err = kt_ends("check", photos, "--quick")
    assert code == 0, err
    lines = out.splitlines()
    assert "26 pictures of 2 classes" in lines[0]
    severities = [line.split()[0] for line in lines[2:] if line.strip()]
    assert severities == sorted(severities, key=("error", "warning", "note").index)
    assert any("red/torn.png" in line for line in lines)


def test_strict_fails_a_build_and_a_clean_folder_passes(photos: Path, tmp_path: Path, kt_ends) -> None:
    assert kt_ends("check", photos, "--quick", "--strict")[0] == 1
    random = np.random.default_rng(0)
    for label in ("one", "other"):  # enough pictures, and no colour that tells the classes apart
        (tmp_path / "clean" / label).mkdir(parents=True)
        for number in range(40):
            coarse = Image.fromarray(random.integers(40, 216, (6, 6, 3), dtype=np.uint8))
            coarse.resize((64, 64), Image.Resampling.BICUBIC).save(tmp_path / "clean" / label / f"{number:02d}.png")
    code, out, err = kt_ends("check", tmp_path / "clean", "--quick", "--strict")
    assert code == 0, out + err
    assert "nothing was found" in out


def test_decisions_are_written_once_and_a_recipe_applies_them(photos: Path, tmp_path: Path, kt_ends) -> None:
    fixes = tmp_path / "fixes.csv"
    code, out, err = kt_ends("check", photos, "--quick", "--fix", fixes)
    assert code == 0, err
    rows = list(csv.DictReader(fixes.open(newline="")))
    accepted = [row["path"] for row in rows if row["apply"] == "yes"]
    assert sorted(accepted) == ["blue/003.png", "red/blue again.png", "red/torn.png"]
    listed = Folder(photos, image_size=(16, 16), fixes=fixes)()
    assert not listed.skipped
    code, _, err = kt_ends("check", photos, "--quick", "--fix", fixes)
    assert code == 2
    assert "is there already" in err
    code, out, err = kt_ends("check", photos, "--quick", "--apply", fixes, "--json")
    assert not {"unreadable", "label_conflict"} & set(kinds_of(out))


def test_a_table_and_a_recipe_are_checked_too(photos: Path, tmp_path: Path, kt_ends) -> None:
    table = photos / "labels.csv"
    table.write_text("path,label\n" + "".join(
        f"{file.relative_to(photos).as_posix()},{file.parent.name}\n" for file in sorted(photos.rglob("*.png"))
    ))  # fmt: skip
    code, out, err = kt_ends("check", table, "--quick", "--json")
    assert code == 0, err
    assert [each["items"] for each in kinds_of(out)["unreadable"]] == [["red/torn.png"]]
    assert kt_ends("new", tmp_path / "mine.py", "--data", photos)[0] == 0
    code, out, err = kt_ends("check", tmp_path / "mine.py", "--quick", "--json")
    assert code == 0, err
    assert "unreadable" in kinds_of(out)


def test_a_folder_without_classes_is_checked_as_far_as_that_goes(photos: Path, kt_ends) -> None:
    code, out, err = kt_ends("check", photos / "red", "--quick", "--json")
    assert code == 0, err
    found = kinds_of(out)
    assert "No class in" in found["layout"][0]["words"]
    assert [each["items"] for each in found["unreadable"]] == [["torn.png"]]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["gone"], 3, "There is no gone"),
        (["photos", "--accept", "group"], 2, "give --fix too"),
        (["photos", "--fix", "f.csv", "--accept", "groups"], 2, "'groups' is no kind of finding"),
        (["photos", "--html", "no/where.html"], 2, "There is no folder"),
        (["photos", "--apply", "gone.csv"], 3, "Cannot read the table"),
        (["photos", "--seed", "-1"], 2, "--seed must be from 0"),
    ],
)
def test_a_wrong_call_ends_in_one_line(photos: Path, kt_ends, monkeypatch, arguments, code, message) -> None:
    monkeypatch.chdir(photos.parent)
    ended, _, err = kt_ends("check", *arguments, "--quick")
    assert ended == code, err
    assert message in err


def test_without_weights_the_rest_is_told_all_the_same(photos: Path, kt_ends, monkeypatch) -> None:
    def no_network(*_arguments: object, **_named: object) -> None:
        raise WeightsError("There is no network.")

    monkeypatch.setattr("kt.checkup.features.probe_network", no_network)
    code, out, err = kt_ends("check", photos, "--json")
    assert code == 0, err
    assert json.loads(out)["left_out"] == [
        "likely wrong labels, outliers, groups, and whether test looks like train: There is no network."
    ]
    assert {"unreadable", "label_conflict"} <= set(kinds_of(out))


def test_decisions_on_pictures_that_are_gone_are_told(photos: Path, tmp_path: Path, kt_ends) -> None:
    (tmp_path / "fixes.csv").write_text("path,action\nred/torn.png,leave_out\nred/gone.png,leave_out\n")
    code, out, err = kt_ends("check", photos, "--quick", "--json", "--apply", tmp_path / "fixes.csv")
    assert code == 0, err
    assert "1 path is of no picture of this data, such as red/gone.png in line 3" in err
    assert "unreadable" not in kinds_of(out)


def test_the_page_shows_the_pictures_and_copies_the_fix(photos: Path, tmp_path: Path, kt_ends) -> None:
    page = tmp_path / "check.html"
    assert kt_ends("check", photos, "--quick", "--html", page)[0] == 0
    text = page.read_text()
    assert text.count('src="data:image/jpeg;base64,') >= 2  # the two of the conflict
    assert "yes,red/torn.png,leave_out" in text
    assert "red/blue again.png" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text)


def test_names_and_words_in_the_page_are_escaped() -> None:
    name = '<img src=x onerror=alert(1)>"&.png'
    finding = Finding("copy", "warning", (name,), f"{name} is a copy.", "Look.", (Fix(name, "leave_out"),))
    page = page_of(Checkup("folder x", 1, {"a": 1}, {}, (finding,)))
    assert "<img src=x" not in page


def test_many_findings_of_a_kind_are_counted_and_not_all_shown() -> None:
    many = [Finding("blurred", "note", (f"{number}.png",), "It is blurred.", "Look.") for number in range(CARDS + 5)]
    (kind,) = shown_kinds(many, lambda _: "")
    assert (kind.count, len(kind.findings), kind.more) == (CARDS + 5, CARDS, 5)
    told = for_report(many)
    assert len(told["findings"]) == CARDS
    assert told["findings_more"] == {"blurred": 5}


def test_every_kind_is_in_the_docs() -> None:
    text = (Path(__file__).parents[1] / "docs" / "check.md").read_text(encoding="utf-8")
    assert not [kind for kind in KINDS if f"`{kind}`" not in text]


def test_a_column_of_labels_with_an_unusual_name_is_named_for_each_verb(photos: Path, tmp_path: Path, kt_ends) -> None:
    (photos / "red" / "torn.png").unlink()
    (photos / "red" / "blue again.png").unlink()
    table = tmp_path / "photos.csv"
    files = sorted(photos.rglob("*.png"))
    rows = [(file.relative_to(tmp_path), file.parent.name, f"by {place % 4}") for place, file in enumerate(files)]
    table.write_text("file,quality,person\n" + "".join(f"{file},{label},{who}\n" for file, label, who in rows))
    for verb in (("check", table, "--quick"), ("new", tmp_path / "a.py", "--data", table), ("show", table)):
        code, _, err = kt_ends(*verb)
        assert code == 3
        assert "--label NAME, or for kt run --set data.label_column=NAME" in err
    code, out, err = kt_ends(
        "check", table, "--quick", "--label", "quality", "--group-by", "person", "--fix", tmp_path / "f.csv"
    )
    assert code == 0, err
    assert "24 pictures of 2 classes" in out
    settings = ["--set", "data.label_column=quality", "--set", "data.group_by=person"]
    assert f"kt run {table} {' '.join(settings)} --set data.fixes={tmp_path / 'f.csv'} applies them" in out
    code, out, err = kt_ends("show", table, *settings)
    assert code == 0, err
    assert "label_column=quality" in out
    assert "--label quality" in err  # the command that writes the recipe works too
    code, _, err = kt_ends("new", tmp_path / "b.py", "--data", table, "--label", "quality")
    assert code == 0, err
    assert 'label_column="quality"' in (tmp_path / "b.py").read_text()


def test_a_column_of_labels_goes_with_a_table_alone(photos: Path, tmp_path: Path, kt_ends) -> None:
    for verb in (("check", photos), ("new", tmp_path / "c.py", "--data", photos), ("advise", photos)):
        code, _, err = kt_ends(*verb, "--label", "quality")
        assert code == 2
        assert "--label names a column of a table" in err


def test_one_class_alone_is_an_error_since_kt_run_refuses_it(tmp_path: Path, kt_ends) -> None:
    make_folder(tmp_path / "photos", {"blue": 12})
    code, out, err = kt_ends("check", tmp_path / "photos", "--json", "--strict")
    assert code == 1, err
    (found,) = kinds_of(out)["layout"]
    assert found["severity"] == "error"
    assert "one class, 'blue', and kt run needs at least two" in found["words"]


def test_proposed_groups_are_counted_without_the_sentence_that_sums_them_up() -> None:
    whole = Finding("group", "note", ("a.png",), "Cross-validation gives 0.99.", "Look at the groups.")
    group = Finding(
        "group", "note", ("a.png", "b.png"), "These 2 seem to show one thing.", "Accept it.",
        fixes=(Fix("a.png", "group", "thing-1"), Fix("b.png", "group", "thing-1")),
    )  # fmt: skip
    assert _sentence([whole, group, group]) == ("2 groups that seem to show one thing. Cross-validation gives 0.99.")
    (kind,) = shown_kinds([whole, group, group], lambda name: "")
    assert kind.count == 2


def test_a_run_points_to_decisions_only_where_there_are_some() -> None:
    few = Finding("few_things", "warning", (), "Few.", "Take more.")
    copy = Finding("copy", "warning", ("a.png", "b.png"), "A copy.", "Keep one.", fixes=(Fix("b.png", "leave_out"),))
    assert _summary([few]).endswith("the report shows it")
    assert _summary([few, copy]).endswith("and kt check DATA --fix fixes.csv proposes what to do")
    assert _summary([Finding("dark", "note", ("a.png",), "Dark.", "Look at it.")]) == ""


def test_a_class_of_which_no_picture_can_be_read_is_an_error_and_its_files_count_for_nothing(
    photos: Path, kt_ends
) -> None:
    (photos / "green").mkdir()
    for number in range(40):
        (photos / "green" / f"{number}.png").write_bytes(b"")
    code, out, err = kt_ends("check", photos, "--quick", "--json")
    assert code == 0, err
    found = kinds_of(out)
    assert [each["words"] for each in found["layout"]] == [
        "The class 'green' has no picture that can be read, so kt run can't train on the data."
    ]
    assert not any("green" in each["words"] for each in found["few_things"])
    for file in photos.rglob("*.png"):
        file.write_bytes(b"")
    code, out, err = kt_ends("check", photos, "--json")
    assert code == 0, err
    assert "The classes 'blue', 'green', 'red' have no picture" in kinds_of(out)["layout"][0]["words"]


def test_a_class_that_can_not_be_divided_says_how_many_pictures_are_needed(tmp_path: Path, kt_ends) -> None:
    make_folder(tmp_path / "photos", {"blue": 12, "red": 2})
    _, out, _ = kt_ends("check", tmp_path / "photos", "--quick", "--json")
    (error,) = [each for each in kinds_of(out)["few_things"] if each["severity"] == "error"]
    assert error["words"] == "The class red shows only 2 independent pictures, and kt run needs 3, one for each split."


def test_a_file_that_only_ends_like_a_zip_is_called_that(tmp_path: Path, kt_ends) -> None:
    (tmp_path / "photos.zip").write_text("no zip")
    code, _, err = kt_ends("check", tmp_path / "photos.zip")
    assert code == 3
    assert "it is no zip, or a damaged one" in err
