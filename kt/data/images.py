"""From an encoded picture to the pixels that a model sees: one way for training, evaluation, prediction and serving.

A picture is decoded to 8-bit RGB, then resized by `tf.image.resize` (bilinear, antialiased, aspect ratio not kept) and
rounded. The SavedModel does the same inside its graph, bit for bit, for 8-bit JPEG and PNG; what TensorFlow's decoders
cannot do (EXIF orientation, CMYK, 16 bit, other formats) `servable_bytes` does in front of it.
"""

import functools
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image, UnidentifiedImageError

from kt.data.find import read_file
from kt.data.splits import Pixels
from kt.errors import DataError, one_line

MAX_PIXELS = 100_000_000
"""A picture that claims more pixels than this is refused before it is decoded (a decompression bomb)."""

MAX_SIDE = 1_000_000
"""The longest side that is read; libpng, and so TensorFlow, refuses longer ones."""

MAX_BYTES = 2**30
"""A file larger than this is refused before it is read."""

# Pillow would also run Ghostscript on PostScript, and try three dozen other decoders on whatever it is given.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")

_PNG_BIT_DEPTH = 24  # where the header has it
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

# What Pillow warns of (a large picture, odd metadata) is refused or of no matter here. Once for the process: the usual
# catch_warnings is not safe where several threads decode.
warnings.filterwarnings("ignore", module=r"PIL\.")


def contents(path: Path) -> bytes:
    """The bytes of a picture file. Raises DataError for what has none to give, such as a pipe, or far too many."""
    return read_file(path, limit=MAX_BYTES)


def read_rgb(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """The picture as uint8 `[height, width, 3]` RGB, upright, on white where it is transparent, first frame only.

    Raises DataError with the reason if it cannot be read, or claims more than `max_pixels`.
    """
    with _decoded(contents(source) if isinstance(source, Path) else source, max_pixels=max_pixels) as image:
        return np.asarray(_upright_rgb(image))


@contextmanager
def _decoded(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """The picture as Pillow decodes it; whatever goes wrong here or in the body becomes a DataError with the reason."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if image.width * image.height > max_pixels or max(image.size) > MAX_SIDE:
                most = f"{max_pixels:,} in all and {MAX_SIDE:,} a side"
                raise DataError(f"claims {image.width} x {image.height} pixels, and kt reads at most {most}")
            image.load()
            yield image
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError("not a JPEG, PNG, GIF, BMP, WebP or TIFF picture that can be read") from None
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise nearly anything on a damaged file
        raise DataError(one_line(error)) from None


def _upright_rgb(image: Image.Image) -> Image.Image:
    turn = _UPRIGHT.get(_orientation(image))
    rgb = _to_rgb(image)
    return rgb if turn is None else rgb.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1, which is upright, where there is none or the EXIF part is damaged."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - Pillow's EXIF parser raises nearly anything on damaged bytes
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _from_deep_grey(image)
    if image.mode == "F":
        raise DataError("has floating-point values, whose range is unknown; save it with 8 or 16 bits a channel")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """16-bit grey by its high byte, as libpng and TensorFlow do; Pillow 13's own convert would clip at 255."""
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise DataError("has more than 16 bits a channel; save it with 8 or 16")
    return Image.fromarray((values // 256).astype(np.uint8)).convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image)
    rgb = np.empty((*pixels.shape[:2], 3), np.uint8)
    for top in range(0, len(pixels), 256):  # in bands: the whole of a large picture in 16 bits would need gigabytes
        band = pixels[top : top + 256].astype(np.uint16)
        rgb[top : top + 256] = over_white(band[..., :3], band[..., 3:])
    return Image.fromarray(rgb)


def over_white(rgb: Any, alpha: Any) -> Any:
    """Colour over white by integer arithmetic, the same for NumPy and TensorFlow (16-bit values in, 0 to 255 out)."""
    return (rgb * alpha + 255 * (255 - alpha) + 127) // 255


def resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize uint8 `[h, w, 3]` to `[*size, 3]`: the only resize there is."""
    with _tracing:
        resizer = _resizer(size)
    return np.asarray(resizer(tf.constant(pixels)))


_tracing = threading.Lock()  # threads that trace one function at the same time do it several times, with warnings


@functools.cache
def _resizer(size: tuple[int, int]) -> Any:
    """One function for pictures of every size: three times as fast as its operations one by one."""

    def in_graph(pixels: Any) -> Any:
        with tf.device("CPU:0"):
            return resize_in_graph(pixels, size)

    return tf.function(in_graph).get_concrete_function(tf.TensorSpec((None, None, 3), tf.uint8))


def resize_in_graph(image: Any, size: tuple[int, int]) -> Any:
    """The same resize as TensorFlow operations, for a tf.function: uint8 `[h, w, 3]` to uint8 `[*size, 3]`."""
    resized = tf.image.resize(tf.cast(image, tf.float32), size, method="bilinear", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)


def servable_bytes(source: Path | bytes) -> bytes:
    """Encoded bytes which the SavedModel decodes to exactly what `read_rgb` gives: the file's own where it is plain.

    Raises DataError with the reason if the picture cannot be read.
    """
    data = contents(source) if isinstance(source, Path) else source
    with _decoded(data) as image:
        if _is_plain(image, data) and _tensorflow_reads(data, png=image.format == "PNG"):
            return data
        return encode_png(np.asarray(_upright_rgb(image)))


def _is_plain(image: Image.Image, data: bytes) -> bool:
    """Whether TensorFlow sees what `read_rgb` sees: in a JPEG or an 8-bit PNG, upright and opaque."""
    if image.mode not in ("RGB", "L") or "transparency" in image.info or _orientation(image) != 1:
        return False
    if image.format == "PNG":
        return data[_PNG_BIT_DEPTH] == 8  # TensorFlow 2.21 leaves grey of 1, 2 and 4 bits as it is: nearly black
    return image.format in ("JPEG", "MPO")  # MPO: several JPEGs in one file, as many phones save them


def _tensorflow_reads(data: bytes, *, png: bool) -> bool:
    """Whether its decoder accepts the bytes: it refuses some damaged files that Pillow reads."""
    try:
        with tf.device("CPU:0"):
            # With as many channels as the SavedModel asks for: libpng looks at more chunks then.
            tf.io.decode_png(data, channels=4) if png else tf.io.decode_jpeg(data, channels=3)
    except tf.errors.OpError:
        return False
    return True


def encode_png(pixels: Pixels) -> bytes:
    """Uint8 `[h, w, 3]` as a PNG, without loss."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
