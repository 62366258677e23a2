"""Which pictures show the same thing: by the folder they lie in, by the beginning of their names, or by a pattern.

Pictures of one thing, a group, never lie in two splits, and intervals are drawn over groups. Loads nothing heavy.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath

from kt.data.folder_names import sorts, views
from kt.errors import DataError, RecipeError

WAYS = ("auto", "folder", "prefix", "none")

FEWEST = 3
"""Things that each class must have before folders or names are taken for things: one for each split."""


@dataclass(frozen=True)
class Place:
    """What a picture's place says of its group.

    path: relative to the folder or table that names it. within: what the group lies in, such as split and class; the
    same name in another one is another thing. folders: those below it. pool: whether splits are drawn from it.
    """

    path: PurePath
    within: tuple[str, ...]
    folders: tuple[str, ...] = ()
    pool: bool = True

    @property
    def prefix(self) -> str:
        """What stands before `__` in the file's name; empty where there is no `__`."""
        before, mark, _ = self.path.stem.partition("__")
        return before if mark else ""


@dataclass(frozen=True)
class Groups:
    """The group of each picture, in order, and one line on how they were found; empty where there is nothing to say."""

    names: tuple[str, ...]
    fact: str = ""


def check_group_by(by: str) -> None:
    """Raise RecipeError unless it is one of `WAYS`, or a regular expression with a group."""
    if by in WAYS:
        return
    try:
        groups = re.compile(by).groups
    except (re.error, RecursionError, OverflowError) as error:
        raise RecipeError(f"group_by {by!r} is no regular expression ({error}); {_EXPECTED}.") from None
    if not groups:
        raise RecipeError(f"group_by {by!r} has no group in parentheses; {_EXPECTED}.")


_EXPECTED = (
    f"expected {', '.join(WAYS)}, or a regular expression of the path whose group in parentheses names the thing, such "
    r"as ([^/]+)_\d+\.jpg"
)


def find_groups(places: Sequence[Place], by: str = "auto", *, fewest: int = FEWEST, missing: int = 2) -> Groups:
    """The group of each picture.

    by: one of `WAYS`, or a regular expression that is searched for in the relative path, with `/` between folders; its
    groups name the thing, whatever class or split it is in. fewest: things a class must have for "auto" to find them.
    missing: splits that are to be drawn, each of which needs a thing of its own, besides train.
    """
    if by == "none":
        return Groups(_each(places))
    if by == "folder":
        return _told(places, _by_folder(places), "folder")
    if by == "prefix":
        return _told(places, _by_prefix(places), "prefix")
    if by != "auto":
        return _by_pattern(places, by)
    return _auto(places, fewest=fewest, missing=missing)


def _each(places: Sequence[Place]) -> tuple[str, ...]:
    return tuple(place.path.as_posix() for place in places)


def _name(place: Place, *parts: str) -> str:
    # Behind a mark that no relative path begins with, so that no picture that stands for itself is met.
    return "/".join(["", *place.within, *parts])


def _by_folder(places: Sequence[Place], depth: int | None = None) -> tuple[str, ...]:
    """Those of one class in one folder are one thing; a picture without a folder of its own stands for itself."""
    return tuple(_name(place, *place.folders[:depth]) if place.folders else place.path.as_posix() for place in places)


def _by_prefix(places: Sequence[Place]) -> tuple[str, ...]:
    return tuple(_name(place, place.prefix) if place.prefix else place.path.as_posix() for place in places)


def _by_stem(places: Sequence[Place]) -> tuple[str, ...]:
    return tuple(_name(place, place.path.stem) if place.folders else place.path.as_posix() for place in places)


def _by_pattern(places: Sequence[Place], by: str) -> Groups:
    pattern = re.compile(by)
    names, missed = [], []
    for place in places:
        text = place.path.as_posix()
        found = pattern.search(text)
        if found is None:
            missed.append(text)
        names.append(text if found is None else "/".join(["", *(part or "" for part in found.groups())]))
    if len(missed) == len(places) and places:
        raise DataError(f"group_by {by!r} is found in no path, such as {missed[0]}; check the expression.")
    rest = f"; {len(missed)} paths do not have it and stand for themselves, such as {missed[0]}" if missed else ""
    return Groups(tuple(names), f"{_counted(names)} by group_by {by!r}{rest}")


# ---------------------------------------------------------------------------------------------------------- by evidence


def _auto(places: Sequence[Place], *, fewest: int, missing: int) -> Groups:
    """The first of the ways that finds several things in each class; else each picture stands for itself."""
    names, way, why = _things_of_folders(places, fewest=fewest, missing=missing)
    if names:
        return _told(places, names, way)
    marked = [place for place in places if place.prefix]
    if marked:
        # By themselves too, lest a camera's IMG__0001 and its sisters are one thing beside pictures without a mark.
        few = _too_few(marked, _by_prefix(marked), fewest=fewest, missing=0)
        few = few or _too_few(places, _by_prefix(places), fewest=fewest, missing=missing)
        if not few:
            return _told(places, _by_prefix(places), "prefix")
        first = marked[0]
        return Groups(
            _each(places),
            f'each picture is a thing of its own: "{first.prefix}" before the __ of {first.path.as_posix()} names '
            f'none, for {few}; group_by="prefix" keeps such pictures in one split',
        )
    if why:
        folder = next(place for place in places if place.folders).path.parent.as_posix()
        return Groups(
            _each(places),
            f"each picture is a thing of its own: folders within a class, such as {folder}/, are none, for {why}; "
            'group_by="folder" keeps each in one split',
        )
    return Groups(_each(places))


def _things_of_folders(places: Sequence[Place], *, fewest: int, missing: int) -> tuple[tuple[str, ...], str, str]:
    """The groups by folders within a class and the way they were found; or none, and why."""
    why = ""
    for depth in range(1, 1 + max((len(place.folders) for place in places), default=0)):
        names = _by_folder(places, depth)
        inner = {place.folders[:depth][-1] for place in places if place.folders}
        few = _too_few(places, names, fewest=fewest, missing=missing)
        if not few and not all(map(sorts, inner)):
            return names, "folder", ""
        why = why or few or f"{min(inner)}/ only sorts"
    if why and all(views(folder) for place in places for folder in place.folders):
        names = _by_stem(places)  # front/plant_07.jpg and side/plant_07.jpg
        if max(Counter(names).values()) > 1 and not _too_few(places, names, fewest=fewest, missing=missing):
            return names, "name", ""
    return (), "", why


def _too_few(places: Sequence[Place], names: Sequence[str], *, fewest: int, missing: int) -> str:
    """Why these are no things: a class that has too few of them to be split; empty where each has enough."""
    things: dict[str, set[str]] = defaultdict(set)
    pool: dict[str, set[str]] = defaultdict(set)
    for place, name in zip(places, names, strict=True):
        label = place.within[-1] if place.within else ""
        things[label].add(name)
        if place.pool:
            pool[label].add(name)
    few = [(label, len(found)) for label, found in things.items() if len(found) < fewest]
    few += [(label, len(found)) for label, found in pool.items() if len(found) < 1 + missing]
    if not few:
        return ""
    label, count = min(few, key=lambda one: (one[1], one[0]))
    return f"class {label} has {count} of them"


def _told(places: Sequence[Place], names: tuple[str, ...], way: str) -> Groups:
    sizes = Counter(names)
    if not sizes or max(sizes.values()) < 2:  # no two pictures of one thing: nothing to say
        return Groups(names)
    by = {
        "folder": "a folder within a class",
        "prefix": "what their names have before __",
        "name": "their names, over the folders of a class",
    }[way]
    example = next(index for index, name in enumerate(names) if sizes[name] > 1)
    same = [place.path.as_posix() for place, name in zip(places, names, strict=True) if name == names[example]]
    return Groups(
        names,
        f"{_counted(names)} by {by}, such as {same[0]} and {PurePosixPath(same[1]).name}; each stays in one split "
        '(group_by="none" takes each picture for itself)',
    )


def _counted(names: Sequence[str]) -> str:
    return f"{len(set(names)):,} things in {len(names):,} pictures"
