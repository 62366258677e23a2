"""Damage to a picture's file that its decoder does not mind, so that some of the pixels are wrong.

A PNG has checksums. A JPEG has none, and after a wrong byte libjpeg decodes on, a little out of step, without a word.
But then its codes break rules that hold in every picture (`huffman`), of which the plainest is that its pixels need
just the bytes that there are. Where a walk through the codes would take too long, this one alone is tried, by decoding
with another end: the pixels may not change if something is added, and have to if the last bytes are altered.
"""

import io
import itertools
import re
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from kt.kinds.pictures.decode import Decoded
from kt.kinds.pictures.exif import jpeg_segments, png_chunks
from kt.kinds.pictures.huffman import wrong_codes

MOST_CODES = 300_000
"""The codes of a JPEG with more bytes than this are not walked through: that would take longer than 0.2 s."""

MOST_PIXELS = 2_000_000
"""A JPEG with more pixels is decoded again only if something else is odd about it, since that takes time."""

_END = b"\xff\xd9"
_CODES = 0xC4
_SEQUENTIAL = (0xC0, 0xC1)  # frames with all pixels in one scan, unlike progressive ones
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_BETWEEN_SCANS = frozenset({0xC4, 0xDA, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE})
_ZEROS = bytes(64)
_ALTERED = (0x5A, 0xA5, 0x3C, 0xC3)  # the last bytes are altered in several ways, for what is white stays so in some
_NOISE = bytes(1 + (37 * step * step + 11 * step) % 254 for step in range(1024))

_WRONG_BYTES = "has wrong bytes among its pixels"
_CUT_OFF = "is cut off at its end"


def damage_of(data: bytes, kind: str, decoded: Decoded) -> str:
    """What is damaged in a file that can be decoded, in a few words such as "is cut off at its end"; empty if nothing.

    kind: as `find.kind_of` returns it. Not all damage shows: a JPEG may get back into step before its end, and other
    formats than PNG and JPEG are not checked.
    """
    if decoded.stored.completed:
        return _CUT_OFF
    if kind == "PNG":
        return _of_png(data)
    return _of_jpeg(data, decoded) if kind == "JPEG" else ""


def _of_png(data: bytes) -> str:
    for name, at, length in png_chunks(data):
        stored = data[at + length : at + length + 4]
        if len(stored) < 4:
            return _CUT_OFF
        if int.from_bytes(stored, "big") != zlib.crc32(data[at - 4 : at + length]):
            return f"has a wrong checksum in its part {name.decode('ascii', 'replace')}"
        if name == b"IEND":
            return ""
    return _CUT_OFF


def _of_jpeg(data: bytes, decoded: Decoded) -> str:
    at, sequential, plain = 2, False, False
    for marker, start, length in jpeg_segments(data):
        sequential |= marker in _SEQUENTIAL
        plain |= marker == _CODES and _needs_ones(data[start : start + length])
        at = start + length
    if data[at : at + 2] != b"\xff\xda":
        return ""
    at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    match = _MARKER.search(data, at)
    marker, end = (data[match.end() - 1], match.start()) if match else (_END[1], len(data))
    if marker != _END[1] and marker not in _BETWEEN_SCANS:
        return _WRONG_BYTES
    if sequential and end - at <= MOST_CODES and (wrong := wrong_codes(data, at, end)) is not None:
        return _WRONG_BYTES if wrong or (plain and data.find(_ZEROS, at, end) >= 0) else ""
    if not sequential or marker != _END[1]:
        return ""
    if plain and data.find(_ZEROS, at, end) >= 0:
        return _WRONG_BYTES
    height, width = decoded.values.shape[:2]
    if not (small := height * width <= MOST_PIXELS) and data.find(_ZEROS, at, end) < 0:
        return ""
    return "" if _ends_with(data[:end], at, decoded if small else None, plain=plain) else _WRONG_BYTES


def _needs_ones(codes: bytes) -> bool:
    """Whether by one of these Huffman codes a block without any detail is more than zeros in the file.

    The first symbol of a code is written as zeros alone. In most codes for light that is not the end of a block, so
    zeros are never many.
    """
    at = 0
    while at + 17 < len(codes):
        if codes[at] >> 4 and codes[at + 17] != 0:
            return True
        at += 17 + sum(codes[at + 1 : at + 17])
    return False


def _ends_with(body: bytes, at: int, decoded: Decoded | None, *, plain: bool) -> bool:
    """Whether the pixels of a JPEG need its bytes to the last one, and no more. body: without the mark of the end.

    at: where the bytes of the pixels begin. decoded: the picture, if it is decoded at its full size. plain: many zeros
    can be no pixels.
    """
    if decoded is not None and decoded.stored.mode == "RGB" and decoded.stored.orientation == 1:
        whole: npt.NDArray[Any] | None = decoded.values
    else:
        whole = _pixels(body)
    body = body.rstrip(b"\xff")
    used = body.rstrip(b"\0")  # some programs fill up the last block of bytes
    used += body[len(used) : len(used) + 1]  # the first zero may still be needed
    longer = _pixels((used if plain else body) + _NOISE)
    if whole is None or longer is None or not np.array_equal(whole, longer):
        return False
    if len(used) < at + 16 or (not plain and not any(used[-16:-2])):  # what is one colour, in an optimised code
        return True
    for count, pattern in itertools.product((2, 4), _ALTERED):
        altered = bytes(1 + (byte ^ pattern) % 254 for byte in used[-count:])
        other = _pixels(used[:-count] + altered + _NOISE)
        if other is None or not np.array_equal(whole, other):
            return True
    return False


def _pixels(body: bytes) -> npt.NDArray[Any] | None:
    try:
        with Image.open(io.BytesIO(body + _END), formats=("JPEG",)) as image:
            image.load()
            return np.asarray(image)
    except Exception:  # noqa: BLE001 - Pillow raises nearly anything on damaged bytes
        return None
