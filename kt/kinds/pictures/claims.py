"""Checks what a picture file claims, from its structure, before a decoder sees it: decoding must not cost too much.

A decoder does what a file asks of it. Some files ask for far more than a picture needs: thousands of scans over the
same pixels, millions of empty parts, tiles that are larger than the picture. Each limit is far above what cameras,
scanners and programs write, and a file within the limits is decoded within seconds. Formats that can't be limited like
this are decoded in a separate process that can be killed (`kt.kinds.pictures.apart`).
"""

import re
import struct
from collections.abc import Callable, Iterator

from kt.errors import DataError

MAX_PIXELS = 100_000_000
"""A picture that claims more pixels than this is refused before it is decoded (a decompression bomb)."""

MAX_CAMERA_PIXELS = 256_000_000
"""The same limit for the formats of cameras (JPEG, HEIC, AVIF): large ones are decoded at a reduced size."""

LARGE = 32_000_000
"""A JPEG, HEIC or AVIF with more pixels than this is decoded with its sides divided by 2, 4 or 8."""

MAX_SIDE = 1_000_000
"""The longest side, in pixels; libpng, and so TensorFlow, refuses longer ones."""

MAX_SCANS = 100
"""The most scans of a JPEG. Programs write about 10; those that search for the smallest file write up to 64."""

MAX_SCANNED = 3_000_000_000
"""The most scans times pixels of a JPEG: a progressive one with 256 million pixels has 2.6 thousand million."""

_MAX_SEGMENTS = 5_000  # of a JPEG before its pixels; 100 MB of Photoshop or XMP data take 1,600
_MAX_FILL = 65_536  # stray bytes of a JPEG between its segments
_MAX_EXIF = 2**20
_MAX_DATA_CHUNKS = 100_000  # of a PNG; some programs write one for each 4 kB
_MAX_CHUNKS = 10_000  # of a PNG, not counting those with pixels
_MAX_PACKED_CHUNKS = 200  # of a PNG: texts and profiles, each of which may unpack to a megabyte
_MAX_BLOCKS = 100_000  # of a GIF before its first picture: a comment has one for each 255 bytes
_MAX_RUN_LENGTH = 4 * 2**20  # bytes of a BMP with run-length encoding, which Pillow decodes in Python
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


def check_claims(data: bytes, kind: str) -> None:
    """Raise DataError if a picture claims too much, with what it claims. kind: as `find.kind_of` returns it.

    A picture that is only damaged passes this check: the decoder says what is wrong with it.
    """
    if kind in _CHECKS:
        _CHECKS[kind](data)


def reduction(width: int, height: int) -> int:
    """The number by which the sides of a photo are divided when it is decoded: 1, 2, 4 or 8."""
    return next((ratio for ratio in (1, 2, 4) if width * height <= LARGE * ratio**2), 8)


# ---------------------------------------------------------------------------------------------------------------- JPEG


def _check_jpeg(data: bytes) -> None:
    at, pixels = _jpeg_head(data)
    # In the compressed pixels 0xFF is always followed by 0, so this counts every scan, also those of embedded pictures.
    scans = data.count(b"\xff\xda", at)
    if scans > MAX_SCANS or scans * pixels > MAX_SCANNED:
        scans = sum(marker == _SCAN for marker in _jpeg_markers(data, at))
    if scans > MAX_SCANS:
        raise DataError(f"is a JPEG of more than {MAX_SCANS} scans, and a progressive one has about 10")
    if scans * pixels > MAX_SCANNED:
        raise DataError(f"is a JPEG of {scans} scans over {pixels:,} pixels; kt reads at most {MAX_SCANNED:,} in all")


def _jpeg_head(data: bytes) -> tuple[int, int]:
    """The offset of the first scan, and the number of pixels of the frame. Checks the segments before that scan."""
    at, segments, fill, pixels = 2, 0, 0, 0
    exif = []
    while 0 <= at < len(data) - 1:
        if data[at] != 0xFF or (marker := data[at + 1]) in (0x00, 0xFF) or marker not in _WITH_PAYLOAD:
            following = data.find(b"\xff", at + 1)
            fill += (following if following >= 0 else len(data)) - at
            at = following
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
    """The markers from a scan to the end of its picture, without those of pictures that are embedded in a segment."""
    while match := _NEXT_MARKER.search(data, at):
        marker = data[match.start() + 1]
        yield marker
        if marker == _END:
            return
        at = match.end()
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
    """Raise DataError for too many blocks before the first picture, which Pillow reads one by one."""
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
    """The size in bytes of the colour table that a GIF's flags announce."""
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
    values: dict[int, int] = {}
    for tag, kind, count, value in _entries(data):
        numbers = count if kind not in _OF_BYTES else 0
        if numbers > (_MAX_STRIPS if tag in _PARTS else _MAX_VALUES):
            what = "strips or tiles" if tag in _PARTS else f"values of tag {tag}"
            raise DataError(f"is a TIFF that claims {numbers:,} {what}")
        values.setdefault(tag, value)
    _check_claimed(data, what="TIFF")
    wide, high = values.get(_TILE_WIDTH, 0), values.get(_TILE_LENGTH, 0)
    if wide and high:
        covered = -(-values.get(_WIDTH, 0) // wide) * wide * -(-values.get(_LENGTH, 0) // high) * high
        if covered > 2 * MAX_PIXELS:
            raise DataError(f"is a TIFF whose tiles of {wide} x {high} cover {covered:,} pixels")


def is_packed_tiff(data: bytes) -> bool:
    """Whether a TIFF is compressed: JPEG or LZMA in it may take endless work, and libtiff prints its errors."""
    return any(tag == _COMPRESSION and value != _NOT_PACKED for tag, _, _, value in _entries(data))


def check_exif(parts: list[bytes]) -> None:
    """Raise DataError for EXIF that claims more than it has. parts: the EXIF segments of a picture, to be joined."""
    if sum(map(len, parts)) > _MAX_EXIF:
        raise DataError(f"has more than {_MAX_EXIF:,} bytes of EXIF")
    _check_claimed(b"".join(parts), what="EXIF part")


def _check_claimed(data: bytes, *, what: str) -> None:
    """Raise DataError if values overlap so much that copying all of them would multiply the size of the data."""
    sizes = (count * _SIZES.get(kind, 0) for _, kind, count, _ in _entries(data))
    claimed = sum(size for size in sizes if size <= len(data))  # a larger value can't be in the data, and costs nothing
    if claimed > 2 * len(data) + 65_536:
        raise DataError(f"has a {what} whose values claim {claimed:,} bytes, of {len(data):,}")


def _entries(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type, count and value (or its offset) of each entry in a TIFF's first directory, up to the end of the data.

    Raises DataError if the directory has too many tags.
    """
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
    except (struct.error, OverflowError):  # the data end before that
        return


_CHECKS: dict[str, Callable[[bytes], None]] = {
    "JPEG": _check_jpeg,
    "PNG": _check_png,
    "GIF": _check_gif,
    "BMP": _check_bmp,
    "TIFF": _check_tiff,
}
