"""Spellings of one class are one class, and what can be no label is refused."""

import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from kt.data import Folder, Split, Splits
from kt.data.labels import check_label, class_of, one_class
from kt.errors import DataError


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        (["Healthy", "healthy", "healthy"], "healthy"),
        (["Healthy", "Healthy", "healthy"], "Healthy"),
        (["HEALTHY", "healthy"], "healthy"),
        ([" a  leaf", "a leaf "], "a leaf"),
        ([unicodedata.normalize("NFD", "käfer"), "käfer"], "käfer"),
        ([unicodedata.normalize("NFD", "käfer")], "käfer"),
        (["1.0", "1.0", "1"], "1"),
        (["Straße", "STRASSE"], "Straße"),
    ],
)
def test_spellings_of_one_class_are_one_class_and_told(labels: list[str], name: str) -> None:
    classes, notes = one_class(labels)
    assert set(classes) == set(labels)
    assert set(classes.values()) == {name}
    assert len(notes) == (len(set(labels)) > 1)
    assert all(f"are taken as one class, {name!r}" in note for note in notes)


def test_other_labels_stay_apart_without_a_word() -> None:
    labels = ["a", "A", "1", "2.0", "1.5", "01", "leaf", "leaves", "x_y", "x y"]
    classes, notes = one_class(labels)
    assert classes == {label: label for label in labels}
    assert notes == []


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("good\napple", r"here: the label 'good\\napple' holds a line break"),
        ("good\u2028apple", "holds a line break"),
        ("\x1b[31mred", r"holds the control character '\\x1b'"),
        ("a\tb", "holds the control character"),
        ("caf\udce9", "holds bytes that are no UTF-8"),
        ("  ", "here: a label is empty"),
        ("x" * 201, "a label of 201 characters; 200 are the most"),
    ],
)
def test_what_can_be_no_label_is_refused_with_its_place(label: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_label(label, where="here")


@pytest.mark.parametrize("label", ["a", "Äpfel & Birnen", "苹果", "कुत्ता", "🍎", "t-shirt", "x" * 200])
def test_labels_in_any_script_are_taken(label: str) -> None:
    check_label(label, where="here")


def test_a_label_finds_the_class_of_a_model_in_any_spelling() -> None:
    assert class_of("HEALTHY", ["healthy", "rust"]) == "healthy"
    assert class_of("1.0", ["0", "1"]) == "1"
    assert class_of("scab", ["healthy", "rust"]) is None
    assert class_of("Leaf", ["leaf", "LEAF"]) is None
    assert class_of("leaf", ["leaf", "LEAF"]) == "leaf"


def test_labels_are_judged_without_loading_anything_heavy() -> None:
    code = "import sys, kt.data.labels; print(*({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""


def test_a_class_with_a_line_break_is_refused_before_any_picture_is_read(tmp_path: Path) -> None:
    for label in ("good", "ba\nd"):
        (tmp_path / label).mkdir()
        for index in range(4):
            (tmp_path / label / f"{index}.png").write_bytes(b"never read")
    with pytest.raises(DataError, match=r"the label 'ba\\nd' holds a line break"):
        Folder(tmp_path)()


def test_a_source_of_ones_own_cannot_bring_such_a_class_either() -> None:
    part = Split(np.zeros((1, 8, 8, 3), np.uint8), np.zeros(1, np.int64), ("x",), ("x",))
    with pytest.raises(DataError, match=r"my camera: the label 'ba\\nd' holds a line break"):
        Splits(part, part, part, classes=("good", "ba\nd"), batch_size=8, origin="my camera", digest="")
