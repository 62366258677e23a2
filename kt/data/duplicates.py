"""The same photograph again: which pictures are copies of each other, so that no split holds what another was made of.

Exact copies have the same pixels. Near-duplicates are one photograph saved again, scaled, or made a little brighter or
darker. Two questions decide, each at the resolution that can answer it:

* Is the pair much nearer than pictures of its class usually are? On photos that move from scene to scene two copies
  lie far below the usual distance; before a fixed camera all pictures are near each other, and so none is a copy.
* Does the pair differ evenly, as saving again and sensor noise do, or in one place, as a lamp, a needle or a tick do?

Pairs are joined into clusters around one picture that all of a cluster are near to, never by way of a third.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from kt.data.splits import Pixels

Numbers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

NEAR = 6.0
"""Copies differ by less than this: root mean square over 16 x 16 means, in levels of 255, brightness set equal.

On four sets of photos, copies at JPEG quality 50, half size and 5% less light lie below 5.6, other photos above 15.
"""

OF_CONTRAST = 0.15
"""And by less than this share of the weaker picture's contrast, its standard deviation over the means.

Otherwise any two faint pictures would be one. Copies lie below 0.1, different photos above 0.3.
"""

OF_SPREAD = 0.5
"""And by less than this share of the median distance to pictures of the same class. Copies of photos: below 0.15."""

BRIGHTER = 0.07
"""The mean may differ by this share: a picture made 5% brighter or darker is still the same."""

EVENLY = (8.0, 0.4, 6.0)
"""What a cell of 32 x 32 may differ by: so many levels, so much of the contrast around it, so much of the noise.

The contrast around a cell is that of the picture that has less of it there: at an edge that both have, scaling blurs;
at the edge of a lamp, one of the two has none. The noise is the median of all cells' differences, as a standard
deviation.
"""

CROWD = 50
"""More near pairs than this for each picture: the set lies too close together for the measure."""

_COARSE, _FINE, _SAMPLE, _FEWEST = 16, 32, 64, 4


@dataclass(frozen=True)
class Copies:
    """Which pictures are copies. exact, near: a number for each picture, int64 `[N]`; copies share it.

    near joins the near-duplicates to the exact copies. pairs: int64 `[P, 2]`, pictures that are near-duplicates of each
    other and of which neither is an exact copy of an earlier one, also where `near` has them apart. crowded: whether
    there were too many pairs for the measure to mean anything; then near is exact.
    """

    exact: Numbers
    near: Numbers
    pairs: Numbers
    crowded: bool = False

    def exact_alone(self) -> "Copies":
        """The same without near-duplicates."""
        return Copies(self.exact, self.exact, self.pairs[:0])


def find_copies(pixels: Pixels, labels: Numbers, *, near_duplicates: bool = True) -> Copies:
    """The copies among the pictures, uint8 `[N, H, W, 3]`; without `near_duplicates` only the exact ones."""
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
    """A number for each picture, counted from 0 in their order; those of the same pixels share it."""
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(hashlib.sha256(one.tobytes()).digest(), len(seen)) for one in pixels], np.int64)


@dataclass(frozen=True)
class _Coarse:
    """16 x 16 mean colours of each picture, without their mean, and what decides from which distance on they are near.

    offsets: float32 `[N, D]`, from the mean of all pictures, which keeps the digits where all are much alike. mean,
    deviation: of each picture. limits: how near another must be, in levels, the spread of its class included.
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
        near = np.clip(OF_CONTRAST * contrast, 0.5, NEAR)  # half a level is what rounding does to a plain area
        return cls(offsets, mean, deviation, contrast, np.minimum(near, OF_SPREAD * usual))

    def candidates(self) -> Iterator[Numbers]:
        """Pairs `[P, 2]`, the smaller index first, that are near by the coarse means."""
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
        """Whether mean and deviation differ by no more than a little more or less light makes."""
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
    """Mean squared distances `[rows, others]` of the coarse means, less what a factor on one of the two explains."""
    one, other = offsets[rows], offsets[others]
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None, :] - 2 * one @ other.T
    return np.asarray(
        squares / np.float32(offsets.shape[1]) - (deviation[rows, None] - deviation[None, others]) ** 2, np.float32
    )


def _usual_distance(offsets: Floats, deviation: Floats, labels: Numbers) -> Floats:
    """For each picture the median distance to others of its class; of all, where a class has too few to tell."""
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
    """Which pairs differ evenly over the picture, and nowhere by more than saving again, scaling and noise explain."""
    involved, where = np.unique(pairs, return_inverse=True)
    where = where.reshape(-1, 2)
    kept = np.empty(len(pairs), bool)
    # In 16 bits, a tenth of a level is kept; there may be many.
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
    """What remains of the difference once mean and deviation of the first are those of the second."""
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
    """A number for each picture: around the one with most near-duplicates, all that are near to it, and so on."""
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

    Of fewer cells where a picture has fewer pixels. Cells differ by a pixel where the sides do not divide.
    """
    height, width = pixels.shape[1:3]
    rows, columns = min(side, height), min(side, width)
    top, left = np.arange(rows) * height // rows, np.arange(columns) * width // columns
    area = np.diff([*top, height])[:, None] * np.diff([*left, width])[None, :]
    means = np.empty((len(chosen), rows, columns, 3), np.float32)
    kind = np.uint16 if np.diff([*top, height]).max() <= 257 else np.uint32  # 16 bits hold 257 rows, in half the time
    for start in range(0, len(chosen), 64):
        part = pixels[chosen[start : start + 64]].reshape(-1, height, width * 3)
        # Whole rows first, which is several times as fast as both sides at once.
        bands = np.stack(
            [part[:, one:other].sum(axis=1, dtype=kind) for one, other in pairwise([*top, height])], axis=1
        ).reshape(-1, rows, width, 3)
        means[start : start + 64] = np.add.reduceat(bands, left, axis=2, dtype=np.uint32) / area[None, :, :, None]
    return means
