"""Looks at one picture's file: what it is, why it can't be read, what it shows in a few numbers, and a thumbnail.

It reads a file exactly as training does (`kt.kinds.pictures.rgb`), so that what it says is what `kt run` would say.
"""

import hashlib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kt.errors import DataError, one_line
from kt.kinds.pictures import Pixels, values
from kt.kinds.pictures.damage import damage_of
from kt.kinds.pictures.decode import Decoded, ignore
from kt.kinds.pictures.exif import read_exif
from kt.kinds.pictures.find import HEAD, kind_of, why_not
from kt.kinds.pictures.frames import frames_of
from kt.kinds.pictures.properties import properties
from kt.kinds.pictures.rgb import as_rgb, contents, decoded_of

THUMBNAIL = 64
"""The sides of a thumbnail, in pixels; a picture is stretched to a square, as it is for a model."""

SEEN = 224
"""Light and sharpness are measured with the sides reduced to at most this many pixels, as most models see a picture."""

EDGE = 2
"""The border is this many pixels wide, in the thumbnail."""


@dataclass(frozen=True)
class Facts:
    """What is known of one file. size, mtime_ns: of the file when it was read; both -1 if it isn't there.

    reason: why the picture can't be read, as `kt run` would say; empty if it can, and only then the rest is known
    except `kind` and `sha256`. damage: what is damaged although it can be read. kind: the format by content, such as
    "JPEG"; empty if it is no picture. sha256, pixels_sha256: of the bytes, and of the decoded pixels with their shape.
    width, height: upright; of a photo of more than 32 megapixels those at which kt decodes it. mode, bits,
    orientation, transparent: see `decode.StoredForm`. frames: see `frames_of`. taken, camera: see `exif.Exif`.
    brightness, contrast, colourfulness, sharpness: see `properties`, at `SEEN` pixels. border: the mean colour of the
    border, RGB from 0 to 255, and border_spread its standard deviation: 0 for a border of one colour.
    """

    size: int = -1
    mtime_ns: int = -1
    reason: str = ""
    damage: str = ""
    kind: str = ""
    sha256: str = ""
    pixels_sha256: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""
    bits: int = 0
    orientation: int = 1
    transparent: bool = False
    frames: int = 0
    taken: float = math.nan
    camera: str = ""
    brightness: float = math.nan
    contrast: float = math.nan
    colourfulness: float = math.nan
    sharpness: float = math.nan
    border: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    border_spread: float = math.nan


def examine(path: Path, *, on_size: Callable[[int], None] = ignore) -> tuple[Facts, Pixels | None]:
    """The facts of a file, and its thumbnail, uint8 `[64, 64, 3]`; None if it can't be read. Raises nothing.

    A file that changes while it is read is read a second time. on_size: as for `kt.kinds.pictures.rgb.decoded_of`.
    """
    for _ in range(2):
        before = state_of(path)
        try:
            data = contents(path)
        except DataError as error:
            return _unread(before, why_not(path) or str(error)), None  # it may have vanished since
        except Exception as error:  # noqa: BLE001 - one odd file must not end a scan of thousands
            return _unread(before, one_line(error)), None
        if before == state_of(path) and before[0] == len(data):
            return _examined(data, before, on_size)
    return _unread(before, "changes while it is read"), None


def _unread(state: tuple[int, int], reason: str, kind: str = "", sha256: str = "") -> Facts:
    return Facts(size=state[0], mtime_ns=state[1], reason=reason, kind=kind, sha256=sha256)


def state_of(path: Path) -> tuple[int, int]:
    """The size of a file and the time of its last change, in ns since 1970; both -1 if it isn't there."""
    try:
        info = os.stat(path)  # noqa: PTH116 - the same call as `find.why_not` makes
    except (OSError, ValueError):
        return -1, -1
    return info.st_size, info.st_mtime_ns


def _examined(
    data: bytes, state: tuple[int, int], on_size: Callable[[int], None]
) -> tuple[Facts, Pixels | None]:  # fmt: skip
    kind, sha256 = kind_of(data[:HEAD]), hashlib.sha256(data).hexdigest()
    try:
        decoded = decoded_of(data, on_size=on_size)
        pixels = as_rgb(decoded, _range(decoded))
        return _facts(data, state, kind=kind, sha256=sha256, decoded=decoded, pixels=pixels)
    except DataError as error:
        return _unread(state, str(error), kind, sha256), None
    except Exception as error:  # noqa: BLE001 - see above; with the class, for this is a fault of kt
        reason = f"can't be examined ({type(error).__name__}: {one_line(error)})"
        return _unread(state, reason, kind, sha256), None


def _range(decoded: Decoded) -> values.ValueRange | None:
    """The range of one picture with more than 8 bits; training takes the range of all such pictures."""
    if not decoded.deep or decoded.own is not None:
        return None
    span = values.span_of(decoded.values)
    return values.range_of([span]) if span else None


def _facts(
    data: bytes, state: tuple[int, int], *, kind: str, sha256: str, decoded: Decoded, pixels: Pixels
) -> tuple[Facts, Pixels]:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    sides = min(SEEN, max(3, image.width)), min(SEEN, max(3, image.height))  # sharpness needs neighbours
    seen = image.resize(sides, Image.Resampling.BILINEAR, reducing_gap=3.0)
    thumbnail = np.asarray(seen.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR))
    ring = np.concatenate([part.reshape(-1, 3) for part in _ring(thumbnail)]).astype(np.float32)
    border = ring.mean(axis=0)
    light, contrast, colour, sharpness = (
        float(np.asarray(each.values)[0]) for each in properties(np.asarray(seen)[None])
    )
    exif, stored = read_exif(data, kind), decoded.stored
    facts = Facts(
        size=state[0],
        mtime_ns=state[1],
        damage=damage_of(data, kind, decoded),
        kind=kind,
        sha256=sha256,
        pixels_sha256=_hash(decoded.values),
        width=pixels.shape[1],
        height=pixels.shape[0],
        mode=stored.mode,
        bits=stored.bits,
        orientation=stored.orientation,
        transparent=stored.transparent,
        frames=frames_of(data, kind),
        taken=exif.taken,
        camera=exif.camera,
        brightness=light,
        contrast=contrast,
        colourfulness=colour,
        sharpness=sharpness,
        border=(float(border[0]), float(border[1]), float(border[2])),
        border_spread=float(ring.std(axis=0).mean()),
    )
    return facts, thumbnail


def _ring(thumbnail: Pixels) -> tuple[Pixels, ...]:
    middle = thumbnail[EDGE:-EDGE]
    return thumbnail[:EDGE], thumbnail[-EDGE:], middle[:, :EDGE], middle[:, -EDGE:]


def _hash(pixels: Any) -> str:
    digest = hashlib.sha256(f"{pixels.dtype.str}{pixels.shape}".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()
