"""How many frames a picture's file has, counted from its structure: no frame is decoded."""

import re
import struct

from kt.kinds.pictures.exif import png_chunks, riff_chunks

_MOST = 1_000
"""No more frames than this are counted."""

_MOST_BLOCKS = 200_000
_REDUCED = 1  # a bit of TIFF's tag NewSubfileType: the frame is a smaller version of another one
_SUBFILE = 254
_DICOM_FRAMES = re.compile(rb"\x28\x00\x08\x00IS([\x01-\x0c])\x00([0-9 ]{1,12})")


def frames_of(data: bytes, kind: str) -> int:
    """The number of frames, at most 1,000; 1 if it can't be told. kind: as `find.kind_of` returns it.

    The further pictures that phones put into a JPEG or HEIC, such as a depth map, are no frames.
    """
    counted = {"GIF": _gif, "PNG": _png, "WebP": _webp, "TIFF": _tiff, "AVIF": _avif, "DICOM": _dicom}
    try:
        frames = counted[kind](data) if kind in counted else 1
    except (struct.error, IndexError, ValueError, OverflowError):  # the data end before that
        return 1
    return min(_MOST, max(1, frames))


def _gif(data: bytes) -> int:
    at, frames = 13 + _colours(data[10]), 0
    for _ in range(_MOST_BLOCKS):
        if at >= len(data) or data[at] not in (0x21, 0x2C) or frames >= _MOST:
            break
        if data[at] == 0x2C:
            frames += 1
            at += 11 + _colours(data[at + 9])
        else:
            at += 2
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    return frames


def _colours(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _png(data: bytes) -> int:
    for name, at, _ in png_chunks(data):
        if name == b"acTL":
            return int(struct.unpack_from(">I", data, at)[0])
        if name == b"IDAT":
            break
    return 1


def _webp(data: bytes) -> int:
    return sum(name == b"ANMF" for name, _, _ in riff_chunks(data))


def _tiff(data: bytes) -> int:
    order = "<" if data[:2] == b"II" else ">"
    if struct.unpack_from(f"{order}H", data, 2)[0] == 43:  # BigTIFF
        return 1
    at, frames = int(struct.unpack_from(f"{order}I", data, 4)[0]), 0
    seen: set[int] = set()
    while at and at not in seen and len(seen) < _MOST:
        seen.add(at)
        (tags,) = struct.unpack_from(f"{order}H", data, at)
        first = struct.unpack_from(f"{order}HHII", data, at + 2) if tags else (0, 0, 0, 0)
        frames += not (first[0] == _SUBFILE and first[3] & _REDUCED)
        at = int(struct.unpack_from(f"{order}I", data, at + 2 + 12 * tags)[0])
    return frames


def _avif(data: bytes) -> int:
    at = data.find(b"stsz", 0, 2**16) if data[8:12] == b"avis" else -1  # the sizes of the samples of a film
    return int(struct.unpack_from(">I", data, at + 12)[0]) if at >= 0 else 1


def _dicom(data: bytes) -> int:
    match = _DICOM_FRAMES.search(data, 132, 2**16)
    return int(match[2][: match[1][0]]) if match else 1
