"""Damage to a picture's file that its decoder does not mind, so that some of the pixels may be wrong."""

import zlib

from kt.kinds.pictures.decode import Decoded
from kt.kinds.pictures.exif import png_chunks


def damage_of(data: bytes, kind: str, decoded: Decoded) -> str:
    """What is damaged in a file that can be decoded, in a few words such as "is cut off at its end"; empty if nothing.

    kind: as `find.kind_of` returns it.
    """
    if decoded.stored.completed:
        return "is cut off at its end"
    return _of_png(data) if kind == "PNG" else ""


def _of_png(data: bytes) -> str:
    for name, at, length in png_chunks(data):
        stored = data[at + length : at + length + 4]
        if int.from_bytes(stored, "big") != zlib.crc32(data[at - 4 : at + length]) or len(stored) < 4:
            return f"has a wrong checksum in its part {name.decode('ascii', 'replace')}"
        if name == b"IEND":
            return ""
    return "is cut off at its end"
