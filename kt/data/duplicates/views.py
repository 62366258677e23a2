"""Short descriptions of a picture, of what is left of it after a crop, and of its eight turned and mirrored forms.

A description is the low frequencies of the cosine transform, in brightness and two colours, of thumbnails of 64 x 64.
A cosine is even or odd, so a mirrored picture has the same numbers with other signs, and a turned one has them
transposed. A crop needs no second look at the pixels: cosines over the window, integrated over each pixel, give its
transform.
"""

from itertools import product

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]

SIDE = 64
"""Pictures are compared as thumbnails of this many pixels a side, stretched to a square."""

TURNS = 8
"""The ways to mirror and turn a square. Bit 4: rows and columns change places, bit 2: then mirrored left to right,
bit 1: then mirrored top to bottom."""

_FREQUENCIES, _OF_COLOUR = 6, 3

_SPANS = ((0.0, 1.0), *((i / 20, 0.9 + i / 20) for i in range(3)), *((i / 20, 0.8 + i / 20) for i in range(5)))
_NINE, _EIGHT = (1, 2, 3), (4, 5, 6, 7, 8)
_ONE_SIDE = (1, 3, 4, 6, 8)

_PAIRS = (
    (0, 0),
    *product(_NINE, _NINE),
    *product(_EIGHT, _EIGHT),
    *((0, span) for span in _ONE_SIDE),
    *((span, 0) for span in _ONE_SIDE),
)

WINDOWS: Floats = np.array([(*_SPANS[rows], *_SPANS[columns]) for rows, columns in _PAIRS], np.float32)
"""What a crop may have left of a picture, float32 `[V, 4]`: top, bottom, left, right, as shares. The first is all.

They are 5% apart: what is cut off may lie on any side, or be cut from one side alone.
"""


def _cosines(span: tuple[float, float]) -> Floats:
    """Cosines over the span, integrated over each pixel, float32 `[F, SIDE]`."""
    start, end = span
    edges = np.clip(np.arange(SIDE + 1) / SIDE, start, end)
    length = end - start
    orders = np.arange(1, _FREQUENCIES + 1)[:, None] * np.pi
    waves = np.sqrt(2) * np.diff(np.sin(orders * (edges - start) / length)) / orders
    return np.concatenate([np.diff(edges)[None] / length, waves]).astype(np.float32)


_ORDERS = _FREQUENCIES + 1
_ALL_COSINES = np.concatenate([_cosines(span) for span in _SPANS])
_TOTAL = np.add.outer(np.arange(_ORDERS), np.arange(_ORDERS))
_BRIGHT = (_TOTAL > 0) & (_TOTAL <= _FREQUENCIES)
_COLOUR = _TOTAL <= _OF_COLOUR
_SIGNS = (-1.0) ** np.arange(_ORDERS, dtype=np.float32)
_CHANNELS = np.array([[1 / 3, 1 / 3, 1 / 3], [1 / 2, 0, -1 / 2], [-1 / 4, 1 / 2, -1 / 4]], np.float32)
"""Brightness, red less blue, green less both."""

DIMENSIONS = int(_BRIGHT.sum() + 2 * _COLOUR.sum())

FAINT = 2.0
"""Pictures with less contrast than this many levels count as having it, so that noise isn't made large."""


def transforms(thumbnails: Floats, *, cropped: bool) -> Floats:
    """The cosine transforms, float32 `[N, V, 3, F, F]`, of thumbnails `[N, SIDE, SIDE, 3]`; V is 1 unless cropped."""
    channels = np.ascontiguousarray(np.moveaxis(thumbnails @ _CHANNELS.T, 3, 1))
    if not cropped:
        return np.asarray((_ALL_COSINES[:_ORDERS] @ channels @ _ALL_COSINES[:_ORDERS].T)[:, None], np.float32)
    every = _ALL_COSINES @ channels @ _ALL_COSINES.T
    every = every.reshape(len(thumbnails), 3, len(_SPANS), _ORDERS, len(_SPANS), _ORDERS)
    rows, columns = np.array(_PAIRS).T
    return np.asarray(np.moveaxis(every[:, :, rows, :, columns], 1, 0))


def turned_transforms(transform: Floats) -> Floats:
    """The transforms `[N, TURNS, 3, F, F]` of pictures `[N, 3, F, F]`, turned and mirrored in all ways."""
    forms = []
    for turn in range(TURNS):
        form = transform.swapaxes(-1, -2) if turn & 4 else transform
        form = form * _SIGNS[None, :] if turn & 2 else form
        forms.append(form * _SIGNS[:, None] if turn & 1 else form)
    return np.asarray(np.stack(forms, axis=1), np.float32)


def turned(pictures: Floats, turn: int) -> Floats:
    """Pictures `[N, H, W, ...]` mirrored and turned in one of the `TURNS` ways."""
    pictures = pictures.swapaxes(1, 2) if turn & 4 else pictures
    pictures = pictures[:, :, ::-1] if turn & 2 else pictures
    return pictures[:, ::-1] if turn & 1 else pictures


def numbers(transform: Floats) -> Floats:
    """The transforms `[..., 3, F, F]` as rows `[..., DIMENSIONS]`, divided by their contrast."""
    bright = transform[..., 0, :, :][..., _BRIGHT]
    rows = np.concatenate([bright, transform[..., 1, :, :][..., _COLOUR], transform[..., 2, :, :][..., _COLOUR]], -1)
    contrast = np.sqrt((rows**2).sum(axis=-1, keepdims=True))
    return np.asarray(rows / np.maximum(contrast, FAINT), np.float32)
