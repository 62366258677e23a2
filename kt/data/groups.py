"""Groups: which pictures show the same object, by their folder, by the beginning of their names, or by a pattern.

Pictures of one group never lie in two splits, and confidence intervals resample whole groups. Imports nothing heavy.
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
"""Folders or names are taken for groups only if each class has at least this many of them: one for each split."""


@dataclass(frozen=True)
class Place:
    """Where a picture lies, as far as its group depends on it.

    path: relative to the folder or table that names it. within: what the group lies in, such as split and class; the
    same name in another split or class is another group. folders: the folders below `within`. pool: whether splits are
    drawn from the part of the data that the picture is in.
    """

    path: PurePath
    within: tuple[str, ...]
    folders: tuple[str, ...] = ()
    pool: bool = True

    @property
    def prefix(self) -> str:
        """The part of the file's name before `__`; empty if there is no `__`."""
        before, mark, _ = self.path.stem.partition("__")
        return before if mark else ""


@dataclass(frozen=True)
class Groups:
    """The group of each picture, in order. fact: one line on how the groups were found; empty if there is none to tell.

    names: pictures of one group have the same name here. things: what a person calls the group; empty for a picture
    that is a group of its own.
    """

    names: tuple[str, ...]
    things: tuple[str, ...]
    fact: str = ""


def check_group_by(by: str) -> None:
    """Raise RecipeError unless `by` is one of `WAYS`, or a regular expression with a group in parentheses."""
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
    parenthesised parts name the group, whatever class or split it is in. fewest: how many groups each class must have
    for "auto" to accept a way. missing: how many splits are still to be drawn; each needs a group of its own, and so
    does train.
    """
    if by == "none":
        return _alone(places)
    if by == "folder":
        return _told(places, _by_folder(places), "folder")
    if by == "prefix":
        return _told(places, _by_prefix(places), "prefix")
    if by != "auto":
        return _by_pattern(places, by)
    return _auto(places, fewest=fewest, missing=missing)


def _groups(places: Sequence[Place], names: tuple[str, ...], fact: str = "") -> Groups:
    alone = zip(names, _each(places), strict=True)
    return Groups(names, tuple("" if name == path else name.lstrip("/") for name, path in alone), fact)


def _alone(places: Sequence[Place], fact: str = "") -> Groups:
    return _groups(places, _each(places), fact)


def _each(places: Sequence[Place]) -> tuple[str, ...]:
    return tuple(place.path.as_posix() for place in places)


def _name(place: Place, *parts: str) -> str:
    # It begins with a slash, which no relative path does: so it never equals the path of an ungrouped picture.
    return "/".join(["", *place.within, *parts])


def _by_folder(places: Sequence[Place], depth: int | None = None) -> tuple[str, ...]:
    """Pictures of one class in one folder are one group; a picture directly in its class is a group of its own."""
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
        match = pattern.search(text)
        if match is None:
            missed.append(text)
        names.append(text if match is None else "/".join(["", *(part or "" for part in match.groups())]))
    if len(missed) == len(places) and places:
        raise DataError(f"group_by {by!r} is found in no path, such as {missed[0]}; check the expression.")
    rest = f"; {len(missed)} paths do not have it and stand for themselves, such as {missed[0]}" if missed else ""
    return _groups(places, tuple(names), f"{_counted(names)} by group_by {by!r}{rest}")


# ---------------------------------------------------------------------------------------------------------- by evidence


def _auto(places: Sequence[Place], *, fewest: int, missing: int) -> Groups:
    """The groups by the first way that finds enough of them in each class; else each picture is its own group."""
    names, way, why = _things_of_folders(places, fewest=fewest, missing=missing)
    if names:
        return _told(places, names, way)
    marked = [place for place in places if place.prefix]
    if marked:
        # Pictures with a prefix are also checked alone: else all of a camera's IMG__0001, IMG__0002 ... would become
        # one group, when pictures without a prefix make up the number of groups.
        few = _too_few(marked, _by_prefix(marked), fewest=fewest, missing=0)
        few = few or _too_few(places, _by_prefix(places), fewest=fewest, missing=missing)
        if not few:
            return _told(places, _by_prefix(places), "prefix")
        first = marked[0]
        return _alone(
            places,
            f'each picture is a thing of its own: "{first.prefix}" before the __ of {first.path.as_posix()} names '
            f'none, for {few}; group_by="prefix" keeps such pictures in one split',
        )
    if why:
        folder = next(place for place in places if place.folders).path.parent.as_posix()
        return _alone(
            places,
            f"each picture is a thing of its own: folders within a class, such as {folder}/, are none, for {why}; "
            'group_by="folder" keeps each in one split',
        )
    return _alone(places)


def _things_of_folders(places: Sequence[Place], *, fewest: int, missing: int) -> tuple[tuple[str, ...], str, str]:
    """The groups by folders within a class and how they were found; or no groups, and why."""
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
    """Why these can't be groups: a class that has too few of them to be split; empty if each class has enough."""
    things: dict[str, set[str]] = defaultdict(set)
    pool: dict[str, set[str]] = defaultdict(set)
    for place, name in zip(places, names, strict=True):
        label = place.within[-1] if place.within else ""
        things[label].add(name)
        if place.pool:
            pool[label].add(name)
    few = [(label, len(groups)) for label, groups in things.items() if len(groups) < fewest]
    few += [(label, len(groups)) for label, groups in pool.items() if len(groups) < 1 + missing]
    if not few:
        return ""
    label, count = min(few, key=lambda pair: (pair[1], pair[0]))
    return f"class {label} has {count} of them"


def _told(places: Sequence[Place], names: tuple[str, ...], way: str) -> Groups:
    sizes = Counter(names)
    if not sizes or max(sizes.values()) < 2:  # no group has two pictures: there is no fact to tell
        return _groups(places, names)
    by = {
        "folder": "a folder within a class",
        "prefix": "what their names have before __",
        "name": "their names, over the folders of a class",
    }[way]
    example = next(index for index, name in enumerate(names) if sizes[name] > 1)
    same = [place.path.as_posix() for place, name in zip(places, names, strict=True) if name == names[example]]
    return _groups(
        places,
        names,
        f"{_counted(names)} by {by}, such as {same[0]} and {PurePosixPath(same[1]).name}; each stays in one split "
        '(group_by="none" takes each picture for itself)',
    )


def _counted(names: Sequence[str]) -> str:
    return f"{len(set(names)):,} things in {len(names):,} pictures"
