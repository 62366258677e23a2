"""From a file to RGB pixels of its own size, the one way for training, prediction, serving and checks.

It does not import TensorFlow, since the processes that look at every file of a data set load it.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from kt.errors import DataError
from kt.kinds.pictures import Pixels, decode, values
from kt.kinds.pictures.apart import decode_apart
from kt.kinds.pictures.claims import LARGE, MAX_PIXELS
from kt.kinds.pictures.decode import Decoded, ignore
from kt.kinds.pictures.find import read_file
from kt.kinds.pictures.values import FULL, ValueRange

MAX_BYTES = 2**30
"""A file larger than this is refused before it is read."""


def contents(path: Path) -> bytes:
    """The bytes of a picture file. Raises DataError for a file without bytes, such as a pipe, or with too many."""
    return read_file(path, limit=MAX_BYTES)


def read_rgb(
    source: Path | bytes,
    *,
    max_pixels: int = MAX_PIXELS,
    value_range: ValueRange | None = None,
    on_size: Callable[[int], None] = ignore,
) -> Pixels:
    """The picture as uint8 `[height, width, 3]` RGB: upright, transparent parts on white, first frame only.

    A photo of more than `claims.LARGE` pixels is decoded at a reduced size. value_range: the range of the model, for
    pictures with more than 8 bits whose file states no range. on_size: as for `decoded_of`. Raises DataError with the
    reason if the picture cannot be read, or claims more than `max_pixels`.
    """
    data = contents(source) if isinstance(source, Path) else source
    return as_rgb(decoded_of(data, max_pixels=max_pixels, on_size=on_size), value_range)


def decoded_of(data: bytes, *, max_pixels: int = MAX_PIXELS, on_size: Callable[[int], None] = ignore) -> Decoded:
    """The values of a picture, decoded in this process or apart. Raises DataError with the reason if it can't be.

    on_size: called with the number of pixels before they are decoded; with `claims.LARGE` for formats that are decoded
    apart, since only that process knows it.
    """
    decode.check_decodable(data)
    if decode.apart(data):
        on_size(LARGE)
        return decode_apart(data, max_pixels=max_pixels)
    return decode.decode(data, max_pixels=max_pixels, on_size=on_size)


def as_rgb(decoded: Decoded, value_range: ValueRange | None) -> Pixels:
    """The pixels uint8 `[height, width, 3]` of a decoded picture; one with more than 8 bits is scaled by a range.

    value_range: for a picture whose file states none. Raises DataError if such a picture can't be scaled.
    """
    if decoded.shallow and value_range not in (None, FULL):
        raise DataError(
            "has 16 bits a channel, of which the low ones can't be read as they are packed; save it uncompressed, as "
            "PNG, or with 8 bits"
        )
    if not decoded.deep:
        return decoded.values
    levels = values.levels(decoded.values, decoded.own or value_range)
    if decoded.inverted:
        levels = 255 - levels
    return levels if levels.ndim == 3 else np.repeat(levels[..., None], 3, axis=2)
