"""Decisions on single pictures: what `kt check --fix` writes, a person edits and a source applies."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kt.cli.own_data import own_pictures
from kt.data import Folder, Table
from kt.data.fixes import apply_fixes, read_fixes
from kt.data.items import Item
from kt.errors import DataError
from kt.findings import Finding, Fix, read_findings, worst_first, write_findings, write_fixes

NAMES = [f"{label}/{number}.png" for label in ("bad", "good") for number in range(12)]


def finding(kind: str, *fixes: Fix) -> Finding:
    return Finding(kind, "warning", tuple(fix.path for fix in fixes), "Words.", "Advice.", fixes)


def items(names: list[str] = NAMES) -> list[Item]:
    return [Item(Path(name), name.split("/")[0], name, group=name) for name in names]


def decided(file: Path, *lines: str, head: str = "path,action,value") -> Path:
    file.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for name in NAMES:
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file)
    return tmp_path / "photos"


def names_of(source: Folder | Table) -> dict[str, str]:
    """The label of each picture, over all splits."""
    splits = source()
    return {
        name: splits.classes[label]
        for part in (splits.train, splits.validation, splits.test)
        for name, label in zip(part.names, part.labels, strict=True)
    }


def test_facts_count_at_once_and_proposals_wait_for_a_person(tmp_path: Path) -> None:
    found = [
        finding("copy", Fix("bad/1.png", "leave_out", "", "a copy of bad/0.png")),
        finding("label_error", Fix("good/2.png", "relabel", "bad")),
    ]
    counts = write_fixes(tmp_path / "fixes.csv", found)
    assert counts == {"yes": 1, "no": 1}
    assert [decision.name for decision in read_fixes(tmp_path / "fixes.csv")] == ["bad/1.png"]
    write_fixes(tmp_path / "accepted.csv", found, accept=["label_error"])
    assert {decision.name for decision in read_fixes(tmp_path / "accepted.csv")} == {"bad/1.png", "good/2.png"}


@pytest.mark.parametrize(
    ("kind", "severity", "counts"),
    [("unreadable", "error", True), ("unreadable", "warning", False), ("leak", "error", True),
     ("copy", "warning", True), ("label_conflict", "error", True), ("near_copy", "note", False),
     ("uniform", "warning", False), ("group", "error", False), ("outlier", "note", False)],
)  # fmt: skip
def test_what_can_still_be_used_is_left_out_by_a_person_alone(tmp_path: Path, kind, severity, counts) -> None:
    found = Finding(kind, severity, ("a.png",), "Words.", "Advice.", (Fix("a.png", "leave_out"),))
    assert write_fixes(tmp_path / "fixes.csv", [found]) == {"yes" if counts else "no": 1}


def test_a_picture_that_is_left_out_has_no_other_line(tmp_path: Path) -> None:
    both = [finding("copy", Fix("bad/1.png", "leave_out")), finding("group", Fix("bad/1.png", "group", "thing 1"))]
    write_fixes(tmp_path / "fixes.csv", both)
    with (tmp_path / "fixes.csv").open(newline="") as file:
        assert [row["action"] for row in csv.DictReader(file)] == ["leave_out"]


def test_any_name_of_a_file_comes_back(tmp_path: Path) -> None:
    names = ["bad/=1+1.png", "bad/a,b.png", 'bad/"x".png', "bad/line\nbreak.png", "bad/\udcff.png", "=bad/1.png"]
    write_fixes(tmp_path / "fixes.csv", [finding("copy", *(Fix(name, "leave_out") for name in names))])
    assert [decision.name for decision in read_fixes(tmp_path / "fixes.csv")] == names


def test_a_folder_leaves_out_relabels_and_groups(folder: Path, tmp_path: Path) -> None:
    fixes = decided(
        tmp_path / "fixes.csv", "bad/0.png,leave_out,", "bad/1.png,relabel,good", "bad/2.png,group,leaf 7",
        "good/3.png,group,leaf 7",
    )  # fmt: skip
    labels = names_of(Folder(folder, image_size=(16, 16), fixes=fixes))
    assert set(NAMES) - set(labels) == {"bad/0.png"}
    assert labels["bad/1.png"] == "good"
    splits = Folder(folder, image_size=(16, 16), fixes=fixes)()
    assert "fixes.csv leaves out 1 picture, gives 1 picture another label and groups 2 pictures (1 group)" in (
        splits.facts
    )
    parts = [part for part in (splits.train, splits.validation, splits.test) if "leaf 7" in (part.group_names or ())]
    assert len(parts) == 1
    assert (parts[0].group_names or ()).count("leaf 7") == 2
    assert (folder / "bad/0.png").exists()


def test_a_table_applies_the_same_file(folder: Path, tmp_path: Path) -> None:
    table = folder / "labels.csv"
    table.write_text("path,label\n" + "".join(f"{name},{name.split('/')[0]}\n" for name in NAMES))
    fixes = decided(tmp_path / "fixes.csv", "bad/0.png,leave_out,", "bad/1.png,relabel,good")
    labels = names_of(Table(table, image_size=(16, 16), fixes=fixes))
    assert "bad/0.png" not in labels
    assert labels["bad/1.png"] == "good"


def test_what_stayed_together_still_does(tmp_path: Path) -> None:
    given = [
        replace(item, group="plant" if item.name in ("bad/0.png", "bad/1.png") else item.group) for item in items()
    ]
    fixes = decided(tmp_path / "fixes.csv", "bad/1.png,group,thing", "bad/2.png,group,thing")
    group = {item.name: item.group for item in apply_fixes(given, fixes).items}
    assert group["bad/0.png"] == group["bad/1.png"] == group["bad/2.png"] != group["bad/3.png"]


def test_a_path_without_a_picture_is_told(tmp_path: Path) -> None:
    fixes = decided(tmp_path / "fixes.csv", "bad/0.png,leave_out,", "bad/gone.png,leave_out,")
    done = apply_fixes(items(), fixes)
    assert done.notes == ("fixes.csv: 1 path is of no picture of this data, such as bad/gone.png in line 3",)
    assert len(done.items) == len(NAMES) - 1


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["bad/0.png,remove,"], r":2: action must be one of leave_out, relabel, group, not 'remove'"),
        (["bad/0.png,relabel,"], r":2: relabel needs the label in the column value"),
        (["bad/0.png,relabel,ugly"], r":2: 'ugly' is no class of this data; its classes are bad, good"),
        (["bad/0.png,relabel,good", "bad/0.png,relabel,bad"], r":3: bad/0.png gets 'bad' here and 'good' in line 2"),
        (["other/0.png,leave_out,"], r"names no picture of this data, such as 'other/0.png' in line 2"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        apply_fixes(items(), decided(tmp_path / "fixes.csv", *lines))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file"),
        ("\n\n", "is empty; expected the columns apply, path"),
        ("file,what\na,b\n", "has no column 'path'"),
        ("apply,path,action\nmaybe,a,leave_out\n", ":2: apply must be yes or no, not 'maybe'"),
        ("path,action\n,leave_out\n", ":2: there is no path"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "fixes.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_fixes(tmp_path / "fixes.csv")


def test_a_missing_file_of_fixes_ends_in_one_line(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read the table .*gone\.csv"):
        Folder(folder, fixes=tmp_path / "gone.csv")()


def test_pictures_of_ones_own_have_no_decisions_of_the_recipes(folder: Path, tmp_path: Path) -> None:
    fixes = decided(tmp_path / "fixes.csv", "bad/0.png,leave_out,")
    assert own_pictures(folder, Folder("elsewhere", fixes=fixes)).fixes is None


def test_findings_come_back_from_their_file_and_the_worst_is_first(tmp_path: Path) -> None:
    found = [
        Finding("blurred", "note", ("a.png",), "It is blurred.", "Look at it."),
        Finding("label_error", "warning", ("b.png",), "It looks bad.", "Look.", (Fix("b.png", "relabel", "bad"),), 0.6),
        Finding("label_error", "warning", ("c.png",), "It looks bad.", "Look.", score=0.9, figures={"neighbours": 9}),
        Finding("leak", "error", ("d.png", "e.png"), "They are copies.", "Leave one out."),
    ]
    ordered = worst_first(found)
    assert [each.items[0] for each in ordered] == ["d.png", "c.png", "b.png", "a.png"]
    write_findings(tmp_path / "findings.json", ordered)
    assert read_findings(tmp_path / "findings.json") == tuple(ordered)
    (tmp_path / "findings.json").write_text('{"findings": [{"kind": "leak"}]}')
    with pytest.raises(DataError, match="does not hold the findings of kt check"):
        read_findings(tmp_path / "findings.json")
