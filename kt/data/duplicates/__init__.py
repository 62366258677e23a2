"""Duplicates: which pictures are copies of each other, so that no split holds a copy of a picture in another split.

Exact copies have the same pixels. Near-duplicates are one photograph saved again, scaled, cropped, mirrored, turned, or
made lighter or darker. Candidates are found by short descriptions (`search`). Then one picture is laid over the other
(`align`), and two questions decide, each asked at the resolution that can answer it (`compare`):

* Is the pair much nearer than pictures of its class usually are? If the photos show different scenes, two copies lie
  far below the usual distance. If a fixed camera took them, all pictures are near each other, so none counts as a copy.
* Is the difference spread evenly, as after saving again or from sensor noise, or is it in one place, such as a lamp, a
  needle or a tick?

Near-duplicates belong in one split, whether they are one photograph or two shots of one thing, such as frames of a
film. Which of both they are is a third question (`shots`), since only a copy of a photograph is one too many.

A cluster has one central picture, and every other picture in it is near to that one; two pictures are never joined
through a third.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kt.base.console import progress_bar
from kt.data.duplicates.align import CROPPED, align
from kt.data.duplicates.compare import Coarse, judge
from kt.data.duplicates.search import MOST, Candidates, find_candidates
from kt.data.duplicates.shots import are_one_photograph
from kt.data.duplicates.thumbnails import Thumbnails
from kt.data.duplicates.views import TURNS, WINDOWS, Floats, Numbers, turned
from kt.kinds.pictures import Pixels

PLAIN_LIGHT = 1.07
"""A pair is plain if neither is lighter by more than this factor; 5% more or less light is below it."""

_AT_ONCE, _ROUNDS = 256, 3


@dataclass(frozen=True)
class Ways:
    """How the pictures of each pair are alike: the part is a window of the whole, turned and under another light.

    part_first: bool `[P]`, whether the first of the pair is the part. turn: int64 `[P]`, how the part must be turned,
    0 if not at all; see `views.TURNS`. window: float32 `[P, 4]`, top, bottom, left, right, as shares of the whole.
    factor: float32 `[P]`, how much lighter the part is. score: float32 `[P]`, from 0, at the limits, to 1 for equal
    thumbnails. same: bool `[P]`, whether both are one photograph, and not two shots of one thing.
    """

    part_first: npt.NDArray[np.bool_]
    turn: Numbers
    window: Floats
    factor: Floats
    score: Floats
    same: npt.NDArray[np.bool_]

    @classmethod
    def none(cls) -> "Ways":
        """Of no pairs."""
        empty = np.empty(0, np.float32)
        flags = np.empty(0, bool)
        return cls(flags, np.empty(0, np.int64), np.empty((0, 4), np.float32), empty, empty, flags)

    def chosen(self, rows: npt.NDArray[np.generic]) -> "Ways":
        """These rows alone."""
        return Ways(**{name: values[rows] for name, values in vars(self).items()})

    @classmethod
    def joined(cls, several: Sequence["Ways"]) -> "Ways":
        """One after the other."""
        return cls(**{name: np.concatenate([vars(ways)[name] for ways in several]) for name in vars(several[0])})

    @property
    def cropped(self) -> npt.NDArray[np.bool_]:
        """Which pairs are a picture and a crop of it."""
        cut = np.abs(self.window - np.array([0, 1, 0, 1], np.float32))
        return np.asarray(cut.max(axis=1, initial=0) > CROPPED)

    @property
    def plain(self) -> npt.NDArray[np.bool_]:
        """Which pairs are a picture saved again: not mirrored, turned, cropped, nor much lighter or darker."""
        lighter = np.maximum(self.factor, 1 / np.maximum(self.factor, 1e-3))
        return np.asarray((self.turn == 0) & ~self.cropped & (lighter <= PLAIN_LIGHT))


@dataclass(frozen=True)
class Copies:
    """Which pictures are copies. exact, near: a number for each picture, int64 `[N]`; copies have the same number.

    near: near-duplicates have the same number too. pairs: int64 `[P, 2]`, indices of pictures that are near-duplicates
    of each other, even if `near` gives them different numbers; exact copies of an earlier picture are left out.
    crowded: whether there were too many pairs for the measure to mean anything; then near equals exact. ways: how the
    pairs are alike.
    """

    exact: Numbers
    near: Numbers
    pairs: Numbers
    crowded: bool = False
    ways: Ways = field(default_factory=Ways.none)

    def exact_alone(self) -> "Copies":
        """The same without near-duplicates."""
        return Copies(self.exact, self.exact, self.pairs[:0])

    def plain_alone(self) -> "Copies":
        """The same without pairs that are mirrored, turned, cropped or under another light."""
        return self._of(self.ways.plain)

    def photographs_alone(self) -> "Copies":
        """The same without pairs that are two shots of one thing."""
        return self._of(self.ways.same)

    def _of(self, flags: npt.NDArray[np.bool_]) -> "Copies":
        rows = np.flatnonzero(flags)
        count = int(self.exact.max(initial=-1)) + 1
        near = _clusters(count, self.exact[self.pairs[rows]])
        return Copies(self.exact, near[self.exact], self.pairs[rows], self.crowded, self.ways.chosen(rows))


def find_copies(
    pixels: Pixels,
    labels: Numbers,
    *,
    rows: Numbers | None = None,
    near_duplicates: bool = True,
    progress: bool = False,
) -> Copies:
    """The copies among the pictures, uint8 `[N, H, W, 3]`; only exact copies if `near_duplicates` is false.

    labels: int64 `[N]`; what is near depends on how near pictures of one class usually are. rows: the pictures are
    these rows of `pixels` alone, which may be mapped from a file; labels and the result are of them. progress: whether
    to show a bar.
    """
    rows = np.arange(len(pixels)) if rows is None else rows
    exact = _exact(pixels, rows)
    firsts = np.unique(exact, return_index=True)[1]
    none = Copies(exact, exact, np.empty((0, 2), np.int64))
    if not near_duplicates or len(firsts) < 2:
        return none
    thumbnails = Thumbnails(pixels, rows[firsts]).reduced()
    coarse = Coarse.of(thumbnails, labels[firsts])
    if coarse.crowded():
        return Copies(exact, exact, none.pairs, crowded=True)
    if progress:
        with progress_bar("looking for copies", len(thumbnails)) as bar:
            candidates = find_candidates(thumbnails, advance=bar.advance)
        with progress_bar("comparing them", len(candidates), unit="pairs") as bar:
            pairs, ways = _verified(thumbnails, coarse, candidates, advance=bar.advance)
    else:
        pairs, ways = _verified(thumbnails, coarse, find_candidates(thumbnails))
    pairs, ways = _completed(thumbnails, coarse, pairs, ways)
    return Copies(exact, _clusters(len(firsts), pairs)[exact], firsts[pairs].reshape(-1, 2), ways=ways)


def _exact(pixels: Pixels, rows: Numbers) -> Numbers:
    """A number for each picture, counted from 0 in their order; pictures with equal pixels have the same number."""
    seen: dict[bytes, int] = {}
    return np.array(
        [seen.setdefault(hashlib.sha256(pixels[row].tobytes()).digest(), len(seen)) for row in rows], np.int64
    )


def _verified(
    thumbnails: Thumbnails,
    coarse: Coarse,
    candidates: Candidates,
    *,
    advance: Callable[[int], object] = lambda _: None,
) -> tuple[Numbers, Ways]:
    """The candidates that are near-duplicates, the smaller index first, and how they are alike."""
    order = np.lexsort((candidates.part, candidates.whole))
    found: list[tuple[Candidates, Ways]] = []
    for start in range(0, len(order), _AT_ONCE):
        some = candidates.chosen(order[start : start + _AT_ONCE])
        advance(len(some))
        part = thumbnails.take(some.part)
        for turn in range(1, TURNS):
            rows = some.turn == turn
            part[rows] = turned(part[rows], turn)
        aligned = align(part, thumbnails.take(some.whole), WINDOWS[some.window])
        if not len(aligned.rows):
            continue
        some = some.chosen(aligned.rows)
        score = judge(aligned, coarse.limits(some.part, some.whole))
        alike = np.flatnonzero(score > 0)
        some, aligned, score = some.chosen(alike), aligned.chosen(alike), score[alike]
        same = are_one_photograph(aligned)
        found.append((some, Ways(some.part < some.whole, some.turn, aligned.window, aligned.factor, score, same)))
    if not found:
        return np.empty((0, 2), np.int64), Ways.none()
    part, whole = (np.concatenate([getattr(some, name) for some, _ in found]) for name in ("part", "whole"))
    ways = Ways.joined([way for _, way in found])
    pairs = np.stack([np.minimum(part, whole), np.maximum(part, whole)], axis=1)
    order = np.lexsort((-ways.score, ~ways.same, pairs[:, 1], pairs[:, 0]))
    order = order[np.flatnonzero((np.diff(pairs[order], axis=0, prepend=-1) != 0).any(axis=1))]
    return pairs[order], ways.chosen(order)


def _completed(thumbnails: Thumbnails, coarse: Coarse, pairs: Numbers, ways: Ways) -> tuple[Numbers, Ways]:
    """The pairs, and those of the central pictures of large clusters with all others in them.

    The search keeps only the nearest few of each picture. If there are many copies of one, none of them need be near to
    all others by these pairs alone.
    """
    count = len(thumbnails)
    for _ in range(_ROUNDS):
        near = coo_array((np.ones(len(pairs), bool), pairs.T), shape=(count, count))
        parts = connected_components(near, directed=False)[1]
        degree = np.bincount(pairs.ravel(), minlength=count)
        taken = _clusters(count, pairs)
        size = np.bincount(parts)
        several = np.bincount(np.unique(np.stack([parts, taken]), axis=1)[0]) > 1
        members = np.flatnonzero((size > MOST)[parts] & several[parts])
        order = members[np.lexsort((-degree[members], parts[members]))]
        hubs = order[np.flatnonzero(np.diff(parts[order], prepend=-1))]
        hub = np.zeros(len(size), np.int64)
        hub[parts[hubs]] = hubs
        whole = hub[parts[members]]
        known = np.concatenate([pairs, pairs[:, ::-1]]) @ [count, 1]
        new = (whole != members) & ~np.isin(members * count + whole, known)
        nothing = np.zeros(int(new.sum()), np.int64)
        more = Candidates(members[new], whole[new], nothing, nothing, np.zeros(len(nothing), np.float32))
        found, found_ways = _verified(thumbnails, coarse, more)
        if not len(found):
            break
        pairs, ways = np.concatenate([pairs, found]), Ways.joined([ways, found_ways])
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        pairs, ways = pairs[order], ways.chosen(order)
    return pairs, ways


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
