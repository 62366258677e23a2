"""Findings on folders, names and classes."""

import unicodedata
import zipfile
from pathlib import Path

import pytest
from conftest import draw, make_folder

from kt.data.checks.folders import check_classes, check_folders, check_names
from kt.findings import Finding

LIKE = {"green": 4, "red": 4}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> None:
    monkeypatch.setenv("KT_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos", LIKE)


def put(path: Path, label: str = "green") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(label, len(path.name)).save(path, "PNG")
    return path


def told(findings: list[Finding]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(finding.kind, finding.severity, finding.items) for finding in findings]


def test_a_plain_folder_has_no_findings(root):
    assert check_folders(root) == []


def test_splits_and_hidden_files_are_no_findings(tmp_path):
    for split in ("train", "test"):
        make_folder(tmp_path / "photos" / split, LIKE)
    (tmp_path / "photos" / ".DS_Store").write_bytes(b"1")
    (tmp_path / "photos" / "train" / "green" / "Thumbs.db").write_bytes(b"1")
    (tmp_path / "photos" / "README.txt").write_text("What they are.")
    assert check_folders(tmp_path / "photos") == []


def test_an_empty_class_folder_is_found_and_so_is_what_training_says_of_it(root):
    (root / "blue").mkdir()
    findings = check_folders(root)
    assert told(findings) == [("layout", "error", ()), ("empty_folder", "warning", ("blue/",))]
    assert "A class of" in findings[0].words
    assert findings[0].advice.startswith("Add pictures")


def test_a_folder_with_other_files_alone_is_a_note(root):
    (root / "notes").mkdir()
    (root / "notes" / "a.txt").write_text("a")
    (root / "notes" / "b.txt").write_text("b")
    finding = check_folders(root)
    assert told(finding) == [("empty_folder", "note", ("notes/",))]
    assert finding[0].words == "notes/ holds 2 files and no picture that kt reads."


def test_only_the_outermost_of_empty_folders_is_named(root):
    (root / "green" / "more" / "and" / "more").mkdir(parents=True)
    assert told(check_folders(root)) == [("empty_folder", "warning", ("green/more/",))]


def test_pictures_beside_the_class_folders_are_stray(root):
    put(root / "loose.png")
    finding = check_folders(root)
    assert told(finding) == [("stray_file", "warning", ("loose.png",))]
    assert finding[0].words == (
        "1 picture in the data folder itself lies outside of any class folder, so kt does not read it."
    )


def test_a_folder_beside_the_splits_is_one_finding_however_deep_it_is(tmp_path):
    root = tmp_path / "photos"
    for split in ("train", "test"):
        make_folder(root / split, LIKE)
    for name in ("extra/green/a.png", "extra/red/b.png", "extra/c.png"):
        put(root / name)
    put(root / "train" / "loose.png")
    assert told(check_folders(root)) == [
        ("stray_file", "warning", ("extra/c.png", "extra/green/a.png", "extra/red/b.png")),
        ("stray_file", "warning", ("train/loose.png",)),
    ]


def test_folders_in_a_class_are_a_note_and_say_that_their_pictures_count(root):
    put(root / "green" / "indoors" / "a.png")
    put(root / "green" / "outdoors" / "b.png")
    finding = check_folders(root)
    assert told(finding) == [("nested_folder", "note", ("green/indoors/", "green/outdoors/"))]
    assert "the pictures count for the class" in finding[0].words


def test_folders_that_kt_takes_for_things_are_not_asked_about_again(tmp_path):
    for label in ("green", "red"):
        for number in range(4):
            for view in ("front", "side"):
                put(tmp_path / label / f"plant_{number}" / f"{view}.png")
    assert check_folders(tmp_path) == []


def test_a_folder_in_a_class_with_the_name_of_another_class_is_a_warning(root):
    put(root / "green" / "Red" / "a.png")
    put(root / "green" / "Red" / "b.png")
    finding = check_folders(root)
    assert told(finding) == [("nested_folder", "warning", ("green/Red/",))]
    assert finding[0].words == (
        "green/Red/ lies within the class green and has the name of the class red; its 2 pictures count as green."
    )


def test_class_folders_that_differ_by_case_over_the_splits_are_one_class(tmp_path):
    root = tmp_path / "photos"
    make_folder(root / "train", LIKE)
    make_folder(root / "test", {"red": 2})
    put(root / "test" / "Green" / "a.png")
    finding = check_folders(root)
    assert told(finding) == [("name_clash", "warning", ("train/green/", "test/Green/"))]
    assert "takes them as one class, green" in finding[0].words


def test_class_folders_beside_each_other_that_differ_by_case_are_told_once(root):
    put(root / "Green" / "a.png")
    if len([*root.iterdir()]) < 3:
        pytest.skip("this file system takes the names as one")
    assert told(check_folders(root)) == [("name_clash", "warning", ("Green/", "green/"))]


def test_files_whose_names_differ_by_case_or_unicode_alone_are_found(root):
    composed, decomposed = unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.png")
    for name in ("one.png", "One.PNG", composed, decomposed):
        put(root / "green" / name)
    if len([*(root / "green").iterdir()]) < 8:
        pytest.skip("this file system takes the names as one")
    findings = check_folders(root)
    assert {(finding.kind, frozenset(finding.items)) for finding in findings} == {
        ("name_clash", frozenset({"green/one.png", "green/One.PNG"})),
        ("name_clash", frozenset({f"green/{composed}", f"green/{decomposed}"})),
    }
    assert sorted(finding.words.rpartition(" differ by ")[2] for finding in findings) == [
        "case alone.",
        "the form of their Unicode alone.",
    ]


def test_names_that_differ_by_case_and_unicode_say_both_and_escape_only_what_is_not_plain():
    composed, decomposed = unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "É.png")
    (finding,) = check_names([f"豆/{composed}", f"豆/{decomposed}"])
    assert finding.words == f"'豆/{composed}' and '豆/E\\u0301.png' differ by case and the form of their Unicode alone."


def test_a_clash_of_folders_is_told_once_and_not_for_each_file():
    findings = check_names(["a/x/1.jpg", "a/x/2.jpg", "a/X/1.jpg", "a/X/2.jpg", "b/x/1.jpg"])
    assert told(findings) == [("name_clash", "warning", ("a/x/", "a/X/"))]


def test_labels_of_a_table_that_are_spelled_in_several_ways_are_found():
    findings = check_names(["1.jpg", "2.jpg", "3.jpg"], labels=["cat", "Cat ", "dog"])
    assert told(findings) == [("name_clash", "warning", ())]
    assert "'cat' and 'Cat '" in findings[0].words


def test_links_that_leave_the_folder_are_a_note_and_those_within_are_not(root, tmp_path):
    elsewhere = make_folder(tmp_path / "elsewhere", {"blue": 2})
    (root / "red" / "link.png").symlink_to(elsewhere / "blue" / "000.png")
    (root / "blue").symlink_to(elsewhere / "blue")
    (root / "green" / "inner.png").symlink_to(root / "green" / "000.png")
    finding = check_folders(root)
    assert told(finding) == [("outside_link", "note", ("blue/", "red/link.png"))]
    assert finding[0].words.startswith("2 links lead out of the folder and are followed: blue/ to ")


def test_links_in_a_circle_and_broken_links_do_no_harm(root):
    (root / "green" / "round").symlink_to(root)
    (root / "green" / "itself").symlink_to(root / "green" / "itself")
    (root / "green" / "nowhere.txt").symlink_to(root / "gone")
    assert check_folders(root) == []


def test_films_and_raw_files_are_told_by_their_suffix(root):
    for name in ("a.cr2", "b.CR2", "film.mp4", "notes.txt"):
        (root / "green" / name).write_bytes(
            b"II*\0 as raw files begin" if "." in name[1:2] else b"others begin otherwise"
        )
    findings = check_folders(root)
    assert told(findings) == [
        ("not_a_picture", "warning", ("green/a.cr2", "green/b.CR2")),
        ("not_a_picture", "warning", ("green/film.mp4",)),
    ]
    assert findings[0].words == "2 files end with .cr2, which kt does not read, such as green/a.cr2."


def test_a_zip_is_checked_like_the_folder_in_it(root, tmp_path):
    put(root / "loose.png")
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as content:
        for file in sorted(root.rglob("*.png")):
            content.write(file, file.relative_to(root).as_posix())
    assert told(check_folders(archive)) == told(check_folders(root))


def test_what_training_cannot_understand_is_a_finding_and_no_error(tmp_path):
    make_folder(tmp_path / "only", {"green": 3})
    for path, words in (
        (tmp_path / "gone", "no such folder"),
        (put(tmp_path / "one.png"), "Cannot"),
        (tmp_path / "only" / "green", "No class in"),
    ):
        (finding,) = [each for each in check_folders(path) if each.kind == "layout"]
        assert finding.severity == "error"
        assert words in finding.words
        assert finding.advice


def test_a_folder_that_vanishes_ends_in_a_finding(root, monkeypatch):
    monkeypatch.setattr("kt.data.checks.folders._tree", lambda base: (_ for _ in ()).throw(FileNotFoundError(base)))
    assert [finding.kind for finding in check_folders(root)] == ["layout"]


# ------------------------------------------------------------------------------------------------------------ classes


def of_classes(counts: dict[str, int], things: dict[str, int] | None = None, split: str | None = None) -> list[Finding]:
    labels = [label for label, count in counts.items() for _ in range(count)]
    names = [f"{label}/{index}.jpg" for label, count in counts.items() for index in range(count)]
    groups = names
    if things:
        groups = [f"{label}-{index % things[label]}" for label, count in counts.items() for index in range(count)]
    return check_classes(names, labels, groups, splits=[split] * len(names) if split else None)


@pytest.mark.parametrize(("counts", "severity"), [((100, 40), None), ((120, 40), "note"), ((400, 40), "warning")])
def test_classes_of_different_size_are_judged_by_their_ratio(counts, severity):
    findings = of_classes({"a": counts[0], "b": counts[1]})
    assert told(findings) == ([] if severity is None else [("imbalance", severity, ())])
    if findings:
        assert findings[0].figures == {"a": counts[0], "b": counts[1]}
        assert f"The class a has {counts[0]} pictures" in findings[0].words


def test_classes_with_few_pictures_are_found():
    findings = of_classes({"a": 40, "b": 29, "c": 2})
    assert [(finding.kind, finding.severity, len(finding.items)) for finding in findings] == [
        ("imbalance", "warning", 0),
        ("few_things", "warning", 20),
        ("few_things", "error", 2),
    ]
    assert findings[1].words.startswith("The class b shows only 29 independent pictures, and 30 are the fewest")


def test_many_pictures_of_few_things_are_few():
    (finding,) = of_classes({"a": 400, "b": 400}, {"a": 100, "b": 4})
    assert (finding.kind, finding.severity) == ("few_things", "warning")
    assert finding.words.startswith("The class b shows only 4 things (400 pictures)")
    assert finding.items == ("b/0.jpg", "b/1.jpg", "b/2.jpg", "b/3.jpg")
    assert finding.figures == {"things": 4, "pictures": 400}


def test_given_splits_are_judged_each_for_itself():
    names = [f"{index}.jpg" for index in range(125)]
    splits = ["train"] * 100 + ["validation"] * 20 + ["test"] * 5
    (finding,) = check_classes(names, ["a"] * 125, names, splits=splits)
    assert finding.words.startswith("The class a shows only 5 independent pictures in test, and 10 are the fewest")


def test_no_pictures_give_no_findings():
    assert check_classes([], [], []) == []


def test_every_finding_says_what_to_do_in_a_sentence(root):
    (root / "blue").mkdir()
    put(root / "loose.png")
    put(root / "green" / "in" / "a.png")
    (root / "red" / "out").symlink_to("/etc")
    for finding in [*check_folders(root), *of_classes({"a": 400, "b": 2})]:
        assert finding.words.endswith(".")
        assert finding.advice.endswith(".")
        assert "  " not in finding.words + finding.advice
