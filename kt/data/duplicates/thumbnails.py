"""Thumbnails of pictures: means over equal areas, of a few pictures at a time."""

from dataclasses import dataclass

import numpy as np

from kt.data.duplicates.views import SIDE, Floats, Numbers
from kt.kinds.pictures import Pixels

_KEPT = 20_000
"""Of so many pictures thumbnails are kept: 250 MB."""


@dataclass(frozen=True)
class Thumbnails:
    """The pictures uint8 `[N, H, W, 3]`, of which `chosen` are asked for by their number among these."""

    pixels: Pixels
    chosen: Numbers

    def __len__(self) -> int:
        return len(self.chosen)

    def reduced(self) -> "Thumbnails":
        """The same, made once and kept, unless they are many; then each is made again whenever it is taken."""
        if self.pixels.shape[1:3] == (SIDE, SIDE) or len(self) > _KEPT:
            return self
        small = np.empty((len(self), SIDE, SIDE, 3), np.uint8)
        for start in range(0, len(self), 256):
            rows = np.arange(start, min(start + 256, len(self)))
            small[rows] = np.round(self.take(rows))
        return Thumbnails(small, np.arange(len(self)))

    def take(self, rows: Numbers) -> Floats:
        """Thumbnails float32 `[len(rows), SIDE, SIDE, 3]`."""
        height, width = self.pixels.shape[1:3]
        down, across = areas(height, SIDE), areas(width, SIDE).T
        out = np.empty((len(rows), SIDE, SIDE, 3), np.float32)
        for start in range(0, len(rows), 32):
            some = self.pixels[self.chosen[rows[start : start + 32]]].astype(np.float32)
            if (height, width) == (SIDE, SIDE):
                out[start : start + 32] = some
                continue
            bands = (down @ some.reshape(len(some), height, width * 3)).reshape(len(some), SIDE, width, 3)
            out[start : start + 32] = np.moveaxis(np.moveaxis(bands, 3, 1) @ across, 1, 3)
        return out


def areas(pixels: int, cells: int) -> Floats:
    """How much of each of `cells` equal parts lies in each pixel, float32 `[cells, pixels]`; rows sum to 1."""
    edges = np.arange(cells + 1) * (pixels / cells)
    within = np.clip(edges[:, None] - np.arange(pixels)[None, :], 0, 1)
    return np.asarray(np.diff(within, axis=0) * (cells / pixels), np.float32)
