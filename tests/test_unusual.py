"""Pictures far from all others of their set: each kind is found, and what is usual in the set or its class is not."""

from pathlib import Path

import pytest
from checked_files import COUNT, found, only, photo, write_usual
from PIL import Image, ImageFilter

from kt.data.checks.files import check_files
from kt.data.checks.scan import scan


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("KT_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def usual(tmp_path_factory) -> Path:
    return write_usual(tmp_path_factory.mktemp("usual"))


@pytest.mark.parametrize(
    ("kind", "image"),
    [
        ("tiny", photo(1, (20, 24))),
        ("uniform", Image.new("RGB", (120, 120), (90, 140, 20))),
        ("uniform", Image.new("RGB", (120, 120), (0, 0, 0))),
        ("dark", photo(1).point(lambda level: level * 0.15)),
        ("bright", photo(1).point(lambda level: 255 - (255 - level) * 0.15)),
        ("blurred", photo(1).filter(ImageFilter.GaussianBlur(4))),
        ("odd_aspect", photo(1, (120, 600))),
        ("odd_size", photo(1, (600, 600))),
    ],
)
def test_a_picture_far_from_all_others_is_found_and_nothing_else(usual, tmp_path, kind, image):
    finding = only(found(usual, {"x.png": image}, tmp_path))
    assert (finding.kind, finding.items) == (kind, ("x.png",))
    assert finding.severity in ("warning", "note")
    assert [(fix.path, fix.action) for fix in finding.fixes] == [("x.png", "leave_out")]
    assert finding.score is not None
    assert 0 < finding.score <= 1


def test_what_is_usual_in_the_set_is_not_found(tmp_path):
    for name, change in (
        ("dark", lambda image: image.point(lambda level: level * 0.15)),
        ("blurred", lambda image: image.filter(ImageFilter.GaussianBlur(4))),
        ("tiny", lambda image: image.resize((28, 28))),
        ("long", lambda image: image.resize((30, 150))),
    ):
        folder = tmp_path / name
        folder.mkdir()
        for seed in range(COUNT):
            change(photo(seed)).save(folder / f"{seed}.png")
        assert check_files(scan(sorted(folder.iterdir()))) == [], name


def test_what_is_usual_in_its_class_is_not_found(usual, tmp_path):
    night = {f"night{seed}.png": photo(seed).point(lambda level: level * 0.15) for seed in range(20)}
    days = []
    for copy in range(4):
        folder = tmp_path / f"day{copy}"
        folder.mkdir()
        for seed in range(COUNT):
            photo(100 * copy + seed).save(folder / f"{seed}.png")
        days += sorted(folder.iterdir())
    (tmp_path / "night").mkdir()
    for name, image in night.items():
        image.save(tmp_path / "night" / name)
    files = [*days, *sorted((tmp_path / "night").iterdir())]
    looked = scan(files)
    labels = ["day"] * len(days) + ["night"] * 20
    assert {finding.kind for finding in check_files(looked)} == {"dark"}
    assert check_files(looked, labels=labels) == []


def test_a_few_pictures_have_nothing_usual(tmp_path):
    for seed in range(6):
        photo(seed, (60 * (seed + 1), 100), light=20 + 40 * seed).save(tmp_path / f"{seed}.png")
    assert check_files(scan(sorted(tmp_path.glob("*.png")))) == []
