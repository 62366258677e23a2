"""Which columns of a table hold path, label, split and group: by their names, else by their cells."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from kt.data.split_words import split_of
from kt.data.tables.text import Row
from kt.errors import DataError, did_you_mean
from kt.kinds.pictures.find import SUFFIXES

_PATHS = (
    *("path", "filepath", "imagepath", "imgpath", "picturepath", "photopath", "fullpath", "relativepath"),
    *("file", "filename", "fname", "imagefile", "imagefilename", "imagefilepath", "imgfile", "imagename", "imgname"),
    *("image", "images", "img", "picture", "photo", "pic", "imageid", "imgid", "pictureid", "photoid", "fileid"),
    *("name", "id", "uid", "uuid", "key", "index"),
)
_LABELS = (
    *("label", "labels", "class", "classes", "classname", "classlabel", "labelname", "category", "categoryname"),
    *("target", "targets", "species", "y", "tag", "tags", "diagnosis", "dx", "breed", "classid", "labelid"),
    *("categoryid", "groundtruth", "gt", "truth", "annotation", "kind", "type"),
)
_SPLITS = ("split", "splits", "set", "subset", "partition", "datasplit", "dataset", "usage", "phase", "fold", "part")
_FLAG = re.compile(r"(?:is|in|for)?(train|training|val|valid|validation|test|testing)(?:set)?")
_TRUE, _FALSE = frozenset({"1", "1.0", "true", "yes", "t", "y"}), frozenset({"0", "0.0", "false", "no", "f", "n", ""})
_LOOKED_AT = 200


@dataclass(frozen=True)
class Columns:
    """The columns of a table by their use, as indices into each row. names: as written, or made up if no line has any.

    label: None if each class has a column of ones and zeros; these are `one_hot`. flag: the split that a yes in the
    column `split` means, if that is a yes/no column; else empty. group: None without such a column. rows: one for each
    picture, without the line of names. facts: how the columns were chosen, if their names alone don't say it.
    """

    names: tuple[str, ...]
    path: int
    label: int | None
    one_hot: tuple[int, ...]
    split: int | None
    flag: str
    group: int | None
    rows: tuple[Row, ...]
    facts: tuple[str, ...]


def find_columns(
    rows: Sequence[Row],
    file: Path,
    *,
    is_there: Callable[[str], bool],
    path_column: str | None = None,
    label_column: str | None = None,
    group_column: str | None = None,
) -> Columns:
    """Find the columns of a table. is_there: whether a cell names an existing file; it is called for a few cells only.

    path_column, label_column, group_column: names of columns, if the caller knows them. Raises DataError, with a list
    of the columns, if it is not clear which is which, or if a named column does not exist.
    """
    if not rows:
        raise DataError(f"The table {file} is empty; expected a first line such as path,label, and a line a picture.")
    facts = []
    names, body = rows[0].cells, tuple(rows[1:])
    if _is_picture_row(names, is_there):
        body = tuple(rows)
        width = max(len(row.cells) for row in body[:_LOOKED_AT])
        names = tuple(f"column {index + 1}" for index in range(width))
        facts.append("the first line is a picture's, so no line names the columns")
    find = _Search(names, body, file, is_there)
    path = find.named(path_column) if path_column else find.path()
    split, flag = find.split(taken={path})
    group = find.named(group_column) if group_column else find.of_name(("group",))
    taken = {index for index in (path, split, group) if index is not None}
    if label_column:
        label: int | None = find.named(label_column)
        one_hot: tuple[int, ...] = ()
    else:
        label, one_hot = find.label(taken)
    used = {*taken, *one_hot, *([] if label is None else [label])}
    facts += find.told(path=path, label=label, one_hot=one_hot, split=split, used=used)
    return Columns(names, path, label, one_hot, split, flag, group, body, tuple(facts))


def _is_picture_row(cells: Sequence[str], is_there: Callable[[str], bool]) -> bool:
    return any(_looks_like_picture(cell) or (len(cell) > 1 and is_there(cell)) for cell in cells)


def _looks_like_picture(cell: str) -> bool:
    return PureWindowsPath(cell).suffix.lower() in SUFFIXES and len(cell) > 4


def _key(name: str) -> str:
    """A column's name without case, spaces and punctuation: `Image Path` and `image_path` are equal."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in plain if character.isalnum()) or plain.strip()


@dataclass(frozen=True)
class _Search:
    names: tuple[str, ...]
    rows: tuple[Row, ...]
    file: Path
    is_there: Callable[[str], bool]

    def named(self, name: str) -> int:
        """The column with this name: spelled the same, else equal without case and punctuation."""
        if name in self.names:
            return self.names.index(name)
        alike = [index for index, own in enumerate(self.names) if _key(own) == _key(name)]
        if len(alike) == 1:
            return alike[0]
        raise DataError(f"{self.file} has no column {name!r}. {did_you_mean(name, self.names)}")

    def of_name(self, known: Sequence[str]) -> int | None:
        return next((index for word in known for index, name in enumerate(self.names) if _key(name) == word), None)

    def values(self, index: int, *, most: int = _LOOKED_AT) -> list[str]:
        """The cells of a column in the first `most` rows."""
        return [row.cells[index] if index < len(row.cells) else "" for row in self.rows[:most]]

    def path(self) -> int:
        if "path" in self.names:
            return self.names.index("path")
        named = [index for index, name in enumerate(self.names) if _key(name) in _PATHS]
        if not self.rows and named:
            return min(named, key=lambda index: _PATHS.index(_key(self.names[index])))
        everyone = range(len(self.names))
        scores = {index: self._pictures(index) for index in everyone}
        best = max(scores.values(), default=0)
        good = [index for index in everyone if best and scores[index] > 0.9 * best]
        chosen = [index for index in good if index in named] or good
        if chosen and (best >= 0.5 or set(chosen) & set(named)):
            return min(chosen, key=lambda index: self._rank(index, _PATHS))
        if len(named) == 1 and _key(self.names[named[0]]) not in ("name", "id", "uid", "uuid", "key", "index"):
            return named[0]
        raise DataError(self._unclear("path", "names a picture's file"))

    def _pictures(self, index: int) -> float:
        """The share of cells that name a picture: they have a picture's suffix, or the file exists."""
        cells = [cell for cell in self.values(index, most=30) if cell]
        return sum(_looks_like_picture(cell) or self.is_there(cell) for cell in cells) / max(1, len(cells))

    def _rank(self, index: int, known: Sequence[str]) -> tuple[int, int]:
        key = _key(self.names[index])
        return (known.index(key) if key in known else len(known), index)

    def split(self, *, taken: set[int]) -> tuple[int | None, str]:
        """The column of splits and, if it holds yes and no, the split that a yes means."""
        for index, name in enumerate(self.names):
            if _key(name) == "split" and index not in taken:
                return index, ""
        for index, name in enumerate(self.names):
            words = set(self.values(index, most=len(self.rows)))
            if index in taken or not words - {""}:
                continue
            if _key(name) in _SPLITS and all(split_of(word) for word in words if word):
                return index, ""
            values = {word.casefold() for word in words}
            if (flag := _FLAG.fullmatch(_key(name))) and values <= _TRUE | _FALSE and len(values) > 1:
                return index, split_of(flag[1]) or ""
        return None, ""

    def label(self, taken: set[int]) -> tuple[int | None, tuple[int, ...]]:
        """The column of labels; or None and the columns of ones and zeros, one for each class."""
        free = [index for index in range(len(self.names)) if index not in taken]
        named = [index for index in free if _key(self.names[index]) in _LABELS]
        exact = [index for index in named if _key(self.names[index]) == "label"]
        if exact or len(named) == 1:
            return (exact or named)[0], ()
        if named:
            numbers = [index for index in named if all(_number(value) for value in self.values(index))]
            texts = [index for index in named if index not in numbers]
            candidates = texts if len(texts) == 1 else named
            if len(candidates) == 1 or self._same(named):
                return min(candidates, key=lambda index: self._rank(index, _LABELS)), ()
            raise DataError(self._unclear("label", "names the class"))
        flags = tuple(index for index in free if self._ones_and_zeros(index))
        if len(flags) > 1:
            return None, flags
        if len(free) == 1:
            return free[0], ()
        raise DataError(self._unclear("label", "names the class"))

    def _ones_and_zeros(self, index: int) -> bool:
        values = {value.casefold() for value in self.values(index, most=len(self.rows))}
        return bool(values & _TRUE) and values <= _TRUE | _FALSE

    def _same(self, columns: Sequence[int]) -> bool:
        """Whether several columns say the same in different words, such as a class's name and its number."""
        rows = list(zip(*(self.values(index, most=len(self.rows)) for index in columns), strict=True))
        return all(len(set(rows)) == len({row[place] for row in rows}) for place in range(len(columns)))

    def _unclear(self, what: str, does: str) -> str:
        if what in self.names and self.names.count(what) > 1:
            return f"{self.file} has several columns {what!r}."
        option = "--label NAME, or for kt run " if what == "label" else ""
        return (
            f"{self.file} has no column {what!r}, and it is not clear which one {does}; its columns are: "
            f"{', '.join(self.names)}. Call it {what!r}, or say which it is: {option}--set data.{what}_column=NAME, or "
            f"Table(..., {what}_column=NAME)."
        )

    def told(
        self, *, path: int, label: int | None, one_hot: Sequence[int], split: int | None, used: set[int]
    ) -> list[str]:
        """Facts on which column was taken for what, if its name alone doesn't say it, and which columns are ignored."""
        facts = []
        if self.names[path] != "path" or label is None or self.names[label] != "label":
            classes = f"one class a column ({', '.join(self.names[index] for index in one_hot)})"
            labels = classes if label is None else f"labels in {self.names[label]!r}"
            facts.append(f"pictures in {self.names[path]!r}, {labels}")
        if split is not None and self.names[split] != "split":
            facts.append(f"splits in {self.names[split]!r}")
        if rest := [name for index, name in enumerate(self.names) if index not in used]:
            shown = ", ".join(name or "one without a name" for name in rest[:8])
            facts.append(f"not looked at: {shown}" + (f" and {len(rest) - 8} more" if len(rest) > 8 else ""))
        return facts


def is_true(cell: str) -> bool:
    """Whether a cell of a yes/no column, or of ones and zeros, means yes."""
    return cell.casefold() in _TRUE


def _number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d*)?", text) is not None or not text
