"""Draws the splits and keeps them apart: no group, and no pair of copies, lies in two splits."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from kt.base.console import warn
from kt.data.duplicates import Copies
from kt.data.items import SPLITS, Item, Shares
from kt.errors import DataError

LOST = 0.1
"""The largest share of pictures to leave out as near-duplicates of a later split; if more, only exact copies count."""

FEW, BY_CHANCE = 5, 0.5
"""Only exact copies count, too, if at least FEW near-duplicate pairs have different labels, and if these are a share of
all pairs that is at least BY_CHANCE times the share expected by chance."""


@dataclass(frozen=True)
class _Begun:
    """The state before splits are drawn: of each picture its group, its split so far (given), and whether it stays."""

    copies: Copies
    groups: npt.NDArray[np.int64]
    given: npt.NDArray[np.str_]
    keep: npt.NDArray[np.bool_]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Divided:
    """The split of each picture, whether it stays (keep), and notes for a person."""

    begun: _Begun
    splits: npt.NDArray[np.str_]
    keep: npt.NDArray[np.bool_]
    notes: tuple[str, ...]


def divide(
    items: Sequence[Item],
    labels: npt.NDArray[np.int64],
    copies: Copies,
    *,
    classes: Sequence[str],
    shares: Shares,
    many: str = "pictures",
) -> Divided:
    """Split the examples so that none has a copy in another split. many: the plural noun for them, such as pictures.

    If near-duplicates can't be the same photograph in this data set, only exact copies count as copies, and a warning
    says so.
    """
    doubt = _doubt(items, labels, copies, classes=classes, shares=shares, many=many)
    doubts = []
    if doubt and not copies.ways.plain.all():
        plain = copies.plain_alone()
        doubts = [
            f"{doubt}, so pictures that are alike only when they are mirrored, turned, cropped or made lighter are "
            "taken as pictures of their own"
        ]
        copies, doubt = plain, _doubt(items, labels, plain, classes=classes, shares=shares, many=many)
    if doubt:
        copies = copies.exact_alone()
        doubts = [
            f"{doubt}, so exact copies alone are taken as copies; if one camera took them all from one place, that is "
            "as it should be (near_duplicates=False says so); if they are photographs that were saved again or taken "
            "in series, name those that belong together (column group, or group_by)"
        ]
    begun = _begin(items, labels, copies, many=many)
    notes = [*doubts, *begun.notes]
    for note in notes:
        warn(note)
    splits = _complete(begun, labels, classes=classes, shares=shares, many=many)
    late = _leaks(splits, begun.keep, begun.copies)
    if late.any():
        leaks = _left_out(splits[late], many=many)
        notes += leaks
        for note in leaks:
            warn(note)
    return Divided(begun, splits, begun.keep & ~late, tuple(notes))


def _begin(items: Sequence[Item], labels: npt.NDArray[np.int64], copies: Copies, *, many: str) -> _Begun:
    groups = _groups(items, copies.near)
    given, mixed = _unmixed(np.array([item.split or "train" for item in items], dtype="<U10"), groups, many=many)
    keep = _without_leaks(given, groups, copies)
    notes = (
        *_again(items, copies),
        *mixed,
        *_left_out(given[~keep], many=many),
        *_two_labels(labels, copies.near, items, many=many),
    )
    return _Begun(copies, groups, given, keep, notes)


def _doubt(
    items: Sequence[Item],
    labels: npt.NDArray[np.int64],
    copies: Copies,
    *,
    classes: Sequence[str],
    shares: Shares,
    many: str,
) -> str:
    """Why near-duplicates mean nothing in this data set; empty if nothing speaks against them.

    They mean nothing if there are too many, if their labels differ about as often as by chance, or if too few pictures
    would be left to split.
    """
    if copies.crowded:
        return "most pictures are nearly alike to many others"
    if not len(copies.pairs):
        return ""
    if differ := labels_by_chance(copies.pairs, labels):
        one, other = (items[index].name for index in differ[0])
        return (
            f"{len(differ)} of {len(copies.pairs)} pairs of nearly alike pictures have different labels, such as {one} "
            f"and {other}"
        )
    begun = _begin(items, labels, copies, many=many)
    alone = _begin(items, labels, copies.exact_alone(), many=many)
    short = _short(begun, labels, classes)
    if short and not _short(alone, labels, classes):
        return f"nearly alike pictures, taken as copies, would leave too few of class {short[0]!r} to split"
    if not short:
        late = _leaks(_complete(begun, labels, classes=classes, shares=shares, many=many), begun.keep, copies)
        if late.sum() > LOST * begun.keep.sum():
            return f"{late.sum()} pictures would be left out for being nearly alike to one of another split"
    return ""


def labels_by_chance(pairs: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> list[list[int]]:
    """The pairs `[P, 2]` with two labels, if these are so many that nearly alike can't mean the same; else none."""
    differ = labels[pairs[:, 0]] != labels[pairs[:, 1]]
    shares = np.bincount(labels) / len(labels)
    if differ.sum() < FEW or differ.mean() < BY_CHANCE * (1 - (shares**2).sum()):
        return []
    return [[int(one), int(other)] for one, other in pairs[differ]]


def _again(items: Sequence[Item], copies: Copies) -> list[str]:
    """A note on near-duplicates, with an example and the option that turns them off; none if there are none."""
    if not len(copies.pairs):
        return []
    one, other = (items[index].name for index in copies.pairs[0])
    return [
        f"{len(np.unique(copies.pairs))} pictures are nearly the same as another (saved anew, scaled, cropped, "
        f"mirrored, made lighter or darker, or taken a moment later), such as {one} and {other}; those stay in one "
        "split (near_duplicates=False takes exact copies alone)"
    ]


def _short(begun: _Begun, labels: npt.NDArray[np.int64], classes: Sequence[str]) -> list[str]:
    """The classes of which train holds too few groups to draw the missing splits from."""
    pool = begun.keep & (begun.given == "train")
    needed = 1 + len(_missing(begun.given))
    return [
        name for label, name in enumerate(classes) if len(np.unique(begun.groups[pool & (labels == label)])) < needed
    ]


def _groups(items: Sequence[Item], alike: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """A number for each picture; all pictures of its group and their copies have the same number."""
    first: dict[str, int] = {}
    owner = [first.setdefault(item.group, index) for index, item in enumerate(items)]
    double = np.unique(alike, return_index=True)[1][alike]
    everyone = np.arange(len(items))
    return _joined(len(items), np.concatenate([everyone, everyone]), np.concatenate([np.array(owner), double]))


def names_of_groups(
    items: Sequence[Item], groups: npt.NDArray[np.int64], keep: npt.NDArray[np.bool_]
) -> dict[int, str]:
    """What a person calls each group, by its number; no two groups have the same name.

    If near-duplicates joined several groups, the first one with a name gives it to all. A group without a name is
    called after its first picture.
    """
    things: dict[int, str] = {}
    pictures: dict[int, str] = {}
    for index in np.flatnonzero(keep).tolist():
        number, item = int(groups[index]), items[index]
        if item.thing:
            things.setdefault(number, item.thing)
        pictures.setdefault(number, item.name)
    called: dict[int, str] = {}
    taken: set[str] = set()
    for number, name in {**things, **{n: name for n, name in pictures.items() if n not in things}}.items():
        same = 1
        while (own := name if same == 1 else f"{name} ({same})") in taken:
            same += 1
        called[number] = own
        taken.add(own)
    return called


def _joined(count: int, one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The connected component of each of `count` nodes, given the edges."""
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _unmixed(
    given: npt.NDArray[np.str_], groups: npt.NDArray[np.int64], *, many: str
) -> tuple[npt.NDArray[np.str_], list[str]]:
    """Put validation back into train, to be drawn again, if most of train lies in a group that validation has too.

    This happens when frames of a film, or of a turning object, were assigned to the splits one by one. A few such
    pictures are left out of train; leaving out most of them would leave next to nothing to learn from.
    """
    train, validation = given == "train", given == "validation"
    shared = int(np.isin(groups[train], groups[validation]).sum())
    if 2 * shared <= train.sum():
        return given, []
    return np.where(validation, "train", given), [
        f"{shared} of {train.sum()} {many} of train show what validation shows too (copies, or {many} of the "
        "same group); validation was drawn anew, in whole groups"
    ]


def _without_leaks(
    splits: npt.NDArray[np.str_], groups: npt.NDArray[np.int64], copies: Copies
) -> npt.NDArray[np.bool_]:
    """Which pictures stay: if a group, or near-duplicates, lie in several splits, only those in the last of these."""
    rank = _rank(splits)
    last = np.zeros(len(rank), np.int64)
    np.maximum.at(last, groups, rank)
    keep = rank == last[groups]
    return np.asarray(keep & ~_leaks(splits, keep, copies))


def _leaks(splits: npt.NDArray[np.str_], keep: npt.NDArray[np.bool_], copies: Copies) -> npt.NDArray[np.bool_]:
    """Which of the kept pictures have a near-duplicate in a later split."""
    rank = _rank(splits)
    last, later = np.full((2, len(rank)), -1)
    np.maximum.at(last, copies.exact[keep], rank[keep])
    for one, other in ((0, 1), (1, 0)):
        np.maximum.at(later, copies.exact[copies.pairs[:, one]], last[copies.exact[copies.pairs[:, other]]])
    return np.asarray(keep & (rank < later[copies.exact]))


def _rank(splits: npt.NDArray[np.str_]) -> npt.NDArray[np.int64]:
    return np.array([SPLITS.index(split) for split in splits])


def _left_out(splits: npt.NDArray[np.str_], *, many: str) -> list[str]:
    """Notes on pictures left out because a later split has them too. splits: the split of each such picture."""
    return [
        f"left out of {split}: {count} that a later split has too (copies, or {many} of the same group)"
        for split, count in sorted(Counter(splits).items())
    ]


def _missing(given: npt.NDArray[np.str_]) -> list[str]:
    return [name for name in ("test", "validation") if not (given == name).any()]


def _complete(
    begun: _Begun, labels: npt.NDArray[np.int64], *, classes: Sequence[str], shares: Shares, many: str
) -> npt.NDArray[np.str_]:
    """The split of each picture: a missing validation or test is drawn from train, class by class, in whole groups."""
    given, groups, keep = begun.given, begun.groups, begun.keep
    splits = given.copy()
    missing = _missing(given)
    wanted = {"test": shares.test, "validation": shares.validation}
    pool = keep & (given == "train")
    few = [
        (name, len(members), len(np.unique(groups[members])))
        for label, name in enumerate(classes)
        if len(members := np.flatnonzero((labels == label) & pool))
    ]
    few = [(name, pictures, things) for name, pictures, things in few if things < 1 + len(missing)]
    if few:
        raise DataError(_too_few(few, missing=missing, many=many))
    random = np.random.default_rng(shares.seed)
    for label in range(len(classes)):
        members = np.flatnonzero((labels == label) & pool)
        numbers = random.permutation(np.unique(groups[members]))
        sizes = Counter(groups[members].tolist())
        for split in missing:
            goal = wanted[split] * len(members)
            # A group larger than the whole share comes last: it would empty train.
            free = sorted(numbers[~np.isin(numbers, groups[splits != "train"])], key=lambda n: sizes[n] > goal)
            # If a group holds several classes, an earlier class may have assigned it already. Train needs a group, and
            # so does validation if it is drawn after test.
            taken = int((splits[members] == split).sum())
            reserve = 1 + (split == "test" and "validation" in missing)
            # Take groups until the share is met as nearly as whole groups allow, and at least one.
            while len(free) > reserve and (taken == 0 or sizes[free[0]] < 2 * (goal - taken)):
                chosen = free.pop(0)
                taken += sizes[chosen]
                splits[pool & (groups == chosen)] = split
    return splits


def _too_few(few: Sequence[tuple[str, int, int]], *, missing: Sequence[str], many: str) -> str:
    """Why classes can't be split, and what to do. few: name, pictures and groups of each class that has too few.

    If a class has more pictures than groups, the message says that copies and pictures of one group count as one.
    """
    splits = ["train", *sorted(missing)]
    needed = f"{len(splits)} are needed for {', '.join(splits)}"
    ways = "train/, validation/ and test/ folders" if many == "pictures" else "a column"
    remedy = f"add {many}, or give the splits as {ways}"
    copies = f"copies, and {many} of one group, count as one"
    if len(few) == 1:
        name, pictures, things = few[0]
        found = f"{things} independent {many if things != 1 else many[:-1]}"
        among = f" among {pictures} ({copies})" if things < pictures else ""
        return f"Class {name!r} has {found}{among}, and {needed}; {remedy}."
    each = [f"{name!r} {things}" + (f" of {pictures}" if things < pictures else "") for name, pictures, things in few]
    told = f" ({copies})" if any(things < pictures for _, pictures, things in few) else ""
    return f"{len(few)} classes have too few independent {many}{told}: {_some(each)}; {needed} of each; {remedy}."


def lacking(names: Sequence[str]) -> str:
    """The beginning of a sentence about classes that lack something."""
    named = _some([repr(name) for name in names])
    return f"Class {named} has" if len(names) == 1 else f"{len(names)} classes, {named}, have"


def _some(parts: Sequence[str]) -> str:
    more = len(parts) - 20
    return ", ".join(parts[:20]) + (f" and {more} more" if more > 0 else "")


def _two_labels(
    labels: npt.NDArray[np.int64], alike: npt.NDArray[np.int64], items: Sequence[Item], *, many: str
) -> list[str]:
    first = np.unique(alike, return_index=True)[1][alike]
    clash = np.flatnonzero(labels != labels[first])
    if not len(clash):
        return []
    one, other = items[first[clash[0]]].name, items[clash[0]].name
    look = f"1 {many[:-1]} looks" if len(clash) == 1 else f"{len(clash)} {many} look"
    return [
        f"{look} the same as one with another label, such as {other} and {one}; no model can tell those apart: "
        "keep each under one label"
    ]
