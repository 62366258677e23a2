"""From the bytes of a picture to its values, by Pillow, pillow-heif and pydicom: upright, first frame only.

All reading of pictures goes through here. It does not import TensorFlow at the top, because it also runs in the
separate process of `kt.kinds.pictures.apart`, which must start fast.
"""

import io
import logging
import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError, features

from kt.base.extras import install
from kt.errors import DataError, one_line
from kt.kinds.pictures import claims
from kt.kinds.pictures.claims import MAX_CAMERA_PIXELS, MAX_PIXELS, MAX_SIDE
from kt.kinds.pictures.find import HEAD, kind_of
from kt.kinds.pictures.values import FULL, ValueRange

NOT_A_PICTURE = "not a JPEG, PNG, GIF, BMP, WebP or TIFF picture"
_NOR = "nor AVIF, HEIC or DICOM"

# Without this list Pillow would also run Ghostscript on PostScript, and try three dozen other decoders on any data.
_OPENERS = {
    "JPEG": ("JPEG",),  # also MPO: several JPEGs in one file, as many phones save them
    "PNG": ("PNG",),
    "GIF": ("GIF",),
    "BMP": ("BMP",),
    "WebP": ("WEBP",),
    "TIFF": ("TIFF",),
    "AVIF": ("AVIF",),
    "HEIC": ("HEIF",),
}
_CAMERA = ("JPEG", "HEIC", "AVIF")
_APART = ("HEIC", "AVIF", "DICOM")

_MISSING = 0.02
"""The share of a JPEG that may be missing at its end; that part becomes grey, as in browsers."""

_BLOCK = 16  # the largest side of a JPEG's coding unit, in pixels

_END_OF_JPEG = b"\xff\xd9"
_PNG_BIT_DEPTH, _PNG_COLOUR = 24, 25  # offsets in the file
_PNG_RGB = 2
_BITS, _SMALLEST, _LARGEST = 258, 340, 341  # tags of TIFF
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED: dict[int, Callable[[Any], Any]] = {
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: p.swapaxes(0, 1)[:, ::-1],
    7: lambda p: p.swapaxes(0, 1)[::-1, ::-1],
    8: lambda p: p.swapaxes(0, 1)[::-1],
}

_OTHERS = (
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\1\0", "an icon"),
    (b"PK\3\4", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x1a\x45\xdf\xa3", "a film"),
    (b"FUJIFILM", "a camera's raw file"),
    (b"\0\5\x16\7", "what macOS keeps beside a file (AppleDouble)"),
    (b"version https://git-lfs", "a pointer of Git LFS in place of the file; git lfs pull fetches it"),
    (b"SQLite format 3", "a database"),
)

# Pillow warns of large pictures, which kt refuses, and of odd metadata, which do not matter here. The filter is set for
# the whole process, since the usual catch_warnings is not safe if several threads decode.
warnings.filterwarnings("ignore", module=r"PIL\.")
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else its errors would be printed even without logging
# Pillow refuses pictures with more than twice this many pixels; raised, so that kt's own limits decide.
if Image.MAX_IMAGE_PIXELS is not None:
    Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, MAX_CAMERA_PIXELS // 2)


@dataclass(frozen=True)
class StoredForm:
    """How a file stores its picture, before it becomes upright RGB on white: for checks.

    mode: Pillow's name for it, such as "RGB", "L", "P" or "CMYK"; empty for DICOM. bits: of each value. orientation:
    that of EXIF, 1 to 8; 1 is upright. transparent: whether any pixel is not opaque. completed: whether the file ends
    too early, and the little that is missing was filled with grey.
    """

    mode: str = ""
    bits: int = 8
    orientation: int = 1
    transparent: bool = False
    completed: bool = False


@dataclass(frozen=True)
class Decoded:
    """A decoded picture, upright: uint8 `[h, w, 3]` on white, or values with more bits, `[h, w]` or `[h, w, 3]`.

    own: the value range that the file itself states. inverted: low values are bright. shallow: the file has 16 bits a
    channel, of which only the high byte could be read. plain: "JPEG" or "PNG" if TensorFlow decodes the file to the
    same pixels, else empty. stored: how the file stores it.
    """

    values: npt.NDArray[Any]
    own: ValueRange | None = None
    inverted: bool = False
    shallow: bool = False
    plain: str = ""
    stored: StoredForm = StoredForm()

    @property
    def deep(self) -> bool:
        """Whether the values need a range to become levels from 0 to 255."""
        return self.values.dtype != np.uint8


def may_be_deep(data: bytes) -> bool:
    """Whether a picture may have more than 8 bits, by its format and, for a PNG, its bit depth."""
    kind = kind_of(data[:HEAD])
    return kind in ("TIFF", "DICOM") or (kind == "PNG" and data[_PNG_BIT_DEPTH : _PNG_BIT_DEPTH + 1] == b"\x10")


def apart(data: bytes) -> bool:
    """Whether to decode a picture in a separate process: its work has no limit, or its decoder prints to stderr."""
    kind = kind_of(data[:HEAD])
    return kind in _APART or (kind == "TIFF" and claims.is_packed_tiff(data))


def check_decodable(data: bytes) -> None:
    """Raise DataError for data that are no picture, claim too much, or need a package that is not installed."""
    kind = kind_of(data[:HEAD])
    if not kind:
        raise DataError(what_it_is(data))
    _check_decoder(kind)
    claims.check_claims(data, kind)


def _check_decoder(kind: str) -> None:
    if kind == "HEIC" and find_spec("pillow_heif") is None:
        raise DataError(f"is HEIC, which is read with pillow-heif: {install('heic')}")
    if kind == "DICOM" and find_spec("pydicom") is None:
        raise DataError(f"is DICOM, which is read with pydicom: {install('dicom')}")
    if kind == "AVIF" and not features.check("avif"):
        raise DataError("is AVIF, which Pillow reads from version 11.3 on: pip install -U pillow")


def what_it_is(data: bytes) -> str:
    """Why bytes are no picture that kt reads, and what they are instead, if that can be recognised."""
    if not data:
        return "an empty file"
    start = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    what = next((name for magic, name in _OTHERS if data.startswith(magic)), "")
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in start:
        what = "an HTML page, such as a download that went wrong"
    elif start.startswith((b"<svg", b"<?xml")):
        what = "an SVG drawing" if b"<svg" in start else "an XML file"
    elif data[4:8] == b"ftyp":
        what = "a film, or a picture of another kind in such a file"
    elif data.startswith(b"RIFF"):
        what = "a film or a sound" if data[8:12] in (b"AVI ", b"WAVE") else "a damaged WebP"
    elif not what and not any(data):
        what = "nothing but zeros"
    elif not what and start.startswith((b"{", b"[")):
        what = "text, such as an answer of a server"
    elif not what and len(start) > 4 and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in start):
        what = "text"
    return f"{NOT_A_PICTURE}, {_NOR}, but {what}" if what else f"{NOT_A_PICTURE} that can be read, {_NOR}"


def ignore(_pixels: int) -> None:
    """Does nothing with a number of pixels."""


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, on_size: Callable[[int], None] = ignore) -> Decoded:
    """The picture's values, decoded in this process. Raises DataError with the reason if it can't be decoded.

    on_size: called with the number of pixels before they are decoded.
    """
    kind = kind_of(data[:HEAD])
    if kind == "DICOM":
        from kt.kinds.pictures.dicom import decode_dicom

        with _as_data_errors(kind):
            return decode_dicom(data, max_pixels=max_pixels, on_size=on_size)
    try:
        with _opened(data, kind, max_pixels=max_pixels) as image:
            on_size(image.width * image.height)
            return _values(image, data, kind)
    except DataError as error:
        if kind != "JPEG" or "truncated" not in str(error):
            raise
        whole = _completed(data, max_pixels=max_pixels, reason=str(error))
    with _opened(whole, kind, max_pixels=max_pixels) as image:
        return Decoded(_rgb(image), stored=replace(_stored(image, 8), completed=True))


@contextmanager
def _as_data_errors(kind: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError(f"begins as {kind} and can't be read as such; it may be damaged") from None
    except MemoryError:
        raise DataError("takes more memory than there is") from None
    except Exception as error:  # noqa: BLE001 - decoders raise nearly anything on a damaged file
        raise DataError(one_line(error)) from None


@contextmanager
def _opened(data: bytes, kind: str, *, max_pixels: int) -> Iterator[Image.Image]:
    """The picture as Pillow opens it; any error here or in the body becomes a DataError with the reason."""
    with _as_data_errors(kind):
        if kind == "HEIC":
            _register_heif()
        with Image.open(io.BytesIO(data), formats=_OPENERS[kind]) as image:
            check_size(image.width, image.height, kind=kind, max_pixels=max_pixels)
            ratio = _reduction(image, kind)
            if ratio > 1 and kind == "JPEG":
                image.draft(image.mode, (image.width // ratio, image.height // ratio))
            yield image


def check_size(width: int, height: int, *, kind: str, max_pixels: int) -> None:
    """Raise DataError for more pixels than kt reads; for a camera's format the pixels of the reduced size count."""
    ratio = claims.reduction(width, height) if kind in _CAMERA else 1
    left = -(-width // ratio) * -(-height // ratio)
    if left <= max_pixels and max(width, height) <= MAX_SIDE and (ratio == 1 or width * height <= MAX_CAMERA_PIXELS):
        return
    most = f"{MAX_CAMERA_PIXELS if ratio > 1 and left <= max_pixels else max_pixels:,} in all and {MAX_SIDE:,} a side"
    raise DataError(f"claims {width} x {height} pixels, and kt reads at most {most}")


def _reduction(image: Image.Image, kind: str) -> int:
    return claims.reduction(image.width, image.height) if kind in _CAMERA else 1


def _register_heif() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener(thumbnails=False)


# ---------------------------------------------------------------------------------------------------- Pillow's modes


def _values(image: Image.Image, data: bytes, kind: str) -> Decoded:
    bits16 = _has_16_bits(image, data, kind)
    deep = _deep_rgb(image, data, kind) if bits16 and image.mode == "RGB" else None
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        deep = values.astype(values.dtype.newbyteorder("="), copy=False)
    stored = _stored(image, 16 if bits16 else 8 if deep is None else 8 * deep.itemsize)
    if deep is not None:
        turn = _TURNED.get(stored.orientation)
        return Decoded(deep if turn is None else turn(deep), own=_own_range(image, data, kind, deep), stored=stored)
    if kind in ("HEIC", "AVIF") and (ratio := claims.reduction(*image.size)) > 1:
        reduced = image.reduce(ratio)
        reduced.info = image.info
        image = reduced
    return Decoded(_rgb(image), shallow=bits16, plain=_plain(image, data, kind), stored=stored)


def _stored(image: Image.Image, bits: int) -> StoredForm:
    return StoredForm(image.mode, bits, _orientation(image), _is_transparent(image))


def _is_transparent(image: Image.Image) -> bool:
    """Whether any pixel is not opaque; a file may have an alpha channel that is 255 throughout."""
    if not _may_be_transparent(image):
        return False
    alpha = image if image.mode in ("RGBA", "LA") else image.convert("RGBA")
    return int(alpha.getchannel("A").getextrema()[0]) < 255  # type: ignore[arg-type]


def _rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """The pixels uint8 `[h, w, 3]`, upright and on white."""
    image.load()
    turn = _UPRIGHT.get(_orientation(image))
    rgb = _to_rgb(image)
    return np.asarray(rgb if turn is None else rgb.transpose(turn))


def _to_rgb(image: Image.Image) -> Image.Image:
    if _may_be_transparent(image):
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _may_be_transparent(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _on_white(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image)
    rgb = np.empty((*pixels.shape[:2], 3), np.uint8)
    for top in range(0, len(pixels), 256):  # in bands: all of a large picture in 16 bits would take gigabytes
        band = pixels[top : top + 256].astype(np.uint16)
        rgb[top : top + 256] = over_white(band[..., :3], band[..., 3:])
    return Image.fromarray(rgb)


def over_white(rgb: Any, alpha: Any) -> Any:
    """Blend colours with white, by integer arithmetic that is the same in NumPy and TensorFlow.

    rgb, alpha: 0 to 255, in a type of at least 16 bits. Returns 0 to 255.
    """
    return (rgb * alpha + 255 * (255 - alpha) + 127) // 255


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1, which is upright, if there is none or if the EXIF data are damaged."""
    try:
        if stored := _stored_exif(image):
            claims.check_exif([stored.removeprefix(b"Exif\0\0")])
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - Pillow's EXIF parser raises nearly anything on damaged bytes
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _stored_exif(image: Image.Image) -> bytes:
    """The EXIF data of a picture; ImageMagick writes them into a PNG as hexadecimal text after three lines."""
    if text := image.info.get("Raw profile type exif"):
        return bytes.fromhex("".join(str(text).split("\n")[3:]))
    return bytes(image.info.get("exif") or b"")


def _plain(image: Image.Image, data: bytes, kind: str) -> str:
    """ "JPEG" or "PNG" if TensorFlow decodes the same pixels as `_rgb`: for an upright, opaque JPEG or 8-bit PNG.

    Empty for any other picture.
    """
    if image.mode not in ("RGB", "L") or "transparency" in image.info or _orientation(image) != 1:
        return ""
    # TensorFlow 2.21 does not scale grey PNGs of 1, 2 and 4 bits: they come out nearly black.
    return kind if kind == "JPEG" or (kind == "PNG" and data[_PNG_BIT_DEPTH] == 8) else ""


# ------------------------------------------------------------------------------------------------ more than 8 bits


def _has_16_bits(image: Image.Image, data: bytes, kind: str) -> bool:
    if kind == "PNG":
        return data[_PNG_BIT_DEPTH] == 16
    if kind != "TIFF":
        return False
    bits = getattr(image, "tag_v2", {}).get(_BITS, (8,))
    return bool(max(bits if isinstance(bits, tuple) else (bits,)) > 8)


def _deep_rgb(image: Image.Image, data: bytes, kind: str) -> npt.NDArray[np.uint16] | None:
    """All 16 bits of each channel, `[h, w, 3]`, or None if they can't be read; Pillow 13 keeps only the high byte."""
    if kind == "PNG":
        return _deep_png(data) if data[_PNG_COLOUR] == _PNG_RGB and "transparency" not in image.info else None
    values = np.empty((image.height, image.width, 3), np.uint16)
    tiles = getattr(image, "tile", [])
    for decoder, box, offset, settings in tiles:
        order = {"RGB;16L": "<u2", "RGB;16B": ">u2", "RGB;16N": "=u2"}.get(settings[0] if settings else "")
        if decoder != "raw" or order is None or box is None:
            return None
        left, top, right, bottom = box
        count = (right - left) * (bottom - top) * 3
        if settings[1:2] not in ((0,), ((right - left) * 6,)) or offset + 2 * count > len(data):
            return None
        part = np.frombuffer(data, order, count=count, offset=offset)
        values[top:bottom, left:right] = part.reshape(bottom - top, right - left, 3)
    return values if tiles else None


def _deep_png(data: bytes) -> npt.NDArray[np.uint16] | None:
    import tensorflow as tf

    try:
        with tf.device("CPU:0"):
            return np.asarray(tf.io.decode_png(data, channels=3, dtype=tf.uint16))
    except tf.errors.OpError:  # damaged: Pillow may read some of it
        return None


def _own_range(image: Image.Image, data: bytes, kind: str, values: npt.NDArray[Any]) -> ValueRange | None:
    """The value range that a file states for values with more than 8 bits; None if it states none."""
    if kind == "PNG":
        return _right_aligned(values, _significant_bits(data))
    tags = getattr(image, "tag_v2", {})
    if tags.get(_BITS) == (12,):  # Pillow unpacks such values to 0 to 4095
        return ValueRange(0, 4095)
    if (largest := tags.get(_LARGEST)) is None:
        return None
    smallest = tags.get(_SMALLEST, 0)
    high = max(map(float, largest)) if isinstance(largest, tuple) else float(largest)
    low = min(map(float, smallest)) if isinstance(smallest, tuple) else float(smallest)
    stated = ValueRange.from_json([low, high] if values.dtype.kind == "f" else [int(low), int(high)])
    return None if stated == FULL else stated


def _significant_bits(data: bytes) -> int:
    """How many bits of a 16-bit PNG are significant, by its chunk sBIT; 0 if it has no such chunk or all bits are."""
    at = 8
    while at + 9 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"sBIT" and length and data[_PNG_BIT_DEPTH] == 16:
            bits = max(data[at + 8 : at + 8 + min(length, 4)], default=0)
            return bits if 8 <= bits < 16 else 0
        if name in (b"IDAT", b"PLTE"):
            return 0
        at += 12 + length
    return 0


def _right_aligned(values: npt.NDArray[Any], bits: int) -> ValueRange | None:
    """The range of the lowest `bits` bits, if the values use these; None if the values use the highest bits.

    The PNG standard asks for values shifted to the highest bits, but not all programs do that.
    """
    if not bits:
        return None
    fits = values.max() < 2**bits and bool((values & (2 ** (16 - bits) - 1)).any())
    return ValueRange(0, 2**bits - 1) if fits else None


# ------------------------------------------------------------------------------------------------- truncated JPEGs


def _completed(data: bytes, *, max_pixels: int, reason: str) -> bytes:
    """The JPEG with an end marker added, if hardly any pixels are missing. Raises DataError if more are missing.

    libjpeg does not say where the pixels end: it decodes whatever bytes follow instead. So the JPEG is decoded with two
    different ends, and the pixels that differ are those that are missing.
    """
    start = data.rstrip(b"\xff")
    noise = bytes(1 + (37 * step * step + 11 * step) % 254 for step in range(4096))
    whole = start + _END_OF_JPEG
    try:
        plain, noisy = (_pixels(each, max_pixels) for each in (whole, start + noise + _END_OF_JPEG))
    except DataError:
        raise DataError(reason) from None
    different = (plain != noisy).reshape(*plain.shape[:2], -1).any(axis=2)
    missing = _share_behind(different)
    if missing > _MISSING:
        what = "its last scans are" if data.count(b"\xff\xda") > 1 else f"{100 * missing:.0f}% of it is"
        raise DataError(f"is truncated: {what} missing")
    return whole


def _share_behind(different: npt.NDArray[np.bool_]) -> float:
    """The share of a picture that is stored after the start of the first block with a difference."""
    rows = np.flatnonzero(different.any(axis=1))
    if not len(rows):
        return 0.0
    height, width = different.shape
    band = different[rows[0] : rows[0] + _BLOCK]
    beside = (width - np.flatnonzero(band.any(axis=0))[0]) * len(band)
    return float((beside + width * (height - rows[0] - len(band))) / (width * height))


def _pixels(data: bytes, max_pixels: int) -> npt.NDArray[np.uint8]:
    with _opened(data, "JPEG", max_pixels=max_pixels) as image:
        image.load()
        return np.asarray(image)
