"""What a table says: the pictures with their labels, splits and groups, and all that was left out or put right."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kt.data.groups import WAYS as GROUP_WAYS
from kt.data.groups import Groups, Place, check_group_by, find_groups
from kt.data.labels import check_label, class_of, one_class
from kt.data.split_words import splits_of
from kt.data.tables.columns import Columns, find_columns, is_true
from kt.data.tables.paths import Finder
from kt.data.tables.text import Row, read_rows
from kt.errors import DataError, did_you_mean

SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".tab", ".psv"})
"""What is taken for a table where a folder could stand too."""

NO_LABEL = frozenset({"", "nan", "<na>", "na", "n/a", "#n/a", "null", "nil"})
"""Cells that say that there is no label, in any case; and `None`, as Python writes it."""

SEVERAL = 0.05
"""From this share of pictures with two labels on, a table is of several labels a picture, not one with mistakes."""


@dataclass(frozen=True)
class Listed:
    """A picture as a table names it. written: its path there. line: of the row, counted from 1."""

    file: Path
    written: str
    label: str
    split: str | None
    group: str
    line: int


@dataclass(frozen=True)
class TableLayout:
    """The pictures of a table in its order. facts: how it was understood. notes: what a person should look at."""

    pictures: tuple[Listed, ...]
    facts: tuple[str, ...]
    notes: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """How many pictures each class has, over all splits; classes sorted by name."""
        return dict(sorted(Counter(picture.label for picture in self.pictures).items()))


def is_table(path: Path) -> bool:
    """Whether a path is meant as a table: by its suffix, and no folder."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def check_table_group_by(by: str) -> None:
    """Raise RecipeError unless it is one of the ways to group, a regular expression, or may be a column's name."""
    if "(" in by:
        check_group_by(by)


def read_table(
    file: Path,
    *,
    path_column: str | None = None,
    label_column: str | None = None,
    group_by: str = "auto",
    known: Collection[str] = (),
    fewest: int = 3,
    drawn: bool = True,
) -> TableLayout:
    """The pictures that a table names, with one class each.

    path_column, label_column: where the columns' names do not say it. group_by: one of the ways of `kt.data.groups`, a
    regular expression of the path, or a column; "auto" takes the column `group`. known: the classes that are expected,
    where a model says so. fewest, drawn: of things in a class, and whether splits that are missing will be drawn.
    Raises DataError with the line, or with the columns that there are.
    """
    read = read_rows(file)
    finder = Finder(file.parent)
    columns = find_columns(
        read.rows,
        file,
        is_there=finder.is_there,
        path_column=path_column,
        label_column=label_column,
        group_column=None if group_by in GROUP_WAYS or "(" in group_by else group_by,
    )
    notes: list[str] = []
    cells = [_Cells.of(row, columns, file) for row in columns.rows]
    labelled = _with_label(cells, file, notes)
    _one_label_each(labelled, file)
    spelled, merged = one_class(cell.label for cell in labelled if cell.label not in known)
    splits, told = _splits(labelled, columns, file)
    files = [finder.find(cell.path) for cell in labelled]
    found = [
        Listed(path, cell.path, _class(cell.label, spelled, known), splits[cell.split], cell.group, cell.line)
        for cell, path in zip(labelled, files, strict=True)
    ]
    _some_there(found, file)
    found = _once(found, file, notes)
    groups = _groups(found, columns, group_by, fewest=fewest, drawn=drawn)
    pictures = tuple(
        Listed(one.file, one.written, one.label, one.split, group, one.line)
        for one, group in zip(found, groups.names, strict=True)
    )
    how = [*read.facts, *columns.facts]
    facts = [f"{file.name}: {'; '.join(how)}"] if how else []
    facts += [*told, *finder.facts(), *([groups.fact] if groups.fact else [])]
    return TableLayout(pictures, tuple(facts), (*notes, *merged, *_words(found)))


@dataclass(frozen=True)
class _Cells:
    """One row's cells by what they are for."""

    line: int
    path: str
    label: str
    split: str
    group: str

    @classmethod
    def of(cls, row: Row, columns: Columns, file: Path) -> "_Cells":
        where = f"{file}:{row.line}"
        if len(row.cells) > len(columns.names):
            raise DataError(f"{where}: more cells than columns; put a cell with a comma between double quotes.")

        def cell(index: int | None) -> str:
            return row.cells[index] if index is not None and index < len(row.cells) else ""

        path = cell(columns.path)
        if not path:
            raise DataError(f"{where}: the path is missing.")
        if "\n" in path or "\r" in path:
            raise DataError(f"{where}: the path goes over several lines; a double quote is not closed.")
        return cls(row.line, path, _label(cell, columns, where), cell(columns.split), cell(columns.group))


def _label(cell: Callable[[int | None], str], columns: Columns, where: str) -> str:
    if columns.label is not None:
        label = cell(columns.label)
        if not _missing(label):
            check_label(label, where=where)
        return label
    ones = [columns.names[index] for index in columns.one_hot if is_true(cell(index))]
    if len(ones) > 1:
        raise DataError(f"{where}: a one in several columns ({', '.join(ones)}); kt takes one label a picture.")
    return ones[0] if ones else ""


def _missing(label: str) -> bool:
    return label.casefold() in NO_LABEL or label == "None"


def _class(label: str, spelled: dict[str, str], known: Collection[str]) -> str:
    name = label if label in known else spelled[label]
    return (class_of(name, known) or name) if known else name


def _with_label(cells: Sequence[_Cells], file: Path, notes: list[str]) -> list[_Cells]:
    """The rows with a label; the others are told with their lines."""
    without = [cell for cell in cells if _missing(cell.label)]
    if without and len(without) == len(cells):
        raise DataError(f"{file}: no row has a label; {_lines(cell.line for cell in without)}.")
    if without:
        written = sorted({cell.label for cell in without if cell.label})
        told = f" ({', '.join(written)} is none)" if written else ""
        rows, are = ("1 row has", "is") if len(without) == 1 else (f"{len(without):,} rows have", "are")
        notes.append(f"{rows} no label{told} and {are} left out: {_lines(cell.line for cell in without)}")
    return [cell for cell in cells if not _missing(cell.label)]


def _one_label_each(cells: Sequence[_Cells], file: Path) -> None:
    """Raise DataError where cells hold several labels: their parts come again in others, alone or in other company."""
    labels = Counter(cell.label for cell in cells)
    for mark in "|;,":
        parts = {label: [part.strip() for part in label.split(mark)] for label in labels}
        several = {label for label, found in parts.items() if len(found) > 1 and all(found)}
        _check_parts(parts, several, cells, file, always=mark == "|")
    parts = {label: label.split() for label in labels}
    several = {label for label, found in parts.items() if len(found) > 1}
    # Words of a name are parted by spaces as labels are; not so where the names themselves have signs for spaces.
    if any(re.search(r"\w[_-]\w", part) for label in several for part in parts[label]):
        _check_parts(parts, several, cells, file)


def _check_parts(
    parts: dict[str, list[str]], several: set[str], cells: Sequence[_Cells], file: Path, *, always: bool = False
) -> None:
    met = Counter(part for found in parts.values() for part in set(found))
    for cell in cells:
        if cell.label in several and (always or any(met[part] > 1 for part in parts[cell.label])):
            count = sum(1 for other in cells if other.label in several)
            raise DataError(
                f"{file}:{cell.line}: {cell.label!r} is several labels in one cell, as in {count:,} rows; kt takes one "
                "label a picture. Keep one of them, or give each combination a name of its own."
            )


def _words(found: Sequence[Listed]) -> list[str]:
    """A note on labels of several words that share words, which may have been meant as several labels."""
    labels = {one.label for one in found}
    words = Counter(word for label in labels for word in set(label.split()))
    shared = sorted(label for label in labels if len(label.split()) > 1 and any(words[w] > 1 for w in label.split()))
    alone = [label for label in shared if any(word in labels for word in label.split())]
    if not alone:
        return []
    return [f"labels of several words are one class each, such as {alone[0]!r}; kt takes one label a picture"]


def _splits(cells: Sequence[_Cells], columns: Columns, file: Path) -> tuple[dict[str, str | None], list[str]]:
    """The split that each word of the column means, and one line on it where a word is not plain."""
    words = dict.fromkeys(cell.split for cell in cells)
    if columns.flag:
        other = "test" if columns.flag == "train" else "train"
        flags: dict[str, str | None] = {word: columns.flag if is_true(word) else other for word in words}
        return flags, [f"a yes in {columns.names[columns.split or 0]!r} is {columns.flag}, a no {other}"]
    meant = dict(splits_of(word for word in words if word))
    for cell in cells:
        if cell.split and meant[cell.split] is None:
            hint = did_you_mean(cell.split.lower(), ("train", "validation", "test"))
            raise DataError(f"{file}:{cell.line}: unknown split {cell.split!r}. {hint}")
    plain = {word: split for word, split in meant.items() if word.lower() != split}
    told = [f"splits: {', '.join(f'{word} is {split}' for word, split in plain.items())}"] if plain else []
    return {"": None, **meant}, told


def _some_there(found: Sequence[Listed], file: Path) -> None:
    """Raise DataError where not one of the pictures is there."""
    if found and not any(one.file.exists() for one in found[:1000]) and not any(one.file.exists() for one in found):
        raise DataError(
            f"None of the {len(found):,} pictures of {file} is there; the first, {found[0].written}, was sought from "
            f"{file.parent} and from the working directory, and by its name below {file.parent}."
        )


def _once(found: Sequence[Listed], file: Path, notes: list[str]) -> list[Listed]:
    """Each picture once: rows that say the same again are left out and told; so is a picture with two labels."""
    by_file: dict[Path, list[Listed]] = defaultdict(list)
    for one in found:
        by_file[one.file].append(one)
    two = {path: same for path, same in by_file.items() if len({one.label for one in same}) > 1}
    if two:
        told = [
            f"{same[0].written} ({', '.join(f'{one.label} in line {one.line}' for one in _by_label(same))})"
            for same in list(two.values())[:10]
        ]
        more = f" and {len(two) - 10} more" if len(two) > 10 else ""
        which = f"{len(two):,} of {len(by_file):,} pictures have two labels: {', '.join(told)}{more}"
        if len(two) > max(1, SEVERAL * len(by_file)):
            raise DataError(f"{file}: {which}. kt takes one label a picture; keep one row of each.")
        notes.append(f"left out, for {which}; keep one row of each")
    kept: list[Listed] = []
    again: list[int] = []
    for path, same in by_file.items():
        if path in two:
            continue
        seen: set[str | None] = set()
        for one in same:  # in two splits it is left to what finds leaks
            if one.split in seen:
                again.append(one.line)
            else:
                seen.add(one.split)
                kept.append(one)
    if again:
        rows, are = ("1 row says", "is") if len(again) == 1 else (f"{len(again):,} rows say", "are")
        notes.append(f"{rows} the same again and {are} left out: {_lines(sorted(again))}")
    return sorted(kept, key=lambda one: one.line)


def _by_label(same: Sequence[Listed]) -> list[Listed]:
    return list({one.label: one for one in reversed(same)}.values())[::-1]


def _groups(found: Sequence[Listed], columns: Columns, group_by: str, *, fewest: int, drawn: bool) -> Groups:
    """The group of each picture: by the column, else by its path as pictures in folders are grouped."""
    paths = [PurePosixPath(one.written.replace("\\", "/")) for one in found]
    if columns.group is not None and group_by not in set(GROUP_WAYS) - {"auto"} and "(" not in group_by:
        # What has none stands for itself, under a name that no cell has.
        return Groups(tuple(one.group or f"/{path}" for one, path in zip(found, paths, strict=True)))
    shared = _shared([path.parent.parts for path in paths])
    places = []
    for one, path in zip(found, paths, strict=True):
        folders = path.parent.parts[shared:]
        if one.label in folders:
            folders = folders[len(folders) - folders[::-1].index(one.label) :]
        elif group_by == "auto":  # they may be cameras, days, or any thousand files
            folders = ()
        pool = one.split in (None, "train")
        places.append(Place(path, within=(one.split or "", one.label), folders=folders, pool=pool))
    given = {one.split for one in found}
    missing = sum(name not in given for name in ("validation", "test")) if drawn else 0
    return find_groups(places, group_by, fewest=fewest, missing=missing)


def _shared(folders: Sequence[tuple[str, ...]]) -> int:
    """How many outer folders all paths have in common."""
    if not folders:
        return 0
    first, last = min(folders), max(folders)
    return next((at for at, (one, other) in enumerate(zip(first, last, strict=False)) if one != other),
                min(len(first), len(last)))  # fmt: skip


def _lines(numbers: Iterable[int]) -> str:
    """Such as `lines 3, 8 and 40 more`."""
    ordered = list(numbers)
    first = ", ".join(map(str, ordered[:10]))
    more = f" and {len(ordered) - 10:,} more" if len(ordered) > 10 else ""
    return f"line{'s' if len(ordered) > 1 else ''} {first}{more}"


def to_measure(layout: TableLayout) -> tuple[TableLayout, str]:
    """What a model is measured on: test where the table has splits, and one line on that; else all of it."""
    splits = {picture.split for picture in layout.pictures}
    for split in ("test", "validation", "train"):
        if split in splits and splits != {split}:
            chosen = tuple(picture for picture in layout.pictures if picture.split == split)
            return (
                TableLayout(chosen, layout.facts, layout.notes),
                f"measured on the {len(chosen):,} of {len(layout.pictures):,} rows of {split}",
            )
    return layout, ""
