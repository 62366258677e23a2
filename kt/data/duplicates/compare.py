"""Whether a pair that was laid over each other is one photograph: near for pictures of its class, and evenly so."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kt.data.duplicates.align import FINE, Aligned
from kt.data.duplicates.thumbnails import Thumbnails
from kt.data.duplicates.views import SIDE, Floats, Numbers

NEAR = 6.0
"""Copies differ by less than this: root mean square over 16 x 16 means, in levels of 255, after equalising brightness.

On four sets of photos, copies at JPEG quality 50, half size and 5% less light lie below 5.6, other photos above 15.
"""

OF_CONTRAST = 0.15
"""Copies also differ by less than this share of the lower of both contrasts: the standard deviation over the means.

Otherwise any two faint pictures would count as copies. Copies lie below 0.1, different photos above 0.3.
"""

OF_SPREAD = 0.5
"""Copies also differ by less than this share of the median distance to pictures of the same class.

Copies of photos lie below 0.15.
"""

EVENLY = (8.0, 0.4, 6.0)
"""A cell of the 32 x 32 may differ by this many levels, plus this times the contrast around it, plus this times noise.

The contrast around a cell is the lower one of the two pictures: scaling blurs an edge that both have, but the edge of a
lamp is in one of them only. The noise is the median of all cells' differences, scaled to a standard deviation.
"""

OF_LIGHT = 4.0
"""Where one of a pair is lighter, cells may differ by this much more for each unit of the factor's logarithm.

Pixels that were cut off at white leave traces in cells that are not white.
"""

FAINT = 0.5
"""Rounding changes a plain area by this many levels, so that much is always near."""

CROWD = 100
"""If most pictures have more near ones than this, they are too similar for the measure to mean anything.

A film of thousands of frames among many other pictures does not make these similar.
"""


_SAME_LIGHT = 1.07
_COARSE, _SAMPLE, _FEWEST, _ASKED = 16, 64, 4, 512


@dataclass(frozen=True)
class Coarse:
    """16 x 16 mean colours of each picture, less their mean, and the distance below which another picture is near.

    offsets: float16 `[N, D]`, less the mean over all pictures, which preserves precision if all are much alike.
    deviation: of each picture, float32 `[N]`. contrast: the standard deviation over the cells, by colour. usual: the
    median distance to pictures of the same class, in levels.
    """

    offsets: npt.NDArray[np.float16]
    deviation: Floats
    contrast: Floats
    usual: Floats

    @classmethod
    def of(cls, thumbnails: Thumbnails, labels: Numbers) -> "Coarse":
        """Of all thumbnails. labels: int64 `[N]`."""
        count = len(thumbnails)
        offsets = np.empty((count, 3 * _COARSE**2), np.float16)
        deviation, contrast = np.empty((2, count), np.float32)
        size = SIDE // _COARSE
        common = np.zeros(offsets.shape[1])
        for start in range(0, count, 512):
            rows = np.arange(start, min(start + 512, count))
            means = thumbnails.take(rows).reshape(-1, _COARSE, size, _COARSE, size, 3).mean(axis=(2, 4))
            flat = means.reshape(len(rows), -1)
            centred = flat - flat.mean(axis=1, keepdims=True)
            deviation[rows] = np.sqrt((centred**2).mean(axis=1))
            contrast[rows] = np.sqrt(means.reshape(len(rows), -1, 3).var(axis=1).mean(axis=1))
            offsets[rows] = centred
            common += centred.sum(axis=0, dtype=np.float64)
        for start in range(0, count, 4096):
            offsets[start : start + 4096] -= (common / count).astype(np.float16)
        return cls(offsets, deviation, contrast, _usual_distance(offsets, deviation, labels))

    def limits(self, one: Numbers, other: Numbers) -> Floats:
        """How near each pair must be, in levels, by what is usual for their classes."""
        return np.asarray(OF_SPREAD * np.minimum(self.usual[one], self.usual[other]), np.float32)

    def crowded(self) -> bool:
        """Whether most pictures have more than `CROWD` near ones, by a sample of the pictures."""
        count = len(self.offsets)
        near = np.minimum(np.clip(OF_CONTRAST * self.contrast, FAINT, NEAR), OF_SPREAD * self.usual)
        asked = np.sort(np.random.default_rng(0).permutation(count)[:_ASKED])
        found = np.zeros(len(asked), np.int64)
        for start in range(0, count, 4096):
            rows = np.arange(start, min(start + 4096, count))
            close = squared(self.offsets, self.deviation, asked, rows)
            close = close < np.minimum(near[asked, None], near[None, rows]) ** 2
            found += np.count_nonzero(close & (asked[:, None] != rows[None, :]), axis=1)
        return float(np.median(found)) > CROWD


def judge(aligned: Aligned, limits: Floats) -> Floats:
    """A score for each pair, float32 `[P]`: 1 for equal pictures, 0 or less for those that are not near-duplicates.

    limits: how near each must be by what is usual for its class, in levels.
    """
    known = aligned.known.astype(np.float32)
    cells = known.sum(axis=(1, 2, 3)) + np.float32(1e-3)
    left = (aligned.part - aligned.seen) * known
    coarse = (left[:, ::2] + left[:, 1::2]) / 2
    coarse = (coarse[:, :, ::2] + coarse[:, :, 1::2]) / 2
    share = cells / FINE**2
    distance = np.sqrt((coarse**2).mean(axis=(1, 2, 3)) / share)
    contrast = np.minimum(_contrast(aligned.part, known, cells), _contrast(aligned.seen, known, cells))
    near = np.minimum(
        np.clip(OF_CONTRAST * contrast, FAINT, NEAR * np.maximum(aligned.factor, 1 / aligned.factor)), limits
    )
    levels, of_contrast, of_noise = EVENLY
    around = np.minimum(_contrast_around(aligned.part), _contrast_around(aligned.seen))
    size = np.abs(left)
    noise = 1.4826 * np.median(size, axis=(1, 2, 3), keepdims=True)
    changed = np.abs(np.log(aligned.factor)) - np.log(_SAME_LIGHT)
    uneven = (size / (levels + of_contrast * around + of_noise * noise)).max(axis=(1, 2, 3))
    uneven = uneven / (1 + OF_LIGHT * np.maximum(changed, 0))
    score = 1 - np.maximum(distance / np.maximum(near, 1e-3), uneven)
    return np.asarray(score, np.float32)


def _contrast(pictures: Floats, known: Floats, cells: Floats) -> Floats:
    """The standard deviation over the known cells, by colour."""
    middle = (pictures * known).sum(axis=(1, 2), keepdims=True) / cells[:, None, None, None]
    variance = ((pictures - middle) ** 2 * known).sum(axis=(1, 2)) / cells[:, None]
    return np.asarray(np.sqrt(variance.mean(axis=1)), np.float32)


def squared(offsets: npt.NDArray[np.float16], deviation: Floats, rows: Numbers, others: Numbers) -> Floats:
    """Mean squared distances `[rows, others]` of the coarse means, less the part that a change of contrast explains."""
    one, other = offsets[rows].astype(np.float32), offsets[others].astype(np.float32)
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None, :] - 2 * one @ other.T
    return np.asarray(
        squares / np.float32(offsets.shape[1]) - (deviation[rows, None] - deviation[None, others]) ** 2, np.float32
    )


def _usual_distance(offsets: npt.NDArray[np.float16], deviation: Floats, labels: Numbers) -> Floats:
    """For each picture the median distance to others of its class, or to all pictures if its class has too few."""
    usual = np.empty(len(offsets), np.float32)
    everyone = np.arange(len(offsets))
    random = np.random.default_rng(0)
    for label in np.unique(labels):
        members = everyone[labels == label]
        among = members if len(members) > _FEWEST else everyone
        sample = np.sort(random.permutation(among)[:_SAMPLE])
        for start in range(0, len(members), 4096):
            rows = members[start : start + 4096]
            distances = np.sqrt(np.maximum(squared(offsets, deviation, rows, sample), 0))
            distances[rows[:, None] == sample[None, :]] = np.nan
            usual[rows] = np.nanmedian(distances, axis=1)
    return usual


def _contrast_around(means: Floats) -> Floats:
    """For each cell and colour, the largest less the smallest of the 3 x 3 cells around it."""
    padded = np.pad(means, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    height, width = means.shape[1:3]
    shifted = [padded[:, row : row + height, column : column + width] for row in range(3) for column in range(3)]
    return np.asarray(np.maximum.reduce(shifted) - np.minimum.reduce(shifted), np.float32)
