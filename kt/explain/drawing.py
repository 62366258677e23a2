"""A map over its picture: warm where it speaks for the class, grey where it does not, a line around half of it."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from kt.explain.maps import Map, Pixels, like

LARGEST = 640
"""Pixels of an overlay's longer side, for `fitting`."""

_WARM = np.array([255, 96, 0], np.float32)
_SHADE = 0.6
"""How much of the colour of the strongest place is the map's."""


def overlay(picture: Pixels, drawn: Map) -> Pixels:
    """The picture uint8 `[h, w, 3]`, of any size, with the map over it.

    Colour grows with the map's values, from none at 0 to the strongest at the map's largest value. The line, white
    beside black so that it shows on every ground, encloses the places that hold half of the map; it is left out where
    the map points at no place, and so is the colour where nothing speaks for the class.
    """
    grey = picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    ground = np.repeat((0.75 * grey + 32)[..., None], 3, axis=2)
    largest = float(drawn.values.max())
    if drawn.half is None or largest <= 0:
        return ground.clip(0, 255).astype(np.uint8)
    values = like(drawn.values / largest, picture.shape[:2]).clip(0, 1)[..., None]
    own = picture.astype(np.float32)
    lit = ground + values * (own - ground)
    mixed = lit + _SHADE * values * (_WARM - lit)
    if drawn.points:
        mixed = _outlined(mixed, values[..., 0] >= _level(drawn) / largest)
    return mixed.clip(0, 255).astype(np.uint8)


def _level(drawn: Map) -> float:
    """The value that the places which hold half of the map have at least."""
    ordered = np.sort(drawn.values, axis=None)[::-1]
    return float(ordered[max(0, round((drawn.half or 0) * ordered.size) - 1)])


def _outlined(pixels: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    width = max(1, round(max(inside.shape) / 200))
    inner, outer = _eroded(inside, width), ~_eroded(~inside, width)
    marked = pixels.copy()
    marked[inside & ~inner] = 255
    marked[outer & ~inside] = 0
    return marked


def _eroded(inside: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """The places whose neighbours up to `width` away lie inside too."""
    rows, columns = inside.shape
    padded = np.pad(inside, width, mode="edge")
    kept = inside.copy()
    for down in range(2 * width + 1):
        for across in range(2 * width + 1):
            kept &= padded[down : down + rows, across : across + columns]
    return kept


def fitting(picture: Pixels) -> Pixels:
    """The picture with sides of at most `LARGEST`."""
    height, width = picture.shape[:2]
    ratio = min(1.0, LARGEST / max(height, width))
    if ratio == 1.0:
        return picture
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.BILINEAR))


def png(pixels: Pixels) -> bytes:
    """A picture as the bytes of a PNG."""
    return _encoded(pixels, "PNG", optimize=True)


def jpeg(pixels: Pixels, *, side: int) -> bytes:
    """A picture of at most this side as the bytes of a JPEG, for a page."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _encoded(np.asarray(picture), "JPEG", quality=82)


def _encoded(pixels: Pixels, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, form, **options)
    return buffer.getvalue()
