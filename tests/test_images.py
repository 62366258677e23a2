"""How pictures are read: every kind that a phone, a scanner or a web page makes, and whatever is broken."""

import io
import os
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from kt.errors import DataError
from kt.kinds.pictures.find import find_pictures
from kt.kinds.pictures.images import (
    MAX_PIXELS,
    contents,
    encode_png,
    read_rgb,
    resize,
    resize_in_graph,
    servable_bytes,
)
from kt.kinds.pictures.images import decode_in_graph as decode_in_the_saved_model

SHARED = Path(__file__).parents[2] / "shared" / "data"


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def photo(height: int = 45, width: int = 67, seed: int = 0) -> Image.Image:
    """A smooth colourful picture, which survives JPEG; odd sides, since chroma is stored at half the size."""
    small = Image.fromarray(noise(7, 9, 3, seed=seed))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(rows: list[bytes], *, width: int, depth: int, colour: int, extra: bytes = b"", interlace: int = 0) -> bytes:
    """A PNG written by hand, for the kinds that Pillow doesn't write. `rows` are unfiltered scan lines."""
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, interlace)
    lines = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", lines) + chunk(b"IEND", b"")
    )  # fmt: skip


def interlaced(pixels: np.ndarray) -> bytes:
    """An 8-bit RGB PNG in Adam7 order."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    lines = b"".join(
        b"\0" + row.tobytes() for top, left, down, right in passes for row in pixels[top::down, left::right] if row.size
    )
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 1)
    idat = chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + idat + chunk(b"IEND", b"")


def on_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None].astype(float) / 255
    return np.floor(rgb * share + 255 * (1 - share) + 0.5)


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


# ------------------------------------------------------------------------------------------------ modes


def test_grey_has_three_equal_channels() -> None:
    grey = noise(5, 7)
    assert (read_rgb(saved(Image.fromarray(grey), "PNG")) == grey[..., None]).all()


def test_one_bit_is_black_and_white() -> None:
    bits = noise(5, 11) > 127
    assert (read_rgb(saved(Image.fromarray(bits), "PNG")) == np.where(bits, 255, 0)[..., None]).all()


@pytest.mark.parametrize(("depth", "packed"), [(2, b"\x1b"), (4, b"\x05\xaf")])
def test_grey_of_few_bits_reaches_from_black_to_white(depth: int, packed: bytes) -> None:
    image = read_rgb(png([packed], width=4, depth=depth, colour=0))
    assert image[0, :, 0].tolist() == [0, 85, 170, 255]


def test_palette_colours_are_looked_up() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([1, 0])
    assert read_rgb(saved(image, "PNG")).tolist() == [[[200, 100, 50], [10, 20, 30]]]


def test_a_transparent_palette_colour_is_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([1, 0])
    for kind in ("PNG", "GIF"):
        assert read_rgb(saved(image, kind, transparency=0)).tolist() == [[[200, 100, 50], [255, 255, 255]]]


def test_a_half_transparent_palette_colour_is_laid_on_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([1, 0])
    half = read_rgb(saved(image, "PNG", transparency=bytes([128, 255])))
    assert half.tolist() == [[[200, 100, 50], [132, 137, 142]]]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_rgba_is_laid_on_white(kind: str) -> None:
    rgba = noise(16, 18, 4)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    expected = on_white(rgba[..., :3], rgba[..., 3])
    assert np.abs(read_rgb(saved(Image.fromarray(rgba), kind, **options)) - expected).max() <= 0.5


def test_what_is_fully_transparent_is_white_and_what_is_opaque_is_kept() -> None:
    rgba = noise(6, 6, 4)
    rgba[:3, :, 3], rgba[3:, :, 3] = 0, 255
    image = read_rgb(saved(Image.fromarray(rgba), "PNG"))
    assert (image[:3] == 255).all()
    assert (image[3:] == rgba[3:, :, :3]).all()


def test_grey_with_alpha_is_laid_on_white() -> None:
    pixels = noise(9, 7, 2)
    image = read_rgb(saved(Image.fromarray(pixels, mode="LA"), "PNG"))
    assert (image == on_white(pixels[..., :1].repeat(3, axis=2), pixels[..., 1])).all()


def test_a_large_transparent_picture_is_the_same_in_every_band() -> None:
    rgba = np.full((700, 5, 4), (10, 20, 30, 51), np.uint8)
    assert (read_rgb(saved(Image.fromarray(rgba), "PNG")) == (206, 208, 210)).all()


def test_a_colour_that_is_declared_transparent_is_white() -> None:
    pixels = noise(4, 4, 3)
    image = read_rgb(saved(Image.fromarray(pixels), "PNG", transparency=tuple(int(v) for v in pixels[1, 2])))
    assert (image[1, 2] == 255).all()
    assert (image[0, 0] == pixels[0, 0]).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_read_by_its_high_byte(kind: str) -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (6, 9), np.uint16)
    deep[0, :3] = 0, 255, 65535
    assert (read_rgb(saved(Image.fromarray(deep), kind)) == (deep // 256)[..., None]).all()


def test_16_bit_grey_tiff_of_either_byte_order_is_read_by_its_high_byte() -> None:
    deep = np.array([[0x1234, 0xFF00]], np.uint16)
    for order, first in ((">", b"MM"), ("<", b"II")):
        tags = [
            (256, 3, 2), (257, 3, 1), (258, 3, 16), (259, 3, 1), (262, 3, 1),
            (273, 4, 122), (277, 3, 1), (278, 3, 1), (279, 4, 4),
        ]  # fmt: skip
        entries = b"".join(
            struct.pack(order + ("HHIHxx" if kind == 3 else "HHII"), tag, kind, 1, value) for tag, kind, value in tags
        )
        head = first + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", len(tags)) + entries + b"\0" * 4
        file = head + deep.astype(order + "u2").tobytes()
        assert read_rgb(file)[0, :, 0].tolist() == [0x12, 0xFF], first


def test_16_bit_rgb_png_is_read_by_its_high_byte() -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (3, 5, 3), np.uint16)
    file = png([row.astype(">u2").tobytes() for row in deep], width=5, depth=16, colour=2)
    assert (read_rgb(file) == deep // 256).all()


def test_floating_point_pictures_are_refused_since_their_range_is_unknown() -> None:
    file = saved(Image.fromarray(np.full((4, 4), 0.5, np.float32)), "TIFF")
    with pytest.raises(DataError, match="floating-point values, whose range is unknown"):
        read_rgb(file)


def test_more_than_16_bits_are_refused() -> None:
    file = saved(Image.fromarray(np.full((4, 4), 2**20, np.int32)), "TIFF")
    with pytest.raises(DataError, match="more than 16 bits"):
        read_rgb(file)


def test_cmyk_jpeg_as_adobe_writes_it_inverted() -> None:
    # Pillow writes CMYK as Adobe does: inverted, with an Adobe marker.
    file = saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100)
    assert b"Adobe" in file
    assert np.abs(read_rgb(file).astype(int) - (255, 0, 0)).max() <= 2


def test_ycck_jpeg_is_turned_into_cmyk_first() -> None:
    stored = (180, 90, 200, 10)  # C, M, Y, K as Pillow counts them; in the file each is 255 minus that
    file = bytearray(saved(Image.new("CMYK", (16, 16), stored), "JPEG", quality=100))
    marker = file.index(b"Adobe") + 11
    assert file[marker] == 0
    file[marker] = 2  # the same numbers, now declared as Y, Cb, Cr, K
    y, cb, cr, k = (255 - value for value in stored)
    red, green, blue = y + 1.402 * (cr - 128), y - 0.344 * (cb - 128) - 0.714 * (cr - 128), y + 1.772 * (cb - 128)
    # YCCK stores the RGB of 255 - CMY; Adobe's inversion makes the ink of that, and ink over black gives the colour.
    expected = np.clip([red, green, blue], 0, 255)
    expected = (255 - expected) * k / 255
    assert np.abs(read_rgb(bytes(file))[8, 8] - expected).max() <= 4


def test_jpeg_that_stores_rgb_itself_keeps_its_colours() -> None:
    file = saved(Image.new("RGB", (16, 16), (200, 30, 90)), "JPEG", quality=100, keep_rgb=True)
    assert file[file.index(b"Adobe") + 11] == 0
    assert np.abs(read_rgb(file).astype(int) - (200, 30, 90)).max() <= 2


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_an_animation_the_first_frame_is_read(kind: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    file = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(file)).n_frames == 2
    assert (read_rgb(file) == (255, 0, 0)).all()


def test_a_phone_jpeg_with_a_second_picture_gives_the_first() -> None:
    first = photo()
    file = saved(first, "MPO", save_all=True, append_images=[photo(seed=1)])
    assert Image.open(io.BytesIO(file)).format == "MPO"
    assert (read_rgb(file) == read_rgb(saved(first, "JPEG"))).all()


def test_cmyk_tiff_is_read() -> None:
    file = saved(Image.new("CMYK", (4, 4), (255, 0, 255, 0)), "TIFF")
    assert (read_rgb(file) == (0, 255, 0)).all()


# ------------------------------------------------------------------------------------------------ orientation

# How a stored picture is shown, by its EXIF orientation (TIFF 6.0: where the stored row 0 and column 0 lie).
SHOWN = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: p.transpose(1, 0, 2)[:, ::-1],
    7: lambda p: p.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda p: p.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", SHOWN)
def test_every_exif_orientation_is_shown_upright(orientation: int, kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    stored = read_rgb(saved(photo(), kind, **options))
    turned = read_rgb(saved(photo(), kind, exif=exif(orientation), **options))
    assert np.array_equal(turned, SHOWN[orientation](stored))


def test_grey_of_16_bits_is_turned_too() -> None:
    deep = np.random.default_rng(0).integers(0, 65536, (3, 5), np.uint16)
    file = saved(Image.fromarray(deep), "PNG", exif=exif(6))
    assert np.array_equal(read_rgb(file)[..., 0], (deep // 256).T[:, ::-1])


def test_exif_behind_the_pixels_of_a_png_counts() -> None:
    plain = saved(photo(), "PNG")
    end = plain.index(b"IEND") - 4
    file = plain[:end] + chunk(b"eXIf", exif(3).tobytes().removeprefix(b"Exif\0\0")) + plain[end:]
    assert np.array_equal(read_rgb(file), read_rgb(plain)[::-1, ::-1])
    assert np.array_equal(served(file), read_rgb(file))


@pytest.mark.parametrize("damaged", [b"Exif\0\0", b"Exif\0\0XX*\0", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0MM\0*"])
def test_a_damaged_exif_part_leaves_the_picture_readable(damaged: bytes) -> None:
    plain = saved(photo(), "JPEG")
    file = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(damaged) + 2) + damaged + plain[2:]
    assert np.array_equal(read_rgb(file), read_rgb(plain))


@pytest.mark.parametrize("orientation", [0, 9, 700])
def test_an_orientation_that_does_not_exist_is_upright(orientation: int) -> None:
    assert np.array_equal(read_rgb(saved(photo(), "JPEG", exif=exif(orientation))), read_rgb(saved(photo(), "JPEG")))


# ------------------------------------------------------------------------------------------------ serving


def served(source: Path | bytes) -> np.ndarray:
    return decode_in_the_saved_model(tf.constant(servable_bytes(source))).numpy()


def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


def plain_files() -> dict[str, bytes]:
    """What TensorFlow's decoders read as Pillow does, so that the file's own bytes may be sent."""
    image = photo()
    gamma = chunk(b"gAMA", struct.pack(">I", 100_000))
    pixels = np.asarray(image)
    rows = [row.tobytes() for row in pixels]
    return {
        "JPEG 4:2:0": saved(image, "JPEG", subsampling=2, quality=80),
        "JPEG 4:2:2": saved(image, "JPEG", subsampling=1),
        "JPEG 4:4:4": saved(image, "JPEG", subsampling=0),
        "JPEG progressive": saved(image, "JPEG", progressive=True),
        "JPEG grey": saved(image.convert("L"), "JPEG"),
        "JPEG of RGB": saved(image, "JPEG", keep_rgb=True),
        "JPEG with restart markers": saved(image, "JPEG", restart_marker_rows=1),
        "JPEG with a profile": saved(image, "JPEG", icc_profile=profile()),
        "JPEG, EXIF upright": saved(image, "JPEG", exif=exif(1)),
        "JPEG and a second picture": saved(image, "MPO", save_all=True, append_images=[photo(seed=1)]),
        "JPEG of one pixel": saved(photo(1, 1), "JPEG"),
        "JPEG 17 x 1": saved(photo(1, 17), "JPEG", subsampling=2),
        "PNG": saved(image, "PNG"),
        "PNG grey": saved(image.convert("L"), "PNG"),
        "PNG interlaced": interlaced(pixels),
        "PNG with gamma": png(rows, width=67, depth=8, colour=2, extra=gamma),
        "PNG with sRGB": png(rows, width=67, depth=8, colour=2, extra=chunk(b"sRGB", b"\0")),
        "PNG with a profile": saved(image, "PNG", icc_profile=profile()),
    }


def other_files() -> dict[str, bytes]:
    """What TensorFlow's decoders read differently, or not at all."""
    image = photo()
    red, green, _ = image.split()
    deep = np.random.default_rng(0).integers(0, 65536, (9, 5, 3), np.uint16)
    return {
        "JPEG on its side": saved(image, "JPEG", exif=exif(6)),
        "JPEG on its side, and a second picture": saved(
            image, "MPO", save_all=True, append_images=[image], exif=exif(8)
        ),
        "JPEG CMYK": saved(image.convert("CMYK"), "JPEG"),
        "PNG on its side": saved(image, "PNG", exif=exif(5)),
        "PNG of one bit": saved(image.convert("1"), "PNG"),
        "PNG grey of two bits": png([bytes([0b00011011])], width=4, depth=2, colour=0),
        "PNG grey of four bits": png([bytes([0x05, 0xAF])], width=4, depth=4, colour=0),
        "PNG palette": saved(image.quantize(30), "PNG"),
        "PNG palette, transparent": saved(image.quantize(30), "PNG", transparency=4),
        "PNG RGBA": saved(Image.merge("RGBA", [*image.split(), red]), "PNG"),
        "PNG LA": saved(Image.merge("LA", [green, red]), "PNG"),
        "PNG with a transparent colour": saved(image, "PNG", transparency=image.getpixel((3, 4))),
        "PNG grey, 16 bits": saved(Image.fromarray(deep[..., 0].copy()), "PNG"),
        "PNG RGB, 16 bits": png([row.astype(">u2").tobytes() for row in deep], width=5, depth=16, colour=2),
        "TIFF, 16 bits": saved(Image.fromarray(deep[..., 0].copy()), "TIFF"),
        "GIF, animated": saved(image, "GIF", save_all=True, append_images=[photo(seed=1)]),
        "WebP": saved(image, "WEBP"),
        "BMP": saved(image, "BMP"),
        "TIFF": saved(image, "TIFF"),
    }


@pytest.mark.parametrize("name", plain_files())
def test_plain_files_are_served_as_they_are_and_decoded_exactly_as_in_training(name: str) -> None:
    file = plain_files()[name]
    assert servable_bytes(file) == file
    assert np.array_equal(served(file), read_rgb(file))


@pytest.mark.parametrize("name", other_files())
def test_all_other_files_are_served_as_png_and_decoded_exactly_as_in_training(name: str) -> None:
    file = other_files()[name]
    assert servable_bytes(file).startswith(b"\x89PNG")
    assert servable_bytes(file) != file
    assert np.array_equal(served(file), read_rgb(file))


def real_photos() -> list[Path]:
    files = [list(find_pictures(folder))[::97][:5] for folder in sorted(SHARED.glob("*/test"))]
    return [file for some in files for file in some]


@pytest.mark.skipif(not SHARED.is_dir(), reason="real photos are not in the package")
def test_real_photos_are_decoded_by_the_saved_model_exactly_as_in_training() -> None:
    photos = real_photos()
    assert len(photos) >= 15
    for file in photos:
        assert servable_bytes(file) == file.read_bytes(), file
        assert np.array_equal(served(file), read_rgb(file)), file


def test_the_resize_inside_a_graph_is_the_same_bit_for_bit() -> None:
    inside = tf.function(
        lambda image: resize_in_graph(image, (32, 48)), input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)]
    )
    for height, width in ((45, 67), (32, 48), (224, 224), (300, 10), (1, 1), (1000, 3)):
        pixels = noise(height, width, 3)
        assert np.array_equal(inside(pixels).numpy(), resize(pixels, (32, 48)))


def test_png_without_loss() -> None:
    pixels = noise(13, 7, 3)
    assert np.array_equal(read_rgb(encode_png(pixels)), pixels)


# ------------------------------------------------------------------------------------------------ resizing


def test_a_picture_of_the_right_size_is_not_changed() -> None:
    pixels = noise(32, 48, 3)
    assert np.array_equal(resize(pixels, (32, 48)), pixels)


def test_shrinking_averages_instead_of_picking_pixels() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    inner = resize(stripes, (8, 8))[1:-1, 1:-1]
    assert np.abs(inner.astype(int) - 128).max() <= 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (3, 2), (1, 65000)])
def test_tiny_and_extremely_long_pictures_resize(shape: tuple[int, int]) -> None:
    pixels = np.full((*shape, 3), (12, 200, 77), np.uint8)
    small = resize(read_rgb(encode_png(pixels)), (224, 160))
    assert small.shape == (224, 160, 3)
    assert (small == (12, 200, 77)).all()


# ------------------------------------------------------------------------------------------------ what can't be read


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"hello", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"RIFF"]
)
def test_what_is_no_picture_says_so_in_one_line(data: bytes) -> None:
    with pytest.raises(DataError) as caught:
        read_rgb(data)
    assert str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_a_truncated_picture_is_refused(kind: str) -> None:
    file = saved(photo(200, 200), kind)
    with pytest.raises(DataError):
        read_rgb(file[: len(file) // 2])
    with pytest.raises(DataError):
        servable_bytes(file[: len(file) // 2])


def test_postscript_is_never_handed_to_an_interpreter() -> None:
    with pytest.raises(DataError, match="not a JPEG, PNG, GIF, BMP, WebP or TIFF"):
        read_rgb(saved(photo(), "EPS"))


def bomb(width: int, height: int) -> bytes:
    """A few kilobytes that claim gigabytes."""
    rows = zlib.compressobj(9)
    some = b"".join(rows.compress(b"\0" * 1_000_000) for _ in range(20)) + rows.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", some) + chunk(b"IEND", b"")


@pytest.mark.parametrize("sides", [(10_001, 10_000), (65_000, 65_000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1)])
def test_a_decompression_bomb_is_refused_without_allocating(sides: tuple[int, int]) -> None:
    file = bomb(*sides)
    assert len(file) < 100_000
    for read in (read_rgb, servable_bytes):
        tracemalloc.start()
        with pytest.raises(DataError, match=r"claims|exceeds limit|decompression bomb"):
            read(file)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2_000_000


def test_a_bomb_of_text_in_a_png_is_refused() -> None:
    plain = saved(photo(), "PNG")
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"\0" * 3_000_000))
    with pytest.raises(DataError, match="too large"):
        read_rgb(plain[:33] + text + plain[33:])


def test_the_largest_picture_that_is_read_is_beyond_any_common_camera() -> None:
    assert MAX_PIXELS >= 64_000_000


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_are_a_picture_or_an_error_of_data(data: bytes) -> None:
    answered(data)


BASES = [*plain_files().values(), *other_files().values()]
MAGICS = [
    b"\xff\xd8\xff\xe0",
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"GIF89a",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"RIFF\0\0\0\0WEBP",
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(MAGICS), st.binary(max_size=400))
def test_random_bytes_behind_a_real_beginning_are_a_picture_or_an_error_of_data(magic: bytes, data: bytes) -> None:
    answered(magic + data)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(BASES), st.data())
def test_a_damaged_file_is_a_picture_or_an_error_and_what_is_served_can_be_decoded(
    base: bytes, data: st.DataObject
) -> None:
    damaged = bytearray(base)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place : place + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
        if not damaged:
            return
    answered(bytes(damaged))


def answered(data: bytes) -> None:
    try:
        image = read_rgb(data)
    except DataError as error:
        assert "\n" not in str(error)
        with pytest.raises(DataError):
            servable_bytes(data)
        return
    assert image.dtype == np.uint8
    assert image.shape[2:] == (3,)
    assert served(data).shape == image.shape  # never a traceback from TensorFlow


# ------------------------------------------------------------------------------------------------ files


def test_a_file_and_its_bytes_give_the_same(tmp_path: Path) -> None:
    file = tmp_path / "a picture.jpg"
    file.write_bytes(saved(photo(), "JPEG", exif=exif(6)))
    assert np.array_equal(read_rgb(file), read_rgb(file.read_bytes()))
    assert servable_bytes(file) == servable_bytes(file.read_bytes())


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    file = tmp_path / "really_a_png.jpg"
    file.write_bytes(saved(photo(), "PNG"))
    assert np.array_equal(read_rgb(file), np.asarray(photo()))


def test_what_is_no_regular_file_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(DataError, match="not a file"):
        contents(tmp_path / "pipe.jpg")
    with pytest.raises(DataError, match="not a file"):
        contents(Path("/dev/zero"))
    with pytest.raises(DataError, match="not a file"):
        read_rgb(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        read_rgb(tmp_path / "missing.jpg")
    with pytest.raises(DataError, match="no such file"):
        read_rgb(Path("with\0nul.jpg"))


def test_an_enormous_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse.tif").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(DataError, match="more than 1,073,741,824"):
        read_rgb(tmp_path / "sparse.tif")
