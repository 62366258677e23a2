"""The order in which pictures were taken, as far as running numbers in their names, or times, tell it."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

_UNIQUE = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{16,}", re.IGNORECASE)
"""What makes each name unique and says nothing of an order: a UUID or a hash."""

_NUMBER = re.compile(r"(\d{1,18})(\D*)$")
"""The last number of a name, and what follows it."""

APART = 2.0
"""Pictures are neighbours if their numbers, or times, differ by at most this many times the usual step."""


@dataclass(frozen=True, eq=False)
class TakenInOrder:
    """Pairs of pictures of one class that follow each other.

    what: "numbers" or "times". pairs: int64 `[P, 2]`. members: the pictures of each series, in order.
    """

    what: str
    pairs: Ints
    members: tuple[Ints, ...]

    @property
    def number(self) -> int:
        """How many pictures have a place in the order."""
        return sum(map(len, self.members))

    def places(self, number: int) -> npt.NDArray[np.bool_]:
        """Which of `number` pictures are in a series, `[number]`."""
        ordered = np.zeros(number, bool)
        for part in self.members:
            ordered[part] = True
        return ordered

    def shuffled(self, pairs: Ints, random: np.random.Generator) -> Ints:
        """The pairs `[P, 2]` if the pictures of each series had been taken in a random order."""
        highest = int(max(pairs.max(initial=0), *(int(part.max()) for part in self.members)))
        other = np.arange(highest + 1)
        for part in self.members:
            other[part] = random.permutation(part)
        return np.asarray(other[pairs])


def neighbours_in_order(
    names: Sequence[str] | None, times: npt.ArrayLike | None, labels: Ints
) -> Iterator[TakenInOrder]:
    """The neighbours by running numbers, then those by times; nothing where there are none.

    names: relative paths. times: in seconds, NaN where unknown. labels: `[N]`; pictures of two classes are no
    neighbours.
    """
    if names is not None:
        by_series: dict[tuple[str, str, int], list[tuple[float, int]]] = defaultdict(list)
        for place, name in enumerate(names):
            if found := numbered(name):
                series, number = found
                by_series[series, str(PurePosixPath(name).parent), int(labels[place])].append((number, place))
        yield from _order("numbers", [*by_series.values()])
    if times is not None:
        by_class: dict[int, list[tuple[float, int]]] = defaultdict(list)
        for place, time in enumerate(np.asarray(times, np.float64)):
            if np.isfinite(time):
                by_class[int(labels[place])].append((float(time), place))
        yield from _order("times", [*by_class.values()])


def numbered(name: str) -> tuple[str, int] | None:
    """The series that a file's name belongs to, and its running number; None if the name has no number."""
    stem = _UNIQUE.sub("", PurePosixPath(name).stem)
    match = _NUMBER.search(stem)
    return None if match is None else (stem[: match.start()] + "#" + match[2], int(match[1]))


def _order(what: str, series: Sequence[Sequence[tuple[float, int]]]) -> Iterator[TakenInOrder]:
    pairs, members = [], []
    for each in series:
        ordered = sorted(each)
        values = np.array([value for value, _ in ordered], np.float64)
        places = np.array([place for _, place in ordered], np.int64)
        if len(places) < 3:
            continue
        steps = np.diff(values)
        usual = float(np.median(steps))
        near = steps <= max(APART * usual, 1.0)
        pairs.append(np.stack([places[:-1][near], places[1:][near]], axis=1))
        members.append(places)
    if pairs and sum(map(len, pairs)):
        yield TakenInOrder(what, np.concatenate(pairs), tuple(members))
