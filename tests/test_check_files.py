"""Findings on single files: each kind on files that have the fault, and silence on files that don't."""

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from checked_files import found, only, photo, saved, write_usual
from conftest import PHOTOS
from PIL import Image

from kt.data.checks.files import check_files
from kt.data.checks.scan import scan
from kt.findings import Finding, worst_first


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("KT_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def usual(tmp_path_factory) -> Path:
    return write_usual(tmp_path_factory.mktemp("usual"))


def test_usual_pictures_have_no_findings(usual, tmp_path):
    assert found(usual, {}, tmp_path) == []


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the real photos")
def test_real_photos_have_hardly_a_finding():
    for folder in sorted(PHOTOS.iterdir()):
        files = sorted(folder.rglob("*.[jJ][pP][gG]"))[::12]
        labels = [file.parent.name for file in files]
        assert len(check_files(scan(files), labels=labels)) <= 1


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", "unreadable", "x.jpg can't be read: an empty file."),
        (b"\x89PNG\r\n\x1a\n and no more", "unreadable", "x.jpg can't be read: begins as PNG"),
        (saved(photo(1))[:900], "unreadable", "x.jpg can't be read: is truncated"),
        (b"Dear all, here is a text.", "not_a_picture", "x.jpg is not a JPEG, PNG"),
        (b"<html><body>404</body></html>", "not_a_picture", "an HTML page, such as a download that went wrong"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_the_reason_and_a_fix(usual, tmp_path, data, kind, words):
    finding = only(found(usual, {"x.jpg": data}, tmp_path))
    assert (finding.kind, finding.severity, finding.items) == (kind, "error", ("x.jpg",))
    assert words in finding.words
    assert [(fix.path, fix.action) for fix in finding.fixes] == [("x.jpg", "leave_out")]


def test_a_bomb_is_an_error_and_is_never_decoded(usual, tmp_path):
    bomb = bytearray(saved(Image.new("1", (8, 8)), "PNG"))
    bomb[16:24] = (12_000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    finding = only(found(usual, {"bomb.png": bytes(bomb)}, tmp_path))
    assert finding.kind == "unreadable"
    assert "claims 12000 x 12000 pixels" in finding.words


def test_a_format_whose_package_is_missing_is_one_finding_without_a_fix(usual, tmp_path, monkeypatch):
    (tmp_path / "extra").mkdir()
    looked = scan(sorted(usual.iterdir()))
    reason = "is HEIC, which is read with pillow-heif: pip install 'kt-transfer[heic]'"
    finding = only(check_files(replace(looked, reasons=(reason,) * 9 + looked.reasons[9:])))
    assert (finding.kind, len(finding.items), finding.fixes) == ("unreadable", 9, ())
    assert finding.words == "9 pictures can't be read: each is HEIC, which is read with pillow-heif."
    assert finding.advice == "Install what is missing: pip install 'kt-transfer[heic]'."


def test_a_damaged_picture_that_can_be_read_is_a_warning(usual, tmp_path):
    data = bytearray(saved(photo(1), "JPEG"))
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(300)
    finding = only(found(usual, {"x.jpg": bytes(data)}, tmp_path))
    assert (finding.kind, finding.severity) == ("unreadable", "warning")
    assert (
        finding.words == "x.jpg has wrong bytes among its pixels; it can be read, but part of what it shows is wrong."
    )


def test_wrong_suffixes_are_one_finding_for_each_pair(usual, tmp_path):
    extra = {"a.jpg": saved(photo(1), "PNG"), "b.JPG": saved(photo(2), "PNG"), "c.png": saved(photo(3), "WEBP")}
    findings = found(usual, extra, tmp_path)
    assert [(finding.kind, finding.severity, finding.items) for finding in findings] == [
        ("wrong_suffix", "note", ("a.jpg", "b.JPG")),
        ("wrong_suffix", "note", ("c.png",)),
    ]
    assert findings[0].words == "2 pictures have the suffix .jpg and are PNG, such as a.jpg."
    assert findings[1].words == "c.png has the suffix .png and is WebP."


def test_animated_and_rotated_pictures_are_notes_on_what_kt_does(usual, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    film = saved(photo(1), "GIF", save_all=True, append_images=[photo(2), photo(3)])
    extra = {"film.gif": film, "turned.jpg": saved(photo(4), exif=exif), "upright.jpg": saved(photo(5))}
    findings = found(usual, extra, tmp_path)
    assert [(finding.kind, finding.severity, finding.items) for finding in findings] == [
        ("animated", "note", ("film.gif",)),
        ("rotated", "note", ("turned.jpg",)),
    ]
    assert "takes only the first" in findings[0].words
    assert findings[0].figures == {"most_frames": 3}


def test_unusual_modes_say_what_kt_does_with_them(usual, tmp_path):
    clear = photo(2).convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 30, 30))
    deep = np.asarray(photo(3).convert("L")).astype(np.uint16) * 256
    extra = {
        "print.jpg": saved(photo(1).convert("CMYK")),
        "clear.png": clear,
        "deep.png": Image.fromarray(deep),
        "opaque.png": photo(4).convert("RGBA"),
        "grey.png": photo(5).convert("L"),
    }
    findings = found(usual, extra, tmp_path)
    assert {finding.items for finding in findings} == {("print.jpg",), ("clear.png",), ("deep.png",)}
    assert {finding.kind for finding in findings} == {"unusual_mode"}
    said = {finding.items[0]: finding.words for finding in findings}
    assert "which kt lays on white" in said["clear.png"]
    assert "which kt scales to 8" in said["deep.png"]
    assert "without their colour profile" in said["print.jpg"]


def test_no_files_and_no_readable_files_give_no_false_findings(tmp_path):
    assert check_files(scan([], root=tmp_path)) == []
    (tmp_path / "x.jpg").write_bytes(b"")
    assert only(check_files(scan([tmp_path / "x.jpg"]))).kind == "unreadable"


def test_findings_can_be_sorted_and_written(usual, tmp_path):
    findings = found(usual, {"x.jpg": b"", "y.png": photo(1, (600, 600)), "z.jpg": saved(photo(2), "PNG")}, tmp_path)
    assert [finding.kind for finding in worst_first(findings)] == ["unreadable", "wrong_suffix", "odd_size"]
    assert [Finding.from_json(finding.to_json()) for finding in findings] == findings
