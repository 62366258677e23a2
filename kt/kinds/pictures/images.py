"""From an encoded picture to the pixels that a model sees, the same way for training, evaluation, prediction, serving.

A picture is decoded to 8-bit RGB, then resized by `tf.image.resize` (bilinear, antialiased, aspect ratio not kept) and
rounded. The SavedModel does the same inside its graph, bit for bit, for 8-bit JPEG and PNG. TensorFlow's decoders can't
handle EXIF orientation, CMYK, 16 bits and other formats; for these, `servable_bytes` converts the picture first.
"""

import functools
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from kt.kinds.pictures import Pixels, decode, values
from kt.kinds.pictures.claims import LARGE, MAX_PIXELS, reduction
from kt.kinds.pictures.decode import Decoded, over_white
from kt.kinds.pictures.rgb import MAX_BYTES, as_rgb, contents, decoded_of, read_rgb
from kt.kinds.pictures.values import Span, ValueRange

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

_LARGE_BYTES = 75_000_000
"""Pictures of more bytes are resized one at a time: a resize takes 16 bytes a pixel, so four at once take gigabytes."""

_one_large = threading.RLock()


def values_span(
    source: Path | bytes, *, max_pixels: int = MAX_PIXELS, on_size: Callable[[int], None] = decode.ignore
) -> Span | None:
    """The span of the values of a picture with more than 8 bits whose file states no range; None for other pictures.

    on_size: as for `kt.kinds.pictures.rgb.decoded_of`. Raises DataError if such a picture cannot be read. Pictures that
    can't have more than 8 bits are not decoded.
    """
    data = contents(source) if isinstance(source, Path) else source
    if not decode.may_be_deep(data):
        return None
    decoded = decoded_of(data, max_pixels=max_pixels, on_size=on_size)
    if decoded.own is not None or not (decoded.deep or decoded.shallow):
        return None
    return values.span_of(decoded.values.astype(np.uint16) * 257 if decoded.shallow else decoded.values)


@contextmanager
def _one_at_a_time(pixels: Pixels) -> Iterator[None]:
    """Let only one large picture be resized at a time, because of the memory that it takes."""
    if pixels.nbytes <= _LARGE_BYTES:
        yield
        return
    with _one_large:
        yield


def resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Resize uint8 `[h, w, 3]` to `[*size, 3]`, by `resize_in_graph`, as every picture for a model is."""
    with _tracing:
        resizer = _resizer(size)
    with _one_at_a_time(pixels):
        return np.asarray(resizer(tf.constant(pixels)))


_tracing = threading.Lock()  # threads that trace a function at the same time would each trace it, with warnings


@functools.cache
def _resizer(size: tuple[int, int]) -> Any:
    """A traced function for pictures of every size: three times as fast as running its operations eagerly."""

    def in_graph(pixels: Any) -> Any:
        with tf.device("CPU:0"):
            return resize_in_graph(pixels, size)

    return tf.function(in_graph).get_concrete_function(tf.TensorSpec((None, None, 3), tf.uint8))


def resize_in_graph(image: Any, size: tuple[int, int]) -> Any:
    """The same resize as TensorFlow operations, for a tf.function: uint8 `[h, w, 3]` to uint8 `[*size, 3]`."""
    resized = tf.image.resize(tf.cast(image, tf.float32), size, method="bilinear", antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0.0, 255.0), tf.uint8)


_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG"


def decode_in_graph(encoded: Any) -> Any:
    """Decode one picture by TensorFlow operations, to uint8 `[h, w, 3]`: 8-bit JPEG and PNG exactly as Pillow does."""
    image = tf.case(
        [
            (_begins_with(encoded, _JPEG), lambda: decode_jpeg_in_graph(encoded)),
            (_begins_with(encoded, _PNG), lambda: _decode_png_in_graph(encoded)),
        ],
        default=lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    return tf.ensure_shape(image, [None, None, 3])


def _begins_with(encoded: Any, magic: bytes) -> Any:
    return tf.equal(tf.strings.substr(encoded, 0, len(magic)), magic)


def _decode_png_in_graph(encoded: Any) -> Any:
    rgba = tf.cast(tf.io.decode_png(encoded, channels=4), tf.int32)
    return tf.cast(over_white(rgba[..., :3], rgba[..., 3:]), tf.uint8)


def decode_jpeg_in_graph(encoded: Any) -> Any:
    """Decode a JPEG by TensorFlow operations, to uint8 `[h, w, 3]`: as `read_rgb`, large photos at a reduced size."""
    shape = tf.cast(tf.io.extract_jpeg_shape(encoded), tf.int64)
    pixels = shape[0] * shape[1]
    ways = [(pixels > LARGE * (ratio // 2) ** 2, functools.partial(_jpeg, encoded, ratio)) for ratio in (8, 4, 2)]
    return tf.case(ways, default=functools.partial(_jpeg, encoded, 1))


def _jpeg(encoded: Any, ratio: int) -> Any:
    # TensorFlow 2.21 decodes with the fast DCT by default, up to 21 levels away from Pillow.
    return tf.io.decode_jpeg(encoded, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")


def servable_bytes(source: Path | bytes, *, value_range: ValueRange | None = None) -> bytes:
    """Encoded bytes that the SavedModel decodes to exactly the pixels of `read_rgb`.

    They are the file's own bytes if TensorFlow decodes these alike, else a PNG. Raises DataError with the reason if the
    picture cannot be read.
    """
    data = contents(source) if isinstance(source, Path) else source
    decoded = decoded_of(data)
    if decoded.plain and _tensorflow_reads(data, decoded):
        return data
    return encode_png(as_rgb(decoded, value_range))


def _tensorflow_reads(data: bytes, decoded: Decoded) -> bool:
    """Whether TensorFlow's decoder accepts the bytes: it refuses some damaged files that Pillow reads."""
    try:
        with tf.device("CPU:0"):
            if decoded.plain == "PNG":
                # Ask for as many channels as the SavedModel does: libpng then reads more chunks than by default.
                tf.io.decode_png(data, channels=4)
            else:
                height, width = tf.io.extract_jpeg_shape(data).numpy()[:2].tolist()
                _jpeg(data, reduction(width, height))
    except tf.errors.OpError:
        return False
    return True


def encode_png(pixels: Pixels) -> bytes:
    """Pixels uint8 `[h, w, 3]` as the bytes of a PNG, which is lossless."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
