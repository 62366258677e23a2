"""From an encoded picture to the pixels that a model sees: one way for training, evaluation, prediction and serving.

A picture is decoded to 8-bit RGB, then resized by `tf.image.resize` (bilinear, antialiased, aspect ratio not kept) and
rounded. The SavedModel does the same inside its graph, bit for bit, for 8-bit JPEG and PNG; what TensorFlow's decoders
cannot do (EXIF orientation, CMYK, 16 bit, other formats) `servable_bytes` does in front of it.
"""

import functools
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from kt.data import decode, values
from kt.data.apart import decode_apart
from kt.data.claims import LARGE, MAX_PIXELS, reduction
from kt.data.decode import Decoded, over_white
from kt.data.find import read_file
from kt.data.splits import Pixels
from kt.data.values import FULL, Span, ValueRange
from kt.errors import DataError

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "ValueRange",
    "contents",
    "decode_jpeg_in_graph",
    "encode_png",
    "over_white",
    "read_rgb",
    "resize",
    "resize_in_graph",
    "servable_bytes",
    "values_span",
]  # fmt: skip

MAX_BYTES = 2**30
"""A file larger than this is refused before it is read."""

_LARGE_BYTES = 75_000_000
"""Pictures of more bytes are resized one at a time: that takes 16 bytes a pixel, gigabytes where four meet."""

_one_large = threading.RLock()


def contents(path: Path) -> bytes:
    """The bytes of a picture file. Raises DataError for what has none to give, such as a pipe, or far too many."""
    return read_file(path, limit=MAX_BYTES)


def read_rgb(source: Path | bytes, *, max_pixels: int = MAX_PIXELS, value_range: ValueRange | None = None) -> Pixels:
    """The picture as uint8 `[height, width, 3]` RGB, upright, on white where it is transparent, first frame only.

    A photo of more than `kt.data.claims.LARGE` pixels comes at a reduced size. value_range: of the model, for pictures
    of more than 8 bits that tell no range themselves. Raises DataError with the reason if it cannot be read, or claims
    more than `max_pixels`.
    """
    data = contents(source) if isinstance(source, Path) else source
    return _as_rgb(_decoded(data, max_pixels=max_pixels), value_range)


def values_span(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Span | None:
    """Where the values of a picture lie that has more than 8 bits and tells no range itself; None for any other.

    Raises DataError if such a picture cannot be read; others are not decoded.
    """
    data = contents(source) if isinstance(source, Path) else source
    if not decode.may_be_deep(data):
        return None
    found = _decoded(data, max_pixels=max_pixels)
    if found.own is not None or not (found.deep or found.shallow):
        return None
    return values.span_of(found.values.astype(np.uint16) * 257 if found.shallow else found.values)


def _decoded(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    decode.check(data)
    if decode.apart(data):
        return decode_apart(data, max_pixels=max_pixels)
    return decode.decode(data, max_pixels=max_pixels)


def _as_rgb(found: Decoded, value_range: ValueRange | None) -> Pixels:
    if found.shallow and value_range not in (None, FULL):
        raise DataError(
            "has 16 bits a channel, of which the low ones can't be read as they are packed; save it uncompressed, as "
            "PNG, or with 8 bits"
        )
    if not found.deep:
        return found.values
    levels = values.levels(found.values, found.own or value_range)
    if found.inverted:
        levels = 255 - levels
    return levels if levels.ndim == 3 else np.repeat(levels[..., None], 3, axis=2)


@contextmanager
def _one_at_a_time(pixels: Pixels) -> Iterator[None]:
    """Room for the resize of a large picture."""
    if pixels.nbytes <= _LARGE_BYTES:
        yield
        return
    with _one_large:
        yield


def resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize uint8 `[h, w, 3]` to `[*size, 3]`: the only resize there is."""
    with _tracing:
        resizer = _resizer(size)
    with _one_at_a_time(pixels):
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


def decode_jpeg_in_graph(encoded: Any) -> Any:
    """A JPEG as TensorFlow operations, uint8 `[h, w, 3]`: what `read_rgb` gives, large photos at their reduced size."""
    shape = tf.cast(tf.io.extract_jpeg_shape(encoded), tf.int64)
    pixels = shape[0] * shape[1]
    ways = [(pixels > LARGE * (ratio // 2) ** 2, functools.partial(_jpeg, encoded, ratio)) for ratio in (8, 4, 2)]
    return tf.case(ways, default=functools.partial(_jpeg, encoded, 1))


def _jpeg(encoded: Any, ratio: int) -> Any:
    # TensorFlow 2.21 decodes with the fast DCT by default, up to 21 levels away from Pillow.
    return tf.io.decode_jpeg(encoded, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")


def servable_bytes(source: Path | bytes, *, value_range: ValueRange | None = None) -> bytes:
    """Encoded bytes which the SavedModel decodes to exactly what `read_rgb` gives: the file's own where it is plain.

    Raises DataError with the reason if the picture cannot be read.
    """
    data = contents(source) if isinstance(source, Path) else source
    found = _decoded(data)
    if found.plain and _tensorflow_reads(data, found):
        return data
    return encode_png(_as_rgb(found, value_range))


def _tensorflow_reads(data: bytes, found: Decoded) -> bool:
    """Whether its decoder accepts the bytes: it refuses some damaged files that Pillow reads."""
    try:
        with tf.device("CPU:0"):
            if found.plain == "PNG":
                # With as many channels as the SavedModel asks for: libpng looks at more chunks then.
                tf.io.decode_png(data, channels=4)
            else:
                height, width = tf.io.extract_jpeg_shape(data).numpy()[:2].tolist()
                _jpeg(data, reduction(width, height))
    except tf.errors.OpError:
        return False
    return True


def encode_png(pixels: Pixels) -> bytes:
    """Uint8 `[h, w, 3]` as a PNG, without loss."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
