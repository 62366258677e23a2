"""From an encoded picture to the pixels that a model sees: one way for training, evaluation, prediction and serving.

A picture is decoded to 8-bit RGB, then resized by `tf.image.resize` (bilinear, antialiased, aspect ratio not kept) and
rounded. The SavedModel does the same inside its graph, bit for bit, for 8-bit JPEG and PNG; what TensorFlow's decoders
cannot do (EXIF orientation, CMYK, 16 bit, other formats) `servable_bytes` does in front of it.
"""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps, UnidentifiedImageError

from kt.data.splits import Pixels
from kt.errors import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"})
"""What a folder is searched for; Pillow decides by content, not by suffix."""

MAX_PIXELS = 100_000_000
"""A picture that claims more pixels than this is refused before it is decoded (a decompression bomb)."""

_ORIENTATION = 0x0112


def read_rgb(source: Path | bytes) -> Pixels:
    """The picture as uint8 `[height, width, 3]` RGB, upright, on white where it is transparent, first frame only.

    Raises DataError with the reason if it cannot be read.
    """
    return np.asarray(_open_rgb(source))


def _open_rgb(source: Path | bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise DataError(f"claims {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}")
                image.load()
                return _to_rgb(ImageOps.exif_transpose(image))
    except DataError:
        raise
    except UnidentifiedImageError:
        raise DataError("not a picture that Pillow can read") from None
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise nearly anything on a damaged file
        raise DataError(_one_line(error)) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _from_deep_grey(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def _from_deep_grey(image: Image.Image) -> Image.Image:
    """16-bit grey by its high byte, as libpng and TensorFlow do; Pillow 13's own convert would clip at 255."""
    values = np.asarray(image).astype(np.float64)
    if image.mode != "F":
        values = np.floor(values / 256)
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert("RGB")


def _on_white(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image).astype(np.uint16)
    return Image.fromarray(over_white(pixels[..., :3], pixels[..., 3:]).astype(np.uint8))


def over_white(rgb: Any, alpha: Any) -> Any:
    """Colour over white by integer arithmetic, the same for NumPy and TensorFlow (16-bit values in, 0 to 255 out)."""
    return (rgb * alpha + 255 * (255 - alpha) + 127) // 255


def resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize uint8 `[h, w, 3]` to `[*size, 3]`: the only resize there is."""
    with tf.device("CPU:0"):
        return np.asarray(resize_in_graph(tf.constant(pixels), size))


def resize_in_graph(image: Any, size: tuple[int, int]) -> Any:
    """The same resize as TensorFlow operations, for a tf.function: uint8 `[h, w, 3]` to uint8 `[*size, 3]`."""
    resized = tf.image.resize(tf.cast(image, tf.float32), size, method="bilinear", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)


def servable_bytes(source: Path | bytes) -> bytes:
    """Encoded bytes which the SavedModel decodes to exactly what `read_rgb` gives: the file's own where it is plain.

    Raises DataError with the reason if the picture cannot be read.
    """
    rgb = _open_rgb(source)  # also finds what is truncated, which TensorFlow would answer with a traceback
    try:
        data = source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise DataError(_one_line(error)) from None
    with Image.open(io.BytesIO(data)) as image:
        plain = (image.format, image.mode) in {("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGB"), ("PNG", "L")}
        upright = image.getexif().get(_ORIENTATION, 1) == 1
        if plain and upright and "transparency" not in image.info:
            return data
    return encode_png(np.asarray(rgb))


def encode_png(pixels: Pixels) -> bytes:
    """Uint8 `[h, w, 3]` as a PNG, without loss."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def find_pictures(folder: Path) -> Iterator[Path]:
    """Every file below `folder` that is named like a picture, sorted; hidden files and folders are left out."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.suffix.lower() in SUFFIXES and path.is_file():
            yield path
