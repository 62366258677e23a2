"""Duplicates: which pictures are copies of each other, so that no split holds a copy of a picture in another split.

Exact copies have the same pixels. Near-duplicates are one photograph saved again, scaled, or made a little brighter or
darker. Two questions decide whether a pair is one, each asked at the resolution that can answer it:

* Is the pair much nearer than pictures of its class usually are? If the photos show different scenes, two copies lie
  far below the usual distance. If a fixed camera took them, all pictures are near each other, so none counts as a copy.
* Is the difference spread evenly, as after saving again or from sensor noise, or is it in one place, such as a lamp, a
  needle or a tick?

A cluster has one central picture, and every other picture in it is near to that one; two pictures are never joined
through a third.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from kt.kinds.pictures import Pixels

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

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

BRIGHTER = 0.07
"""The mean brightness may differ by this share: a picture made 5% brighter or darker is still a copy."""

EVENLY = (8.0, 0.4, 6.0)
"""A cell of the 32 x 32 may differ by this many levels, plus this times the contrast around it, plus this times noise.

The contrast around a cell is the lower one of the two pictures: scaling blurs an edge that both have, but the edge of a
lamp is in one of them only. The noise is the median of all cells' differences, scaled to a standard deviation.
"""

CROWD = 50
"""With more near pairs than this for each picture, the pictures are too similar for the measure to mean anything."""

_COARSE, _FINE, _SAMPLE, _FEWEST = 16, 32, 64, 4


@dataclass(frozen=True)
class Copies:
    """Which pictures are copies. exact, near: a number for each picture, int64 `[N]`; copies have the same number.

    near: near-duplicates have the same number too. pairs: int64 `[P, 2]`, indices of pictures that are near-duplicates
    of each other, even if `near` gives them different numbers; exact copies of an earlier picture are left out.
    crowded: whether there were too many pairs for the measure to mean anything; then near equals exact.
    """

    exact: Numbers
    near: Numbers
    pairs: Numbers
    crowded: bool = False

    def exact_alone(self) -> "Copies":
        """The same without near-duplicates."""
        return Copies(self.exact, self.exact, self.pairs[:0])


def find_copies(pixels: Pixels, labels: Numbers, *, near_duplicates: bool = True) -> Copies:
    """The copies among the pictures, uint8 `[N, H, W, 3]`; only exact copies if `near_duplicates` is false."""
    exact = _exact(pixels)
    none = Copies(exact, exact, np.empty((0, 2), np.int64))
    firsts = np.unique(exact, return_index=True)[1]
    if not near_duplicates or len(firsts) < 2:
        return none
    coarse = _Coarse.of(_means(pixels, firsts, side=_COARSE), labels[firsts])
    found: list[Numbers] = []
    room = CROWD * len(firsts)
    for pairs in coarse.candidates():
        room -= len(pairs)
        if room < 0:
            return Copies(exact, exact, none.pairs, crowded=True)
        found.append(pairs)
    candidates = np.concatenate(found) if found else none.pairs
    pairs = candidates[_evenly(pixels, firsts, candidates)]
    return Copies(exact, _clusters(len(firsts), pairs)[exact], firsts[pairs].reshape(-1, 2))


def _exact(pixels: Pixels) -> Numbers:
    """A number for each picture, counted from 0 in their order; pictures with equal pixels have the same number."""
    seen: dict[bytes, int] = {}
    return np.array(
        [seen.setdefault(hashlib.sha256(image.tobytes()).digest(), len(seen)) for image in pixels], np.int64
    )


@dataclass(frozen=True)
class _Coarse:
    """16 x 16 mean colours of each picture, less their mean, and the distance below which another picture is near.

    offsets: float32 `[N, D]`, less the mean over all pictures, which preserves precision if all are much alike. mean,
    deviation: of each picture. contrast: the standard deviation over the cells, by colour. limits: how near another
    picture must be, in levels; the usual distance within the class is taken into account.
    """

    offsets: Floats
    mean: Floats
    deviation: Floats
    contrast: Floats
    limits: Floats

    @classmethod
    def of(cls, means: Floats, labels: Numbers) -> "_Coarse":
        flat = means.reshape(len(means), -1)
        mean = flat.mean(axis=1)
        centred = flat - mean[:, None]
        deviation = np.sqrt((centred**2).mean(axis=1))
        contrast = np.sqrt(means.reshape(len(means), -1, 3).var(axis=1).mean(axis=1))
        offsets = centred - centred.mean(axis=0)
        usual = _usual_distance(offsets, deviation, labels)
        near = np.clip(OF_CONTRAST * contrast, 0.5, NEAR)  # rounding changes a plain area by half a level
        return cls(offsets, mean, deviation, contrast, np.minimum(near, OF_SPREAD * usual))

    def candidates(self) -> Iterator[Numbers]:
        """Pairs `[P, 2]` of pictures that are near by the coarse means, the smaller index first."""
        count = len(self.offsets)
        step = max(16, min(1024, 2**24 // count))
        everyone = np.arange(count)
        for start in range(0, count, step):
            rows = everyone[start : start + step]
            others = everyone[start:]
            near = _squared(self.offsets, self.deviation, rows, others) < _lesser(self.limits, rows, others) ** 2
            near &= self._same_light(rows, others) & (rows[:, None] < others[None, :])
            one, other = np.nonzero(near)
            yield np.stack([rows[one], others[other]], axis=1)

    def _same_light(self, rows: Numbers, others: Numbers) -> npt.NDArray[np.bool_]:
        """Whether mean and deviation differ by no more than a small change of light explains."""
        lighter = np.abs(self.mean[rows, None] - self.mean[None, others])
        most = np.minimum(0.7 * _lesser(self.contrast, rows, others), BRIGHTER * _greater(self.mean, rows, others))
        stronger = np.abs(self.deviation[rows, None] - self.deviation[None, others])
        likewise = 2 * BRIGHTER * _greater(self.deviation, rows, others)
        return np.asarray((lighter <= np.maximum(0.5, most)) & (stronger <= np.maximum(0.5, likewise)))


def _lesser(values: Floats, rows: Numbers, others: Numbers) -> Floats:
    return np.minimum(values[rows, None], values[None, others])


def _greater(values: Floats, rows: Numbers, others: Numbers) -> Floats:
    return np.maximum(values[rows, None], values[None, others])


def _squared(offsets: Floats, deviation: Floats, rows: Numbers, others: Numbers) -> Floats:
    """Mean squared distances `[rows, others]` of the coarse means, less the part that a change of contrast explains."""
    one, other = offsets[rows], offsets[others]
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None, :] - 2 * one @ other.T
    return np.asarray(
        squares / np.float32(offsets.shape[1]) - (deviation[rows, None] - deviation[None, others]) ** 2, np.float32
    )


def _usual_distance(offsets: Floats, deviation: Floats, labels: Numbers) -> Floats:
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
            distances = np.sqrt(np.maximum(_squared(offsets, deviation, rows, sample), 0))
            distances[rows[:, None] == sample[None, :]] = np.nan
            usual[rows] = np.nanmedian(distances, axis=1)
    return usual


def _evenly(pixels: Pixels, firsts: Numbers, pairs: Numbers) -> npt.NDArray[np.bool_]:
    """Which pairs differ evenly: in no cell by more than saving again, scaling and noise explain."""
    involved, where = np.unique(pairs, return_inverse=True)
    where = where.reshape(-1, 2)
    kept = np.empty(len(pairs), bool)
    # 16 bits are precise to about a tenth of a level, and save memory if there are many pictures.
    means = _means(pixels, firsts[involved], side=_FINE).astype(np.float16)
    for start in range(0, len(pairs), 512):
        chosen = where[start : start + 512]
        one, other = means[chosen[:, 0]].astype(np.float32), means[chosen[:, 1]].astype(np.float32)
        differences = np.abs(_less_the_light(one, other))
        around = np.minimum(_contrast_around(one), _contrast_around(other))
        noise = 1.4826 * np.median(differences, axis=(1, 2, 3), keepdims=True)
        levels, of_contrast, of_noise = EVENLY
        kept[start : start + 512] = (differences < levels + of_contrast * around + of_noise * noise).all(axis=(1, 2, 3))
    return kept


def _less_the_light(one: Floats, other: Floats) -> Floats:
    """The difference that remains after the first is given the mean and the deviation of the second."""
    axes = (1, 2, 3)
    one, other = one - one.mean(axis=axes, keepdims=True), other - other.mean(axis=axes, keepdims=True)
    factor = other.std(axis=axes, keepdims=True) / np.maximum(one.std(axis=axes, keepdims=True), 1e-3)
    return np.asarray(other - np.clip(factor, 0.5, 2) * one, np.float32)


def _contrast_around(means: Floats) -> Floats:
    """For each cell and colour, the largest less the smallest of the 3 x 3 cells around it."""
    padded = np.pad(means, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    height, width = means.shape[1:3]
    shifted = [padded[:, row : row + height, column : column + width] for row in range(3) for column in range(3)]
    return np.asarray(np.maximum.reduce(shifted) - np.minimum.reduce(shifted), np.float32)


def _clusters(count: int, pairs: Numbers) -> Numbers:
    """The number of the cluster of each picture.

    The picture with the most near-duplicates forms a cluster with all of them that are in none yet, then the next one.
    """
    numbers = np.full(count, -1, np.int64)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    ends = np.searchsorted(both[:, 0], np.arange(count + 1))
    for index in np.argsort(-np.diff(ends), kind="stable"):
        if numbers[index] < 0:
            near = both[ends[index] : ends[index + 1], 1]
            numbers[near[numbers[near] < 0]] = index
            numbers[index] = index
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)


def _means(pixels: Pixels, chosen: Numbers, *, side: int) -> Floats:
    """Mean colours of a grid of `side` x `side` cells over the chosen pictures, float32 `[N, side, side, 3]`.

    There are fewer cells if a picture has fewer pixels. Cells differ by a pixel if `side` doesn't divide the sides.
    """
    height, width = pixels.shape[1:3]
    rows, columns = min(side, height), min(side, width)
    top, left = np.arange(rows) * height // rows, np.arange(columns) * width // columns
    area = np.diff([*top, height])[:, None] * np.diff([*left, width])[None, :]
    means = np.empty((len(chosen), rows, columns, 3), np.float32)
    kind = np.uint16 if np.diff([*top, height]).max() <= 257 else np.uint32  # 16 bits hold 257 rows, in half the time
    for start in range(0, len(chosen), 64):
        part = pixels[chosen[start : start + 64]].reshape(-1, height, width * 3)
        # Summing whole rows first is several times as fast as summing both axes at once.
        bands = np.stack(
            [part[:, start_row:end_row].sum(axis=1, dtype=kind) for start_row, end_row in pairwise([*top, height])],
            axis=1,
        ).reshape(-1, rows, width, 3)
        means[start : start + 64] = np.add.reduceat(bands, left, axis=2, dtype=np.uint32) / area[None, :, :, None]
    return means
