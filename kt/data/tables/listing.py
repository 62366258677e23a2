"""Reads a table: its pictures with labels, splits and groups, and notes on what was left out or corrected."""

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
"""Suffixes of a table, for an argument that may be a folder or a table."""

NO_LABEL = frozenset({"", "nan", "<na>", "na", "n/a", "#n/a", "null", "nil"})
"""Cells, in lower case, that mean that there is no label. Python's `None` means it too, in this spelling only."""

SEVERAL = 0.05
"""If more than this share of the pictures have two labels, the table is meant to hold several labels a picture.

A smaller share is taken as mistakes.
"""


@dataclass(frozen=True)
class ListedPicture:
    """A picture as a table names it. written: its path in the table. line: the line of its row, counted from 1.

    thing: what a person calls its group; empty if the picture is a group of its own.
    """

    file: Path
    written: str
    label: str
    split: str | None
    group: str
    line: int
    thing: str = ""


@dataclass(frozen=True)
class TableLayout:
    """The pictures of a table, in its order. facts: how it was understood. notes: what a person should look at."""

    pictures: tuple[ListedPicture, ...]
    facts: tuple[str, ...]
    notes: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """How many pictures each class has, over all splits; classes sorted by name."""
        return dict(sorted(Counter(picture.label for picture in self.pictures).items()))


def is_table(path: Path) -> bool:
    """Whether a path means a table: it has a table's suffix, and is no folder."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def check_table_group_by(by: str) -> None:
    """Raise RecipeError if `by` has a parenthesis and is not a valid regular expression; else it may name a column."""
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

    path_column, label_column: needed if the names of the columns don't say which they are. group_by: one of the ways of
    `kt.data.groups`, a regular expression of the path, or a column; "auto" takes the column `group`. known: the classes
    of a model, if pictures are read for one. fewest: how many groups each class must have for "auto" to accept a way.
    drawn: whether missing splits will be drawn later. Raises DataError with the line, or with a list of the columns.
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
    splits, split_facts = _splits(labelled, columns, file)
    files = [finder.find(cell.path) for cell in labelled]
    listed = [
        ListedPicture(path, cell.path, _class(cell.label, spelled, known), splits[cell.split], cell.group, cell.line)
        for cell, path in zip(labelled, files, strict=True)
    ]
    _some_there(listed, file)
    listed = _once(listed, file, notes)
    groups = _groups(listed, columns, group_by, fewest=fewest, drawn=drawn)
    pictures = tuple(
        ListedPicture(row.file, row.written, row.label, row.split, group, row.line, thing)
        for row, group, thing in zip(listed, groups.names, groups.things, strict=True)
    )
    how = [*read.facts, *columns.facts]
    facts = [f"{file.name}: {'; '.join(how)}"] if how else []
    facts += [*split_facts, *finder.facts(), *([groups.fact] if groups.fact else [])]
    return TableLayout(pictures, tuple(facts), (*notes, *merged, *_words(listed)))


@dataclass(frozen=True)
class _Cells:
    """The cells of one row, by their use."""

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
    """The rows with a label; the others go into `notes` with their lines. Raises DataError if no row has a label."""
    without = [cell for cell in cells if _missing(cell.label)]
    if without and len(without) == len(cells):
        raise DataError(f"{file}: no row has a label; {_lines(cell.line for cell in without)}.")
    if without:
        written = sorted({cell.label for cell in without if cell.label})
        empty = f" ({', '.join(written)} is none)" if written else ""
        rows, are = ("1 row has", "is") if len(without) == 1 else (f"{len(without):,} rows have", "are")
        notes.append(f"{rows} no label{empty} and {are} left out: {_lines(cell.line for cell in without)}")
    return [cell for cell in cells if not _missing(cell.label)]


def _one_label_each(cells: Sequence[_Cells], file: Path) -> None:
    """Raise DataError if cells hold several labels: the sign is that their parts occur in other labels too."""
    labels = Counter(cell.label for cell in cells)
    for mark in "|;,":
        parts = {label: [part.strip() for part in label.split(mark)] for label in labels}
        several = {label for label, own in parts.items() if len(own) > 1 and all(own)}
        _check_parts(parts, several, cells, file, always=mark == "|")
    parts = {label: label.split() for label in labels}
    several = {label for label, own in parts.items() if len(own) > 1}
    # Spaces may separate labels or the words of one label. They separate labels if words are joined by _ or -.
    if any(re.search(r"\w[_-]\w", part) for label in several for part in parts[label]):
        _check_parts(parts, several, cells, file)


def _check_parts(
    parts: dict[str, list[str]], several: set[str], cells: Sequence[_Cells], file: Path, *, always: bool = False
) -> None:
    counts = Counter(part for own in parts.values() for part in set(own))
    for cell in cells:
        if cell.label in several and (always or any(counts[part] > 1 for part in parts[cell.label])):
            count = sum(1 for other in cells if other.label in several)
            raise DataError(
                f"{file}:{cell.line}: {cell.label!r} is several labels in one cell, as in {count:,} rows; kt takes one "
                "label a picture. Keep one of them, or give each combination a name of its own."
            )


def _words(listed: Sequence[ListedPicture]) -> list[str]:
    """A note on labels of several words of which one is a label by itself: they may be meant as several labels."""
    labels = {row.label for row in listed}
    words = Counter(word for label in labels for word in set(label.split()))
    shared = sorted(label for label in labels if len(label.split()) > 1 and any(words[w] > 1 for w in label.split()))
    alone = [label for label in shared if any(word in labels for word in label.split())]
    if not alone:
        return []
    return [f"labels of several words are one class each, such as {alone[0]!r}; kt takes one label a picture"]


def _splits(cells: Sequence[_Cells], columns: Columns, file: Path) -> tuple[dict[str, str | None], list[str]]:
    """The split that each word of the column means, and one line on it if a word is not the split's own name."""
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
    renamed = {word: split for word, split in meant.items() if word.lower() != split}
    facts = [f"splits: {', '.join(f'{word} is {split}' for word, split in renamed.items())}"] if renamed else []
    return {"": None, **meant}, facts


def _some_there(listed: Sequence[ListedPicture], file: Path) -> None:
    """Raise DataError if none of the picture files exists."""
    if listed and not any(row.file.exists() for row in listed[:1000]) and not any(row.file.exists() for row in listed):
        raise DataError(
            f"None of the {len(listed):,} pictures of {file} is there; the first, {listed[0].written}, was sought from "
            f"{file.parent} and from the working directory, and by its name below {file.parent}."
        )


def _once(listed: Sequence[ListedPicture], file: Path, notes: list[str]) -> list[ListedPicture]:
    """Each picture once in each split: repeated rows and pictures with two labels are left out, with a note.

    Raises DataError if so many pictures have two labels that the table is meant to hold several labels a picture.
    """
    by_file: dict[Path, list[ListedPicture]] = defaultdict(list)
    for row in listed:
        by_file[row.file].append(row)
    two = {path: same for path, same in by_file.items() if len({row.label for row in same}) > 1}
    if two:
        examples = [
            f"{same[0].written} ({', '.join(f'{row.label} in line {row.line}' for row in _by_label(same))})"
            for same in list(two.values())[:10]
        ]
        more = f" and {len(two) - 10} more" if len(two) > 10 else ""
        which = f"{len(two):,} of {len(by_file):,} pictures have two labels: {', '.join(examples)}{more}"
        if len(two) > max(1, SEVERAL * len(by_file)):
            raise DataError(f"{file}: {which}. kt takes one label a picture; keep one row of each.")
        notes.append(f"left out, for {which}; keep one row of each")
    kept: list[ListedPicture] = []
    again: list[int] = []
    for path, same in by_file.items():
        if path in two:
            continue
        seen: set[str | None] = set()
        for row in same:  # a picture in two splits stays in both here: the search for leaks decides on it
            if row.split in seen:
                again.append(row.line)
            else:
                seen.add(row.split)
                kept.append(row)
    if again:
        rows, are = ("1 row says", "is") if len(again) == 1 else (f"{len(again):,} rows say", "are")
        notes.append(f"{rows} the same again and {are} left out: {_lines(sorted(again))}")
    return sorted(kept, key=lambda row: row.line)


def _by_label(same: Sequence[ListedPicture]) -> list[ListedPicture]:
    return list({row.label: row for row in reversed(same)}.values())[::-1]


def _groups(listed: Sequence[ListedPicture], columns: Columns, group_by: str, *, fewest: int, drawn: bool) -> Groups:
    """The group of each picture: by the column, else by its path, as for pictures in a folder."""
    paths = [PurePosixPath(row.written.replace("\\", "/")) for row in listed]
    if columns.group is not None and group_by not in set(GROUP_WAYS) - {"auto"} and "(" not in group_by:
        # A picture with an empty cell is its own group, under a name that no cell should hold.
        names = tuple(row.group or f"/{path}" for row, path in zip(listed, paths, strict=True))
        return Groups(names, tuple(row.group for row in listed))
    shared = _shared([path.parent.parts for path in paths])
    places = []
    for row, path in zip(listed, paths, strict=True):
        folders = path.parent.parts[shared:]
        if row.label in folders:
            folders = folders[len(folders) - folders[::-1].index(row.label) :]
        elif group_by == "auto":  # the folders may be cameras, days, or arbitrary batches of files
            folders = ()
        pool = row.split in (None, "train")
        places.append(Place(path, within=(row.split or "", row.label), folders=folders, pool=pool))
    given = {row.split for row in listed}
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
    """The numbers of lines as text, such as `lines 3, 8 and 40 more`."""
    ordered = list(numbers)
    first = ", ".join(map(str, ordered[:10]))
    more = f" and {len(ordered) - 10:,} more" if len(ordered) > 10 else ""
    return f"line{'s' if len(ordered) > 1 else ''} {first}{more}"


def to_measure(layout: TableLayout) -> tuple[TableLayout, str]:
    """The pictures to measure a model on, and one line on the choice.

    They are those of test, or else of validation or of train; all pictures, and no line, if the table has no splits or
    only one.
    """
    splits = {picture.split for picture in layout.pictures}
    for split in ("test", "validation", "train"):
        if split in splits and splits != {split}:
            chosen = tuple(picture for picture in layout.pictures if picture.split == split)
            return (
                TableLayout(chosen, layout.facts, layout.notes),
                f"measured on the {len(chosen):,} of {len(layout.pictures):,} rows of {split}",
            )
    return layout, ""
