"""The scan: what it says of a file, what it keeps for the next time, and files that are broken or vanish."""

import hashlib
import io
import math
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from conftest import PHOTOS, draw
from PIL import Image

from kt.data.checks import examiners, scan_cache
from kt.data.checks.scan import Scan, scan
from kt.errors import DataError, EnvironmentProblem
from kt.kinds.pictures.damage import damage_of
from kt.kinds.pictures.examine import examine
from kt.kinds.pictures.huffman import wrong_codes
from kt.kinds.pictures.properties import properties
from kt.kinds.pictures.rgb import contents, decoded_of, read_rgb

HOUR = 3600


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("KT_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "scans"


def older(file: Path, seconds: float = HOUR) -> Path:
    """The file, last changed a while ago: what was written a moment ago is read again, for it may still change."""
    now = file.stat().st_mtime
    os.utime(file, (now - seconds, now - seconds))
    return file


def pictures(folder: Path, count: int = 6) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{index}.png" for index in range(count)]
    for index, file in enumerate(files):
        draw(("green", "red")[index % 2], index, 60).save(file)
        older(file)
    return files


def saved(image: Image.Image, form: str, **settings) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **settings)
    return buffer.getvalue()


def of(data: bytes, folder: Path, name: str = "one.bin") -> Scan:
    (folder / name).write_bytes(data)
    return scan([folder / name], root=folder)


def photo(size: int = 120) -> Image.Image:
    """A picture with detail everywhere, as photos have it."""
    random = np.random.default_rng(3)
    coarse = Image.fromarray(random.integers(0, 256, (12, 12, 3), np.uint8)).resize((size, size), Image.BICUBIC)
    noise = random.normal(0, 12, (size, size, 3))
    return Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8))


# ------------------------------------------------------------------------------------------------------- what it says


def test_a_picture_is_told_by_its_format_its_size_and_its_hashes(tmp_path):
    data = saved(photo(90).resize((90, 60)), "JPEG", quality=90)
    found = of(data, tmp_path)
    assert (found.reasons, found.damages, found.kinds, found.modes) == (("",), ("",), ("JPEG",), ("RGB",))
    assert found.sizes.tolist() == [[60, 90]]
    assert found.bytes.tolist() == [len(data)]
    assert found.sha256 == (hashlib.sha256(data).hexdigest(),)
    assert found.names == ("one.bin",)


def test_equal_pixels_in_different_files_have_one_hash_and_other_pixels_another(tmp_path):
    image = photo()
    for name, form, settings in (("a.png", "PNG", {}), ("b.bmp", "BMP", {}), ("c.png", "PNG", {"compress_level": 1})):
        image.save(tmp_path / name, form, **settings)
    image.rotate(90).save(tmp_path / "d.png")
    found = scan(sorted(tmp_path.glob("?.*")), root=tmp_path)
    assert len(set(found.sha256)) == 4
    a, b, c, d = found.pixels_sha256
    assert a == b == c != d


def test_light_and_sharpness_are_those_of_the_properties_at_the_size_that_models_see(tmp_path):
    pixels = np.asarray(photo(100))
    found = of(saved(Image.fromarray(pixels), "PNG"), tmp_path)
    expected = {each.name: each.values[0] for each in properties(pixels[None])}
    for name in ("brightness", "contrast", "colourfulness", "sharpness"):
        assert getattr(found, name)[0] == pytest.approx(expected[name], rel=1e-6)


def test_a_large_picture_is_measured_at_224_pixels(tmp_path):
    large = photo(900)
    found = of(saved(large, "PNG"), tmp_path)
    seen = np.asarray(large.resize((224, 224), Image.BILINEAR))
    assert found.sharpness[0] == pytest.approx(properties(seen[None])[3].values[0], rel=0.05)
    assert found.sharpness[0] < 0.5 * properties(np.asarray(large)[None])[3].values[0]


def test_a_thumbnail_is_the_picture_stretched_to_a_square(tmp_path):
    image = Image.new("RGB", (300, 100), (250, 10, 10))
    image.paste((10, 10, 250), (150, 0, 300, 100))
    found = of(saved(image, "PNG"), tmp_path)
    assert found.thumbnails.shape == (1, 64, 64, 3)
    assert found.thumbnails.dtype == np.uint8
    assert found.thumbnails[0, 32, 10].tolist() == [250, 10, 10]
    assert found.thumbnails[0, 5, 60].tolist() == [10, 10, 250]


def test_the_border_is_told_by_its_colour_and_its_spread(tmp_path):
    image = Image.new("RGB", (128, 128), (255, 255, 255))
    image.paste((0, 90, 0), (20, 20, 100, 100))
    found = of(saved(image, "PNG"), tmp_path)
    assert found.border[0].tolist() == [255, 255, 255]
    assert found.border_spread[0] == 0


def test_exif_tells_the_time_the_camera_and_how_a_picture_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112], exif[271], exif[272] = 6, "Canon", "Canon EOS 5D"
    exif.get_ifd(0x8769)[36867], exif.get_ifd(0x8769)[37521] = "2024:05:01 12:00:30", "25"
    forms = {"JPEG": {}, "PNG": {}, "WebP": {"lossless": True}, "TIFF": {}}
    for form, settings in forms.items():
        found = of(saved(photo(80).resize((80, 40)), form, exif=exif, **settings), tmp_path, f"one.{form}")
        if form != "TIFF":  # Pillow writes no time into one
            assert found.taken[0] == pytest.approx(1714564830.25), form
        turned = [1] if form == "TIFF" else [6]  # Pillow itself turns a TIFF
        assert (found.cameras, found.orientations.tolist()) == (("Canon EOS 5D",), turned), form
        assert found.sizes.tolist() == [[80, 40]], form


def test_a_maker_that_the_model_does_not_name_stands_before_it(tmp_path):
    exif = Image.Exif()
    exif[271], exif[272] = "Google", "Pixel 7"
    assert of(saved(photo(), "JPEG", exif=exif), tmp_path).cameras == ("Google Pixel 7",)


@pytest.mark.parametrize("time", ["0000:00:00 00:00:00", "2024:13:01 00:00:00", "yesterday", "    :  :     :  :  ", ""])
def test_a_time_that_is_none_counts_as_unknown(tmp_path, time):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[36867] = time
    assert math.isnan(of(saved(photo(), "JPEG", exif=exif), tmp_path).taken[0])


def test_exif_that_points_outside_of_the_file_counts_as_none(tmp_path):
    exif = Image.Exif()
    exif[271] = "A maker with a long name"
    data = bytearray(saved(photo(), "JPEG", exif=exif))
    at = data.index(b"Exif\0\0") + 6
    for offset in range(8, 40):
        for value in (0xFF, 0x7F):
            broken = bytearray(data)
            broken[at + offset] = value
            found, _ = examine(_written(tmp_path / "broken.jpg", bytes(broken)))
            assert "can't be examined" not in found.reason


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


FRAMES = [Image.new("RGB", (20, 20), (40 * index, 0, 0)) for index in range(5)]


@pytest.mark.parametrize(("form", "settings"), [("GIF", {}), ("PNG", {}), ("WEBP", {}), ("TIFF", {}), ("AVIF", {})])
def test_frames_are_counted_without_decoding_them(tmp_path, form, settings):
    data = saved(FRAMES[0], form, save_all=True, append_images=FRAMES[1:], **settings)
    assert of(data, tmp_path).frames.tolist() == [5]


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "JPEG", "BMP"])
def test_a_single_picture_has_one_frame(tmp_path, form):
    assert of(saved(FRAMES[0], form), tmp_path).frames.tolist() == [1]


def test_modes_bits_and_transparency_are_those_of_the_file(tmp_path):
    half = Image.new("RGBA", (20, 20), (9, 9, 9, 255))
    opaque = saved(half, "PNG")
    half.putpixel((3, 3), (9, 9, 9, 100))
    for data, expected in (
        (saved(photo().convert("CMYK"), "JPEG"), ("CMYK", 8, False)),
        (saved(Image.fromarray(np.full((9, 9), 4000, np.uint16)), "PNG"), ("I;16", 16, False)),
        (opaque, ("RGBA", 8, False)),
        (saved(half, "PNG"), ("RGBA", 8, True)),
        (saved(photo().convert("L"), "JPEG"), ("L", 8, False)),
    ):
        found = of(data, tmp_path)
        assert (found.modes[0], int(found.bits[0]), bool(found.transparent[0])) == expected


# ------------------------------------------------------------------------------------------------------ broken files


def test_the_reason_is_the_one_that_training_gives(tmp_path):
    jpeg, png = saved(photo(), "JPEG"), saved(photo(), "PNG")
    for data in (b"", b"just text, nothing else", jpeg[: len(jpeg) // 2], png[:400], b"\xff\xd8\xff" + bytes(500)):
        file = _written(tmp_path / "one.jpg", data)
        found = scan([file], root=tmp_path)
        with pytest.raises(DataError) as error:
            read_rgb(contents(file))
        assert found.reasons == (str(error.value),)
        assert not found.readable[0]
        assert not found.thumbnails[0].any()
        assert math.isnan(found.brightness[0])


def test_a_file_that_is_not_there_has_a_reason(tmp_path):
    found = scan([tmp_path / "gone.jpg", *pictures(tmp_path / "a", 1)])
    assert found.reasons == ("no such file", "")
    assert found.bytes[0] == -1


def test_a_folder_and_a_pipe_have_reasons(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    found = scan([tmp_path / "folder.jpg", tmp_path / "pipe.jpg"], root=tmp_path)
    assert found.reasons == ("not a file (a folder)", "not a file (a pipe)")


def test_files_that_vanish_while_they_are_read_become_reasons(tmp_path):
    files = pictures(tmp_path / "a", 300)
    remove = threading.Thread(target=lambda: [file.unlink() for file in reversed(files)])
    remove.start()
    found = scan(files, workers=2)
    remove.join()
    assert len(found) == 300
    assert {reason for reason in found.reasons if reason} <= {"no such file", "changes while it is read"}
    assert not any(file.exists() for file in files)


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    file, data = tmp_path / "one.png", saved(photo(), "PNG")
    file.write_bytes(b"short")
    calls = []

    def grows(path):
        calls.append(path)
        if len(calls) == 1:
            file.write_bytes(data)
            return b"short"
        return contents(path)

    monkeypatch.setattr("kt.kinds.pictures.examine.contents", grows)
    facts, _ = examine(file)
    assert (len(calls), facts.reason, facts.kind) == (2, "", "PNG")


def test_a_file_that_never_rests_becomes_a_reason(tmp_path, monkeypatch):
    file = tmp_path / "one.png"
    file.write_bytes(b"1")

    def grows(path):
        file.write_bytes(file.read_bytes() + b"1")
        return file.read_bytes()

    monkeypatch.setattr("kt.kinds.pictures.examine.contents", grows)
    assert examine(file)[0].reason == "changes while it is read"


def test_a_process_that_ends_at_a_file_ends_neither_the_scan_nor_its_other_files(tmp_path, monkeypatch):
    files = pictures(tmp_path / "a", 5)

    class Mortal(examiners.Examiner):
        def _answer(self, batch):
            super()._answer([])  # it has started
            if any(file.name == "3.png" for file in batch):
                self._process.kill()
            return super()._answer(batch)

    monkeypatch.setattr("kt.data.checks.scan.Examiner", Mortal)
    found = scan(files, workers=1)
    assert [bool(reason) for reason in found.reasons] == [False, False, False, True, False]
    assert found.reasons[3] == examiners.CRASHES


def test_processes_that_do_not_start_end_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(examiners.sys, "executable", "/bin/false")
    with pytest.raises(EnvironmentProblem, match="do not start"):
        scan(pictures(tmp_path / "a", 2))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF"])
def test_no_byte_that_is_changed_makes_a_file_more_than_unreadable(tmp_path, form):
    exif = Image.Exif()
    exif[0x0112], exif[271] = 6, "A maker"
    settings = {"exif": exif} if form in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF") else {}
    if form in ("GIF", "PNG", "WEBP", "TIFF"):
        settings |= {"save_all": True, "append_images": FRAMES}
    whole = saved(photo(20), form, **settings)
    random = np.random.default_rng(0)
    for turn in range(60):
        data = bytearray(whole)
        for at in random.integers(0, min(len(data), 400 if turn % 2 else len(data)), 1 + turn % 5):
            data[at] = random.integers(256)
        file = _written(tmp_path / "one.bin", bytes(data[: random.integers(1, len(data))] if turn % 3 == 0 else data))
        facts, thumbnail = examine(file)
        assert "can't be examined" not in facts.reason
        assert (thumbnail is None) == bool(facts.reason)
        assert facts.size == file.stat().st_size


# ------------------------------------------------------------------------------------------------------------ damage


def corrupted(data: bytes, *, share: float, seed: int) -> bytes:
    """The JPEG with a share of the bytes of its pixels replaced."""
    random, start = np.random.default_rng(seed), data.index(b"\xff\xda") + 14
    altered = bytearray(data)
    for at in random.integers(start, len(data) - 2, max(1, int(share * (len(data) - start)))):
        altered[at] = random.integers(256)
    return bytes(altered)


def damage(data: bytes) -> str:
    return damage_of(data, "JPEG" if data[:2] == b"\xff\xd8" else "PNG", decoded_of(data))


@pytest.mark.parametrize(
    "settings",
    [{}, {"optimize": True}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}, {"restart_marker_blocks": 4}],
)
def test_a_whole_jpeg_has_no_damage(settings):
    for image in (photo(), photo(75), photo().convert("L"), Image.new("RGB", (200, 130), (255, 255, 255))):
        data = saved(image, "JPEG", **settings)
        assert damage(data) == ""
        assert damage(data[:-2] + bytes(5) + data[-2:]) == "", "bytes that fill up the end are no damage"
        assert damage(data + b"what a phone writes behind the picture") == ""


def seen_of_readable(files):
    """Of how many damaged files that can still be read the wrong bytes are seen, and how many can be read."""
    seen, readable = 0, 0
    for data in files:
        try:
            found = damage(data)
        except DataError:
            continue
        readable += 1
        seen += found == "has wrong bytes among its pixels"
    return seen, readable


def test_wrong_bytes_in_a_jpeg_are_seen_in_nearly_all_files_that_can_still_be_read():
    whole = saved(photo(), "JPEG", quality=85)
    seen, readable = seen_of_readable(corrupted(whole, share=0.02, seed=seed) for seed in range(40))
    assert readable > 10
    assert seen >= 0.9 * readable


def test_most_jpegs_with_three_wrong_bytes_are_seen_although_they_get_back_into_step():
    def with_three(seed):
        data = corrupted(saved(photo(200), "JPEG", quality=85), share=0, seed=seed)
        return corrupted(corrupted(data, share=0, seed=seed + 100), share=0, seed=seed + 200)

    seen, readable = seen_of_readable(map(with_three, range(60)))
    assert readable > 40
    assert seen >= 0.75 * readable


def pixels_of(data: bytes) -> tuple[int, int]:
    """Where the codes of a JPEG by Pillow begin and end."""
    at = data.index(b"\xff\xda")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big"), len(data) - 2


@pytest.mark.parametrize("settings", [{}, {"optimize": True}, {"subsampling": 0}, {"quality": 5}, {"quality": 100}])
def test_codes_of_a_whole_jpeg_are_right_and_those_with_less_or_more_at_the_end_are_wrong(settings):
    random = np.random.default_rng(0)
    noise = Image.fromarray(random.integers(0, 2, (67, 93, 3), np.uint8) * 255)
    for image in (photo(), noise, noise.convert("L")):
        data = saved(image, "JPEG", **settings)
        start, end = pixels_of(data)
        assert wrong_codes(data, start, end) is False
        assert wrong_codes(data, start, end - 6) is True
        more = data[:end] + bytes(random.integers(1, 255, 6, np.uint8)) + data[end:]
        assert wrong_codes(more, start, end + 6) is True


def test_a_jpeg_with_a_part_between_two_marks_missing_has_wrong_codes():
    data = saved(photo(), "JPEG", restart_marker_blocks=4)
    start, end = pixels_of(data)
    assert wrong_codes(data, start, end) is False
    first, second = data.index(b"\xff\xd1"), data.index(b"\xff\xd2")
    assert wrong_codes(data[:first] + data[second:], start, end - second + first) is True


def test_of_a_progressive_jpeg_nothing_is_told():
    data = saved(photo(), "JPEG", progressive=True)
    assert wrong_codes(data, *pixels_of(data)) is None


def test_a_jpeg_whose_end_is_zeros_is_damaged():
    data = saved(photo(), "JPEG", quality=85)
    for share in (0.3, 0.6, 0.95):
        kept = int(share * len(data))
        try:
            assert damage(data[:kept] + bytes(len(data) - kept)) != ""
        except DataError as error:
            assert "truncated" in str(error)


def test_a_jpeg_that_lacks_its_last_bytes_is_read_and_said_to_be_cut_off():
    data = saved(photo(400), "JPEG", quality=85)
    assert damage(data[:-40]) == "is cut off at its end"


def test_wrong_checksums_of_a_png_are_seen():
    data = bytearray(saved(photo(), "PNG"))
    at = data.index(b"IDAT") - 4
    data[at + 8 + int.from_bytes(data[at : at + 4], "big")] ^= 1
    assert damage(bytes(data)) == "has a wrong checksum in its part IDAT"
    assert damage(saved(photo(), "PNG")) == ""


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the real photos")
def test_no_real_photo_counts_as_damaged():
    files = [file for folder in sorted(PHOTOS.iterdir()) for file in sorted(folder.rglob("*.[jJ][pP][gG]"))[::60]]
    assert len(files) > 100
    assert [file.name for file in files if damage(file.read_bytes())] == []


# --------------------------------------------------------------------------------------------------------- the cache


def test_a_second_scan_reads_no_file_and_says_the_same(tmp_path):
    files = [*pictures(tmp_path / "a"), older(_written(tmp_path / "a" / "text.jpg", b"no picture"))]
    first, second = scan(files), scan(files)
    assert (first.looked_at, second.looked_at) == (7, 0)
    for name in ("names", "reasons", "kinds", "sha256", "pixels_sha256", "modes"):
        assert getattr(first, name) == getattr(second, name)
    for name in ("thumbnails", "brightness", "sizes", "taken", "border"):
        assert np.array_equal(getattr(first, name), getattr(second, name), equal_nan=name != "thumbnails")


def test_a_changed_file_is_read_again_and_the_others_are_not(tmp_path):
    files = pictures(tmp_path / "a")
    before = scan(files)
    older(_written(files[2], saved(photo(), "PNG")), HOUR / 2)
    after = scan(files)
    assert after.looked_at == 1
    assert after.sizes.tolist() == [[60, 60]] * 2 + [[120, 120]] + [[60, 60]] * 3
    assert np.array_equal(after.thumbnails[[0, 1, 3, 4, 5]], before.thumbnails[[0, 1, 3, 4, 5]])
    assert not np.array_equal(after.thumbnails[2], before.thumbnails[2])


def test_a_file_of_the_same_size_with_another_time_is_read_again(tmp_path):
    files = pictures(tmp_path / "a")
    scan(files)
    older(files[1], 10)
    assert scan(files).looked_at == 1


def test_a_file_written_a_moment_ago_is_read_again(tmp_path):
    files = pictures(tmp_path / "a")
    os.utime(files[0])
    assert [scan(files).looked_at, scan(files).looked_at] == [6, 1]


def test_more_files_fewer_files_and_another_order_keep_what_is_known(tmp_path):
    files = pictures(tmp_path / "a", 8)
    first = scan(files[:6], root=tmp_path)
    for chosen, new in ((files, 2), (files[::-1], 0), ([files[7], files[1], files[4]], 0)):
        found = scan(chosen, root=tmp_path)
        assert found.looked_at == new
        assert found.names == tuple(file.relative_to(tmp_path).as_posix() for file in chosen)
        rows = [files.index(file) for file in chosen if file in files[:6]]
        places = [chosen.index(files[row]) for row in rows]
        assert np.array_equal(found.thumbnails[places], first.thumbnails[rows])


def test_a_damaged_cache_is_ignored_and_made_anew(tmp_path, cache):
    files = pictures(tmp_path / "a")
    first = scan(files)
    (folder,) = cache.iterdir()

    def columns(change):
        return lambda: (folder / "columns.npz").write_bytes(change((folder / "columns.npz").read_bytes()))

    def thumbnails(change):
        def do():
            (file,) = folder.glob("*.npy")
            change(file)

        return do

    for damage_it in (
        columns(lambda data: data[: len(data) // 2]),
        columns(lambda data: b""),
        columns(lambda data: b"PK\3\4 and nothing that a zip has"),
        columns(lambda data: data[:2000] + bytes(200) + data[2200:]),
        thumbnails(Path.unlink),
        thumbnails(lambda file: file.write_bytes(file.read_bytes()[:-5])),
        thumbnails(lambda file: file.write_bytes(file.read_bytes()[:-5] + b"wrong")),
        lambda: shutil.rmtree(folder),
    ):
        damage_it()
        again = scan(files)
        assert again.looked_at == 6
        assert np.array_equal(again.thumbnails, first.thumbnails)
        assert again.sha256 == first.sha256
        assert scan(files).looked_at == 0


def test_another_decoder_makes_the_cache_anew(tmp_path, monkeypatch):
    files = pictures(tmp_path / "a", 2)
    scan(files)
    monkeypatch.setattr(scan_cache, "_version", lambda package: "99")
    assert scan(files).looked_at == 2


def test_what_was_learned_before_an_interruption_is_kept(tmp_path, monkeypatch):
    files = pictures(tmp_path / "a", 100)

    class Interrupted(examiners.Examiner):
        calls = 0

        def examine(self, batch):
            Interrupted.calls += 1
            if Interrupted.calls == 3:
                raise KeyboardInterrupt
            return super().examine(batch)

    with monkeypatch.context() as patch:
        patch.setattr("kt.data.checks.scan.Examiner", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            scan(files, workers=1)
    found = scan(files)
    assert found.looked_at == 36
    assert not any(found.reasons)


def test_leftovers_of_a_killed_scan_are_removed(tmp_path, cache):
    files = pictures(tmp_path / "a", 2)
    scan(files)
    os.utime(files[0], (1, 1))
    scan(files)
    (folder,) = cache.iterdir()
    assert len([*folder.glob("thumbnails-*.npy")]) == 1
    assert not [*folder.glob(".part-*")]


def test_thumbnails_stay_readable_after_a_later_scan(tmp_path):
    files = pictures(tmp_path / "a")
    first = scan(files)
    kept = np.array(first.thumbnails)
    files[0].unlink()
    scan(files[1:])
    assert np.array_equal(first.thumbnails, kept)


def test_scans_used_longest_ago_make_room(tmp_path, cache, monkeypatch):
    scan(pictures(tmp_path / "a", 4))
    (oldest,) = cache.iterdir()
    os.utime(oldest, (1, 1))
    scan(pictures(tmp_path / "b", 4))
    monkeypatch.setattr(scan_cache, "LIMIT", 9 * 12288 + 50_000)
    scan(pictures(tmp_path / "c", 4))
    assert not oldest.exists()
    assert len([*cache.iterdir()]) == 2


def test_a_disk_without_room_ends_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(scan_cache.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 1000))
    with pytest.raises(EnvironmentProblem, match="KT_HOME"):
        scan(pictures(tmp_path / "a", 2))


def test_names_of_all_kinds_come_through_the_cache(tmp_path):
    folder = tmp_path / "a"
    names = ["Ä b.png", "数字.png", "new\nline.png", os.fsdecode(b"\xff\xfe.png"), "-x.png", "%41.png"]
    for name, file in zip(names, pictures(folder, len(names)), strict=True):
        file.rename(folder / name)
    files = [folder / name for name in names]
    for _ in range(2):
        assert scan(files).names == tuple(names)
        assert not any(scan(files).reasons)
    assert scan(files).looked_at == 0


def test_no_files_give_an_empty_scan(tmp_path):
    for _ in range(2):
        found = scan([], root=tmp_path)
        assert (len(found), found.thumbnails.shape, found.sizes.shape) == (0, (0, 64, 64, 3), (0, 2))


def test_names_can_be_given_and_have_to_be_as_many_as_files(tmp_path):
    files = pictures(tmp_path / "a", 2)
    assert scan(files, names=["one", "two"]).names == ("one", "two")
    with pytest.raises(ValueError, match="1 names for 2 files"):
        scan(files, names=["one"])
