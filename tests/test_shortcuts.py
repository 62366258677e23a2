"""Shortcuts: properties of files that give the class away, on made-up columns and on real photos."""

import numpy as np
import pytest
from conftest import PHOTOS
from PIL import Image

from kt.data.checks.shortcuts import MOST, FileProperty, check, judge, mean_colours

CLASSES = ("bad", "good")


def labels_and_names(count, classes=2):
    labels = np.arange(count) % classes
    return labels, [f"{label}/{place}.jpg" for place, label in enumerate(labels)]


def test_a_format_that_gives_the_class_away_is_found_with_its_figures():
    labels, names = labels_and_names(200)
    random = np.random.default_rng(0)
    formats = [("PNG" if label else "JPEG") if random.random() < 0.95 else "BMP" for label in labels]
    (finding,) = check(labels, CLASSES, names=names, formats=formats)
    assert (finding.kind, finding.severity) == ("shortcut", "warning")
    figures = finding.figures
    assert figures["chance"] == 0.5
    assert 0.6 < figures["low"] < figures["balanced_accuracy"] < figures["high"] <= 1
    assert finding.score == pytest.approx(2 * figures["balanced_accuracy"] - 1, abs=1e-3)
    assert finding.words.startswith("The file format alone tells the class of ")
    assert "; mostly " in finding.words
    assert {item.split("/")[0] for item in finding.items} == {"0", "1"}
    assert not finding.fixes


def test_each_property_is_found_where_it_alone_differs():
    labels, names = labels_and_names(240, 3)
    random = np.random.default_rng(1)
    noise = random.normal(0, 1, (240, 3))
    common = {"names": names, "sizes": np.full((240, 2), 300), "lengths": 9000 + random.normal(0, 900, 240)}
    cases = {
        "camera": {"cameras": [f"Phone {label}" for label in labels]},
        "colour mode": {"modes": ["L" if label == 1 else "RGB" for label in labels]},
        "size in pixels": {"sizes": np.stack([300 + 20 * labels, 300 + 20 * labels], axis=1)},
        "ratio of width to height": {"sizes": np.stack([np.full(240, 300), 300 + 50 * labels], axis=1)},
        "number of bytes a pixel": {"lengths": 9000.0 + 4000 * labels},
        "colour of the border": {"border": 128 + 10 * labels[:, None] + noise},
        "mean colour": {"colour": 128 + 10 * labels[:, None] + noise},
    }
    for name, columns in cases.items():
        found = check(labels, ("a", "b", "c"), **{**common, **columns})
        assert any(finding.words.startswith(f"The {name} alone") for finding in found), name


def test_colour_may_be_genuine_and_is_only_noted():
    labels, names = labels_and_names(100)
    (finding,) = check(labels, CLASSES, names=names, colour=np.stack([100.0 + 50 * labels] * 3, axis=1))
    assert finding.severity == "note"
    assert "may be what the classes really differ in" in finding.advice


def test_of_many_sets_without_a_shortcut_few_have_a_finding():
    random, found = np.random.default_rng(0), 0
    for _ in range(60):
        labels = random.integers(0, 3, 90)
        names = [str(place) for place in range(90)]
        found += bool(
            check(
                labels, ("a", "b", "c"), names=names, formats=random.choice(["JPEG", "PNG"], 90).tolist(),
                cameras=random.choice(["", "A", "B", "C"], 90).tolist(), sizes=random.integers(90, 900, (90, 2)),
                lengths=random.integers(900, 9000, 90), border=random.random((90, 3)), colour=random.random((90, 3)),
            )
        )  # fmt: skip
    assert found <= 3  # one in 20 is promised


def test_a_property_of_the_thing_is_no_property_of_the_class():
    # Ten things of two classes, 30 pictures each. Each thing has its own size, which tells the thing, not the class.
    thing = np.repeat(np.arange(10), 30)
    labels, names = thing % 2, [str(place) for place in range(300)]
    sizes = np.random.default_rng(3).permutation(10)[thing][:, None] * 20 + np.array([[200, 200]])
    groups = [f"thing {number}" for number in thing]
    assert check(labels, CLASSES, names=names, groups=groups, sizes=sizes) == []
    assert check(labels, CLASSES, names=names, sizes=sizes)  # taken for independent pictures, it looks like one


def test_what_is_the_same_everywhere_or_unknown_is_no_shortcut():
    labels, names = labels_and_names(60)
    assert check(labels, CLASSES, names=names, formats=["JPEG"] * 60, sizes=np.full((60, 2), 100)) == []
    assert check(labels, CLASSES, names=names) == []
    assert check(np.zeros(60, int), ("one",), names=names, cameras=["A", "B"] * 30) == []


def test_pictures_without_a_label_are_left_alone():
    labels, names = labels_and_names(120)
    formats = ["PNG" if label else "JPEG" for label in labels]
    (finding,) = check(
        np.append(labels, [-1] * 40), CLASSES, names=[*names, *["x"] * 40], formats=formats + ["BMP"] * 40
    )
    assert finding.figures["chance"] == 0.5
    assert "x" not in finding.items


def test_that_a_value_is_missing_can_give_the_class_away():
    labels, names = labels_and_names(120)
    lengths = np.where(labels == 1, np.nan, np.random.default_rng(0).normal(9000, 500, 120))
    found = check(labels, CLASSES, names=names, sizes=np.full((120, 2), 100), lengths=lengths)
    assert [finding.figures["balanced_accuracy"] for finding in found] == [1.0]


def test_a_class_with_a_single_group_can_not_be_judged():
    labels, names = labels_and_names(60)
    groups = ["one thing" if label else name for label, name in zip(labels, names, strict=True)]
    assert (
        check(labels, CLASSES, names=names, groups=groups, formats=["PNG" if one else "JPEG" for one in labels]) == []
    )


def test_of_very_many_pictures_a_sample_is_judged():
    labels = np.arange(MOST + 5000) % 2
    values = labels + np.random.default_rng(0).normal(0, 0.1, len(labels))
    told = judge(FileProperty("size", values, "advice"), labels)
    assert len(told.sampled) == MOST
    assert told.independent == pytest.approx(MOST, rel=1e-3)
    assert told.balanced_accuracy > 0.99


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the photos")
def test_clothes_do_not_differ_in_the_format_of_their_files():
    folder = PHOTOS / "clothing" / "train"
    files = [file for name in ("dress", "shoes", "pants") for file in sorted((folder / name).iterdir())[:50]]
    labels = np.array([("dress", "pants", "shoes").index(file.parent.name) for file in files])
    pictures = [Image.open(file) for file in files]
    found = check(
        labels, ("dress", "pants", "shoes"), names=[file.name for file in files],
        formats=[picture.format for picture in pictures], sizes=[picture.size[::-1] for picture in pictures],
        lengths=[file.stat().st_size for file in files],
        colour=mean_colours(np.stack([np.asarray(picture.convert("RGB").resize((64, 64))) for picture in pictures])),
    )  # fmt: skip
    assert not any("file format" in finding.words for finding in found)
