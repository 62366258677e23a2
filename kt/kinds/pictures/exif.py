"""What EXIF says of when and with what a picture was taken, read without trusting a byte of it.

Only these few tags are read, from places that lie within the data; nothing else of the file is interpreted.
"""

import calendar
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from kt.base.names import printable

_MAKE, _MODEL, _FURTHER = 271, 272, 34665
_TAKEN, _DIGITISED, _FRACTION = 36867, 36868, 37521
_TEXT = 2
_MOST_TAGS = 512
_LONGEST = 64
_TIME = re.compile(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_EXIF = b"Exif\0\0"
_IN_A_CONTAINER = re.compile(rb"Exif\0\0(?=II\*\0|MM\0\*)")


@dataclass(frozen=True)
class Exif:
    """taken: when, in seconds since 1970 by the camera's own clock and time zone, NaN if it isn't said.

    camera: make and model, empty if they aren't said. Times of two pictures can be compared if one camera took both.
    """

    taken: float = math.nan
    camera: str = ""


def read_exif(data: bytes, kind: str) -> Exif:
    """Time and camera of a picture. kind: as `find.kind_of` returns it. Damaged EXIF counts as none."""
    try:
        return _read(_tiff_in(data, kind))
    except (struct.error, ValueError, OverflowError):
        return Exif()


def _read(tiff: bytes) -> Exif:
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2], "")
    if not order:
        return Exif()
    first = _texts(tiff, order, struct.unpack_from(f"{order}I", tiff, 4)[0])
    further = _texts(tiff, order, int(first[_FURTHER])) if _FURTHER in first else {}
    make, model = first.get(_MAKE, ""), first.get(_MODEL, "")
    camera = model if model.lower().startswith(make.lower().split(" ")[0]) else f"{make} {model}"
    taken = _seconds(further.get(_TAKEN) or further.get(_DIGITISED, ""), further.get(_FRACTION, ""))
    return Exif(taken, camera.strip())


def _texts(tiff: bytes, order: str, at: int) -> dict[int, str]:
    """The texts of a directory by tag, and where the further directory lies, as text too."""
    found = {}
    (count,) = struct.unpack_from(f"{order}H", tiff, at)
    for number in range(min(count, _MOST_TAGS)):
        tag, kind, length, value = struct.unpack_from(f"{order}HHII", tiff, at + 2 + 12 * number)
        if tag == _FURTHER:
            found[tag] = str(value)
        elif kind == _TEXT and tag in (_MAKE, _MODEL, _TAKEN, _DIGITISED, _FRACTION):
            start = value if length > 4 else at + 2 + 12 * number + 8
            text = tiff[start : start + min(length, _LONGEST)].partition(b"\0")[0]
            found[tag] = printable(text.decode("utf-8", "replace").strip())
    return found


def _seconds(time: str, fraction: str) -> float:
    match = _TIME.match(time)
    if not match:
        return math.nan
    year, month, day, hour, minute, second = map(int, match.groups())
    if year < 1900 or not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second <= 60):
        return math.nan
    whole = calendar.timegm((year, month, day, hour, minute, second))
    return whole + (float(f"0.{fraction}") if re.fullmatch(r"[0-9]{1,9}", fraction) else 0.0)


# ------------------------------------------------------------------------------------------------- where the EXIF lies


def _tiff_in(data: bytes, kind: str) -> bytes:
    """The EXIF block of a picture, which is a TIFF file of its own; empty if there is none."""
    if kind == "TIFF":
        return data
    if kind == "JPEG":
        segments = (data[at : at + length] for marker, at, length in jpeg_segments(data) if marker == 0xE1)
        return next((part for part in segments if part.startswith(_EXIF)), b"").removeprefix(_EXIF)
    if kind == "PNG":
        return next((data[at : at + length] for name, at, length in png_chunks(data) if name == b"eXIf"), b"")
    if kind == "WebP":
        chunks = (data[at : at + length] for name, at, length in riff_chunks(data) if name == b"EXIF")
        return next(chunks, b"").removeprefix(_EXIF)
    if kind in ("HEIC", "AVIF") and (match := _IN_A_CONTAINER.search(data)):
        return data[match.end() :]
    return b""


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The marker of each segment before the pixels of a JPEG, the offset of its content and the length of that."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        if data[at + 1] == 0xFF:  # a fill byte
            at += 1
            continue
        length = max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
        yield data[at + 1], at + 4, length - 2
        at += 2 + length


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The name of each chunk of a PNG, the offset of its content and the length of that."""
    at = 8
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        yield name, at + 8, length
        at += 12 + length


def riff_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The name of each chunk of a WebP, the offset of its content and the length of that."""
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        yield name, at + 8, length
        at += 8 + length + length % 2
