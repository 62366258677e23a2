"""What pictures may cost, of which kinds they may be, and how large and how broken."""

import io
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, features

from kt.errors import DataError
from kt.kinds.pictures.images import decode_in_graph as decode_in_the_saved_model
from kt.kinds.pictures.images import read_rgb, servable_bytes

CASES = Path(__file__).parents[2] / "shared" / "cases"


def photo(height: int = 45, width: int = 67, seed: int = 0) -> Image.Image:
    small = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def served(data: bytes) -> np.ndarray:
    return decode_in_the_saved_model(tf.constant(servable_bytes(data))).numpy()


def refused(data: bytes, match: str) -> None:
    for read in (read_rgb, servable_bytes):
        with pytest.raises(DataError, match=match):
            read(data)


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


# ------------------------------------------------------------------------------------------------ what they may cost


def with_scans(count: int, size: tuple[int, int] = (64, 64)) -> bytes:
    """A progressive JPEG whose last scan comes `count` times."""
    file = saved(Image.new("L", size, 128), "JPEG", progressive=True)
    return file[:-2] + file[file.rindex(b"\xff\xda") : -2] * count + file[-2:]


def with_segments(marker: int, payload: bytes, count: int) -> bytes:
    file = saved(photo(), "JPEG")
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload
    return file[:2] + segment * count + file[2:]


@pytest.mark.parametrize("count", [120, 3000])
def test_a_jpeg_of_very_many_scans_is_refused(count: int) -> None:
    refused(with_scans(count), "more than 100 scans")


def test_scans_count_the_more_the_larger_the_picture_is() -> None:
    assert read_rgb(with_scans(60)).shape == (64, 64, 3)
    refused(with_scans(60, (8000, 7900)), r"scans over 63,200,000 pixels")


def test_scans_of_embedded_pictures_do_not_count() -> None:
    thumbnail = saved(photo(8, 8), "JPEG", progressive=True)
    assert read_rgb(with_segments(0xE2, thumbnail, 40)).shape == (45, 67, 3)


@pytest.mark.parametrize("marker", [0xE1, 0xE2, 0xE5, 0xED, 0xFE, 0xC4, 0xDB, 0xDD])
def test_a_jpeg_of_very_many_segments_is_refused(marker: int) -> None:
    refused(with_segments(marker, b"", 20_000), "more than 5,000 segments")


@pytest.mark.parametrize("fill", [b"\xff", b"\xff\xd0", b"\xff\xf0\0\x20", b"\0"])
def test_a_jpeg_of_very_many_bytes_between_its_segments_is_refused(fill: bytes) -> None:
    file = saved(photo(), "JPEG")
    refused(file[:20] + fill * 100_000 + file[20:], "bytes of none")


def test_very_much_exif_is_refused() -> None:
    refused(with_segments(0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0" + b"x" * 60_000, 100), "bytes of EXIF")


def test_values_that_lie_over_each_other_are_refused() -> None:
    entries = b"".join(struct.pack("<HHII", tag, 1, 40_000, 8) for tag in range(2000, 3000))
    exif = b"II*\0\x08\0\0\0" + struct.pack("<H", 1000) + entries + b"\0" * 45_000
    refused(with_segments(0xE1, b"Exif\0\0" + exif, 1), "values claim 40,000,000 bytes")


@pytest.mark.parametrize("place", [33, -12])
@pytest.mark.parametrize(("name", "count"), [(b"teSt", 11_000), (b"tEXt", 11_000), (b"iCCP", 300), (b"zTXt", 300)])
def test_a_png_of_very_many_chunks_is_refused(name: bytes, count: int, place: int) -> None:
    file = saved(photo(), "PNG")
    refused(file[:place] + chunk(name, b"a\0\0" + zlib.compress(b"b")) * count + file[place:], "is a PNG of more than")


def test_a_png_of_very_many_pieces_of_pixels_is_refused() -> None:
    file = saved(photo(), "PNG")
    refused(file[:33] + chunk(b"IDAT") * 101_000 + file[33:], "100,000 chunks of pixels")


@pytest.mark.parametrize("blocks", [b"\x21\xfe\0" * 110_000, b"\x21\xfe" + b"\1a" * 110_000 + b"\0", b"\0" * 110_000])
def test_a_gif_of_very_many_blocks_is_refused(blocks: bytes) -> None:
    file = saved(photo().quantize(4), "GIF")
    place = 13 + 3 * 2 ** ((file[10] & 7) + 1)
    refused(file[:place] + blocks + file[place:], "more than 100,000 blocks")


def test_a_bmp_of_very_many_runs_is_refused() -> None:
    runs = b"\0\2\1\0" * 1_100_000
    header = struct.pack("<IiiHHIIiiII", 40, 9000, 9000, 1, 8, 1, 0, 0, 0, 256, 0)
    refused(b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078) + header + b"\0" * 1024 + runs, "run-length encoding")


def tiff(**changes: tuple[int, int]) -> bytes:
    """A grey TIFF of 64 x 64 without any packing; `changes`: what entries say instead, kind and count or value."""
    tags = {256: (3, 1, 64), 257: (3, 1, 64), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 200)}
    tags |= {277: (3, 1, 1), 278: (3, 1, 64), 279: (4, 1, 4096)}
    tags |= {int(tag.removeprefix("t")): (4, *entry) for tag, entry in changes.items()}
    entries = b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags))
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0" * 4
    return head.ljust(200, b"\0") + b"\x7f" * 4096


def test_a_tiff_that_claims_millions_of_strips_is_refused() -> None:
    assert (read_rgb(tiff()) == 127).all()
    refused(tiff(t273=(4_000_000, 200), t279=(4_000_000, 200)), "claims 4,000,000 strips")


def test_a_tiff_whose_tiles_are_far_larger_than_itself_is_refused() -> None:
    refused(
        tiff(t257=(1, 900_000), t322=(1, 16_000), t323=(1, 16), t324=(1, 200), t325=(1, 4096)), "tiles of 16000 x 16"
    )


@pytest.mark.parametrize("packing", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "group4"])
def test_what_libraries_say_of_a_damaged_tiff_is_not_printed(packing: str, capfd: pytest.CaptureFixture) -> None:
    good = saved(photo().convert("1" if packing == "group4" else "RGB"), "TIFF", compression=packing)
    for cut in (0, 5, 50, 500):
        for data in (good[: 8 + cut] + b"\xff" * 40 + good[48 + cut :], tiff(t259=(1, 5)), tiff(t277=(1, 40))):
            with suppress(DataError):
                read_rgb(data)
    assert capfd.readouterr() == ("", "")


def test_a_tiff_of_very_many_tags_is_refused() -> None:
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, 0) for tag in range(5000))
    refused(b"II*\0\x08\0\0\0" + struct.pack("<H", 5000) + entries + b"\0" * 4, "directory of 5,000 tags")


def test_what_real_programs_write_stays_far_below_the_limits() -> None:
    assert read_rgb(with_segments(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"x" * 65_000, 300)).any()
    assert read_rgb(with_segments(0xE1, b"Exif\0\0II*\0\x08\0\0\0\0\0" + b"x" * 60_000, 3)).any()
    pixels = zlib.compress(np.asarray(photo()).tobytes())
    file = saved(photo(), "PNG")
    assert pixels and read_rgb(file[:33] + chunk(b"tEXt", b"a\0b") * 500 + file[33:]).any()


# ------------------------------------------------------------------------------------------------ kinds


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_read_and_served_alike() -> None:
    file = saved(photo(), "AVIF", quality=95)
    assert np.abs(read_rgb(file).astype(int) - np.asarray(photo())).mean() < 4
    assert np.array_equal(served(file), read_rgb(file))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_with_transparency_is_on_white_and_upright() -> None:
    clear = Image.new("RGBA", (20, 10), (255, 0, 0, 0))
    assert read_rgb(saved(clear, "AVIF")).min() > 250
    exif = Image.Exif()
    exif[0x0112] = 6
    assert read_rgb(saved(photo(20, 40), "AVIF", exif=exif)).shape == (40, 20, 3)


def heic(image: Image.Image, **options: object) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(image).save(buffer, format="HEIF", **options)
    return buffer.getvalue()


def test_heic_is_read_whatever_its_name_and_served_alike(tmp_path: Path) -> None:
    file = tmp_path / "from_a_phone.jpg"
    file.write_bytes(heic(photo(), quality=95))
    assert np.abs(read_rgb(file).astype(int) - np.asarray(photo())).mean() < 10
    assert np.array_equal(served(file.read_bytes()), read_rgb(file))
    assert servable_bytes(file).startswith(b"\x89PNG")


def test_damaged_heic_and_avif_are_refused_and_the_next_picture_is_read() -> None:
    whole = heic(photo())
    for broken in (whole[: len(whole) // 2], whole[:64] + b"\0" * 400, whole[:-30] + b"\xff" * 30):
        try:
            assert read_rgb(broken).shape == (45, 67, 3)
        except DataError as error:
            assert "\n" not in str(error)
    assert read_rgb(whole).shape == (45, 67, 3)


def test_kinds_that_need_a_package_say_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kt.kinds.pictures.decode.find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"HEIC, .*pip install .*heic"):
        read_rgb(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 100)
    with pytest.raises(DataError, match=r"DICOM, .*pip install .*dicom"):
        read_rgb(b"\0" * 128 + b"DICM" + b"\0" * 100)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"<!DOCTYPE html>\n<html><body>Not found</body></html>", "an HTML page"),
        (b"\xef\xbb\xbf\n <html>", "an HTML page"),
        (b"", "an empty file"),
        (b"\0" * 5000, "nothing but zeros"),
        (b"%PDF-1.7 ", "a PDF document"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0", "a film"),
        (b"PK\3\4 and more", "a zip archive"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b'{"error": "quota"}', "an answer of a server"),
        (b"path,label\na.jpg,b\n", "text"),
    ],
)
def test_what_is_no_picture_is_called_what_it_is(data: bytes, what: str) -> None:
    refused(data, what)


# ------------------------------------------------------------------------------------------------ without their end


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("missing", [1, 2])
def test_a_jpeg_without_its_end_marker_is_read_as_with_it(missing: int, options: dict[str, object]) -> None:
    file = saved(photo(200, 300), "JPEG", **options)
    assert np.array_equal(read_rgb(file[:-missing]), read_rgb(file))
    assert np.array_equal(served(file[:-missing]), read_rgb(file))


def test_a_jpeg_that_lacks_its_last_block_is_read_and_one_that_lacks_much_is_refused() -> None:
    file = saved(photo(400, 600), "JPEG", quality=95)
    short = read_rgb(file[:-12])
    assert np.array_equal(short[:380], read_rgb(file)[:380])
    assert np.array_equal(served(file[:-12]), short)
    refused(file[: len(file) // 2], r"is truncated: \d\d% of it is missing")
    refused(saved(photo(400, 600), "JPEG", progressive=True)[:-3000], "last scans are missing")


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not in the package")
def test_the_cases_of_single_pictures() -> None:
    assert read_rgb(CASES / "serve" / "one_byte_short.jpg").shape == (256, 256, 3)
    for name in ("plain.jpg", "x.jfif", "photo1", "a.avif"):
        assert read_rgb(CASES / "predict_mixed" / name).shape == (256, 256, 3)
    with pytest.raises(DataError, match="HEIC"):
        read_rgb(CASES / "serve" / "phone_renamed.jpg")


# ------------------------------------------------------------------------------------------------ large photos


@pytest.mark.parametrize(("size", "read"), [((8000, 6000), (3000, 4000)), ((12000, 9000), (4500, 6000))])
def test_photos_of_48_and_108_megapixels_are_read_at_half_their_size_and_served_alike(
    size: tuple[int, int], read: tuple[int, int]
) -> None:
    file = saved(photo(60, 80).resize(size), "JPEG", quality=70)
    pixels = read_rgb(file)
    assert pixels.shape == (*read, 3)
    assert np.abs(pixels[::50, ::50].astype(int) - np.asarray(photo(60, 80).resize(read[::-1]))[::50, ::50]).mean() < 4
    assert servable_bytes(file) == file
    assert np.array_equal(served(file), pixels)


def test_a_jpeg_of_more_than_256_megapixels_is_refused() -> None:
    file = bytearray(saved(photo(), "JPEG"))
    place = file.index(b"\xff\xc0") + 5
    file[place : place + 4] = struct.pack(">HH", 16_100, 16_000)
    refused(bytes(file), "claims 16000 x 16100 pixels|exceeds limit of 256000000 pixels")
