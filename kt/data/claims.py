"""What a picture file claims, read from its structure before a decoder sees it: none may cost far more than its size.

A decoder does what a file asks of it. Some ask for far more than a picture needs: thousands of scans over the same
pixels, millions of empty parts, tiles that are larger than the picture. Each limit is far above what cameras, scanners
and programs write, and what lies below it is decoded within seconds. What can't be limited so is decoded in a process
of its own that is ended (`kt.data.apart`).
"""

import re
import struct
from collections.abc import Callable, Iterator

from kt.errors import DataError

MAX_PIXELS = 100_000_000
"""A picture that claims more pixels than this is refused before it is decoded (a decompression bomb)."""

MAX_CAMERA_PIXELS = 256_000_000
"""The same for what cameras write (JPEG, HEIC, AVIF), which is decoded at a reduced size where it is large."""

LARGE = 32_000_000
"""A JPEG, HEIC or AVIF of more pixels is decoded at a half, a quarter or an eighth of its sides."""

MAX_SIDE = 1_000_000
"""The longest side that is read; libpng, and so TensorFlow, refuses longer ones."""

MAX_SCANS = 100
"""Of a JPEG. Programs write about 10, those that search for the smallest file up to 64."""

MAX_SCANNED = 3_000_000_000
"""Scans times pixels of a JPEG: a progressive one of 256 million pixels has 2.6 thousand million."""

_MAX_SEGMENTS = 5_000  # of a JPEG before its pixels; 100 MB of Photoshop's or XMP's data are 1,600
_MAX_FILL = 65_536  # bytes of a JPEG between its segments, where none belong
_MAX_EXIF = 2**20
_MAX_DATA_CHUNKS = 100_000  # of a PNG; some programs write one for each 4 kB
_MAX_CHUNKS = 10_000  # of a PNG, without pixels
_MAX_PACKED_CHUNKS = 200  # of a PNG: texts and profiles, each of which may unpack to a megabyte
_MAX_BLOCKS = 100_000  # of a GIF before its first picture: a comment has one for each 255 bytes
_MAX_RUN_LENGTH = 4 * 2**20  # bytes of a BMP whose runs Pillow unpacks in Python
_MAX_TAGS = 4_096
_MAX_STRIPS = 65_536
_MAX_VALUES = 1_000_000

_WITH_PAYLOAD = frozenset({*range(0xC0, 0xC8), *range(0xC9, 0xD0), *range(0xDA, 0xF0), 0xFE})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _END, _APP1 = 0xDA, 0xD9, 0xE1
_EXIF = b"Exif\0\0"
_NEXT_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_OF_BYTES = (1, 2, 6, 7)
_WIDTH, _LENGTH, _COMPRESSION, _TILE_WIDTH, _TILE_LENGTH = 256, 257, 259, 322, 323
_PARTS = (273, 279, 324, 325)
_NOT_PACKED = 1


def check(data: bytes, kind: str) -> None:
    """Raise DataError, with the claim that is beyond all measure, for a picture of a kind that `kt.data.kinds` tells.

    What is merely damaged passes: the decoder says what is wrong with it.
    """
    if kind in _CHECKS:
        _CHECKS[kind](data)


def reduction(width: int, height: int) -> int:
    """By what a large photo's sides are divided when it is decoded: 1, 2, 4 or 8."""
    return next((ratio for ratio in (1, 2, 4) if width * height <= LARGE * ratio**2), 8)


# ---------------------------------------------------------------------------------------------------------------- JPEG


def _check_jpeg(data: bytes) -> None:
    at, pixels = _jpeg_head(data)
    # Within the pixels' code 0xFF stands before 0 only, so this counts every scan, and those of embedded pictures too.
    scans = data.count(b"\xff\xda", at)
    if scans > MAX_SCANS or scans * pixels > MAX_SCANNED:
        scans = sum(marker == _SCAN for marker in _jpeg_markers(data, at))
    if scans > MAX_SCANS:
        raise DataError(f"is a JPEG of more than {MAX_SCANS} scans, and a progressive one has about 10")
    if scans * pixels > MAX_SCANNED:
        raise DataError(f"is a JPEG of {scans} scans over {pixels:,} pixels; kt reads at most {MAX_SCANNED:,} in all")


def _jpeg_head(data: bytes) -> tuple[int, int]:
    """Where the first scan begins, and how many pixels the frame has; checks what stands before."""
    at, segments, fill, pixels = 2, 0, 0, 0
    exif = []
    while 0 <= at < len(data) - 1:
        if data[at] != 0xFF or (marker := data[at + 1]) in (0x00, 0xFF) or marker not in _WITH_PAYLOAD:
            there = data.find(b"\xff", at + 1)
            fill += (there if there >= 0 else len(data)) - at
            at = there
        elif marker == _SCAN:
            break
        else:
            length = max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
            segments += 1
            if marker == _APP1 and data.startswith(_EXIF, at + 4):
                exif.append(data[at + 10 : at + 2 + length])
            if marker in _FRAMES:
                height, width = (
                    int.from_bytes(data[at + 5 : at + 7], "big"),
                    int.from_bytes(data[at + 7 : at + 9], "big"),
                )
                pixels = max(pixels, height * width)
            at += 2 + length
        if segments > _MAX_SEGMENTS or fill > _MAX_FILL:
            raise DataError(
                f"is a JPEG with more than {_MAX_SEGMENTS:,} segments before its pixels, or {_MAX_FILL:,} bytes of none"
            )
    if exif:
        check_exif(exif)
    return max(at, 0), pixels


def _jpeg_markers(data: bytes, at: int) -> Iterator[int]:
    """The markers from a scan to the end of its picture; those of pictures that are embedded in a segment are not."""
    while found := _NEXT_MARKER.search(data, at):
        marker = data[found.start() + 1]
        yield marker
        if marker == _END:
            return
        at = found.end()
        if marker in _WITH_PAYLOAD:
            at += int.from_bytes(data[at : at + 2], "big")


# ----------------------------------------------------------------------------------------------------------------- PNG


def _check_png(data: bytes) -> None:
    at, pixels, others, packed = 8, 0, 0, 0
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name in (b"IDAT", b"fdAT"):
            pixels += 1
        else:
            others += 1
            packed += name in (b"zTXt", b"iTXt", b"iCCP")
        if name == b"IEND":
            break
        if pixels > _MAX_DATA_CHUNKS or others > _MAX_CHUNKS or packed > _MAX_PACKED_CHUNKS:
            raise DataError(
                f"is a PNG of more than {_MAX_DATA_CHUNKS:,} chunks of pixels, {_MAX_CHUNKS:,} others or "
                f"{_MAX_PACKED_CHUNKS} packed texts and profiles"
            )
        at += 12 + length


# ----------------------------------------------------------------------------------------------------------------- GIF


def _check_gif(data: bytes) -> None:
    """Count the blocks before the first picture, which Pillow reads one by one."""
    at = 13 + _colours(data[10]) if len(data) > 10 else len(data)
    blocks = 0
    while at < len(data) and data[at] not in (0x2C, 0x3B):
        blocks += 1
        if data[at] == 0x21:
            at += 2
            while at < len(data) and data[at] and blocks <= _MAX_BLOCKS:
                at += 1 + data[at]
                blocks += 1
        at += 1
        if blocks > _MAX_BLOCKS:
            raise DataError(f"is a GIF with more than {_MAX_BLOCKS:,} blocks before its first picture")


def _colours(flags: int) -> int:
    """The bytes of the table of colours that a GIF's flags tell of."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


# ----------------------------------------------------------------------------------------------------------------- BMP


def _check_bmp(data: bytes) -> None:
    run_length = data[30:34] in (b"\1\0\0\0", b"\2\0\0\0") and int.from_bytes(data[14:18], "little") >= 40
    if run_length and len(data) > _MAX_RUN_LENGTH:
        raise DataError(
            f"is a BMP with run-length encoding of more than {_MAX_RUN_LENGTH:,} bytes; save it without, or as PNG"
        )


# ------------------------------------------------------------------------------------------------------- TIFF and EXIF


def _check_tiff(data: bytes) -> None:
    found: dict[int, int] = {}
    for tag, kind, count, value in _entries(data):
        numbers = count if kind not in _OF_BYTES else 0
        if numbers > (_MAX_STRIPS if tag in _PARTS else _MAX_VALUES):
            what = "strips or tiles" if tag in _PARTS else f"values of tag {tag}"
            raise DataError(f"is a TIFF that claims {numbers:,} {what}")
        found.setdefault(tag, value)
    _check_claimed(data, what="TIFF")
    wide, high = found.get(_TILE_WIDTH, 0), found.get(_TILE_LENGTH, 0)
    if wide and high:
        covered = -(-found.get(_WIDTH, 0) // wide) * wide * -(-found.get(_LENGTH, 0) // high) * high
        if covered > 2 * MAX_PIXELS:
            raise DataError(f"is a TIFF whose tiles of {wide} x {high} cover {covered:,} pixels")


def is_packed_tiff(data: bytes) -> bool:
    """Whether a TIFF is packed: JPEG or LZMA in it may be endless work, and libtiff prints what it finds wrong."""
    return any(tag == _COMPRESSION and value != _NOT_PACKED for tag, _, _, value in _entries(data))


def check_exif(parts: list[bytes]) -> None:
    """Raise DataError for EXIF that claims more than it has; parts: the segments of a JPEG, which belong together."""
    if sum(map(len, parts)) > _MAX_EXIF:
        raise DataError(f"has more than {_MAX_EXIF:,} bytes of EXIF")
    _check_claimed(b"".join(parts), what="EXIF part")


def _check_claimed(data: bytes, *, what: str) -> None:
    """Values that lie in the data, one over the other, would be copied out again and again."""
    sizes = (count * _SIZES.get(kind, 0) for _, kind, count, _ in _entries(data))
    claimed = sum(size for size in sizes if size <= len(data))  # what is larger is not there, and is left out
    if claimed > 2 * len(data) + 65_536:
        raise DataError(f"has a {what} whose values claim {claimed:,} bytes, of {len(data):,}")


def _entries(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Tag, kind, count and value (or where it lies) of each entry of a TIFF's first directory, as far as it goes."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return
    try:
        big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
        at = struct.unpack_from(f"{order}Q" if big else f"{order}I", data, 8 if big else 4)[0]
        (count,) = struct.unpack_from(f"{order}Q" if big else f"{order}H", data, at)
        at += 8 if big else 2
        size, layout = (20, f"{order}HHQ8s") if big else (12, f"{order}HHI4s")
        for number in range(count):
            if number >= _MAX_TAGS:
                raise DataError(f"has a directory of {count:,} tags; kt reads at most {_MAX_TAGS:,}")
            tag, kind, values, rest = struct.unpack_from(layout, data, at + size * number)
            short = kind == 3 and values == 1
            yield tag, kind, values, struct.unpack_from(f"{order}{'H' if short else 'Q' if big else 'I'}", rest)[0]
    except (struct.error, OverflowError):  # it ends before that
        return


_CHECKS: dict[str, Callable[[bytes], None]] = {
    "JPEG": _check_jpeg,
    "PNG": _check_png,
    "GIF": _check_gif,
    "BMP": _check_bmp,
    "TIFF": _check_tiff,
}
