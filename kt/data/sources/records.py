"""`Records`: rows of a table of numbers and categories, with the label in a column."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.base.console import say, shown
from kt.data.assemble import check_batch
from kt.data.division import divide, names_of_groups
from kt.data.duplicates import Copies
from kt.data.items import SPLITS, Item, Shares
from kt.data.labels import check_label
from kt.data.split_words import split_of
from kt.data.splits import Split, Splits
from kt.errors import DataError, did_you_mean
from kt.kinds.rows.kind import Column, Rows
from kt.kinds.rows.table import is_number, read_rows_table
from kt.recipe import check_types


@dataclass(frozen=True)
class Records:
    """A CSV or Parquet file with a row for each example: numbers, categories, and a column with the label.

    columns: the inputs of the model; unless given, all columns except label, group and split. like: a model with the
    same columns, as a `.keras` file or a SavedModel; needed for weights that were trained on another table. group: a
    column; rows with the same value in it stay in one split. split: a column with train, validation or test. Rows whose
    inputs are all equal are copies, and stay in one split. A row without a label is left out.
    """

    file: str | Path
    label: str = "label"
    columns: Sequence[str] | None = None
    like: str | Path | None = None
    batch_size: int = 32
    validation: float = 0.15
    test: float = 0.2
    seed: int = 0
    group: str | None = None
    split: str | None = None

    reads_from = "file"

    def __post_init__(self) -> None:
        check_types(self)
        check_batch(self.batch_size)
        Shares(self.validation, self.test, self.seed)

    def __call__(self) -> Splits:
        """Read the rows. Raises DataError for a missing column, or for a cell that should be a number and isn't."""
        file = Path(self.file).expanduser()
        table = read_rows_table(file)
        names, known = self._names(table.column_names, file), None
        if self.like is not None:
            known = Rows.of_file(Path(self.like).expanduser())
            names = _same(names, known, table.column_names, file)
        every = {f"{file.name}:{place}": row for place, row in enumerate(table.to_pylist(), start=1)}
        items = [item for name, row in every.items() if (item := self._item(name, row))]
        if left := len(table) - len(items):
            say(f"{left} rows have no label and are left out")
        classes = tuple(sorted({item.label for item in items}))
        if len(classes) < 2:
            raise DataError(f"At least two classes are needed, and column {self.label!r} of {file} has {len(classes)}.")
        for label in classes:
            check_label(label, where=str(file))
        rows = [[every[item.name][name] for name in names] for item in items]
        first: dict[str, int] = {}
        exact = np.array([first.setdefault(repr(row), len(first)) for row in rows], np.int64)
        labels = np.array([classes.index(item.label) for item in items], np.int64)
        divided = divide(
            items, labels, Copies(exact, exact, np.empty((0, 2), np.int64)),
            classes=classes, shares=Shares(self.validation, self.test, self.seed), many="rows",
        )  # fmt: skip
        places = {name: np.flatnonzero((divided.splits == name) & divided.keep) for name in SPLITS}
        train = [rows[place] for place in places["train"]]
        kind = known or Rows(
            tuple(
                _column(name, [row[at] for row in train], numbers=is_number(table, name))
                for at, name in enumerate(names)
            )
        )
        called = names_of_groups(items, divided.begun.groups, divided.keep)
        parts = {
            name: _part(kind, items, chosen, every=every, labels=labels, groups=divided.begun.groups, called=called)
            for name, chosen in places.items()
        }
        lines = sorted(map(repr, zip(divided.splits, (item.label for item in items), rows, strict=True)))
        return Splits(
            parts["train"], parts["validation"], parts["test"], classes, self.batch_size, f"table {shown(file)}",
            digest=hashlib.sha256("\n".join(lines).encode()).hexdigest(), notes=divided.notes, kind=kind,
        )  # fmt: skip

    def _names(self, all_names: Sequence[str], file: Path) -> list[str]:
        """The columns that the model takes. all_names: those of the table. Raises DataError for a missing column."""
        own = [self.label, *filter(None, (self.group, self.split))]
        for name in [*own, *(self.columns or ())]:
            if name not in all_names:
                raise DataError(f"{file} has no column {name!r}. {did_you_mean(name, all_names)}")
        names = [name for name in all_names if name not in own] if self.columns is None else list(self.columns)
        if not names or self.label in names:
            raise DataError(f"{file}: columns are those that the model takes, at least one, without {self.label!r}.")
        return names

    def _item(self, name: str, row: Mapping[str, Any]) -> Item | None:
        """A row before it is read; None if it has no label."""
        label = row[self.label]
        if label is None or not str(label).strip():
            return None
        thing = "" if self.group is None else str(row[self.group])
        split = None if self.split is None else split_of(str(row[self.split]))
        if self.split is not None and split is None:
            raise DataError(
                f"{name}: column {self.split!r} is to hold train, validation or test, not {row[self.split]!r}."
            )
        return Item(lambda: row, str(label).strip(), name, group=thing or name, split=split, thing=thing)


def _same(names: Sequence[str], known: Rows, all_names: Sequence[str], file: Path) -> list[str]:
    """The columns of the model given by `like`, in its order. Raises DataError if the table's columns differ."""
    theirs = [column.name for column in known.columns]
    if more := [name for name in names if name not in theirs]:
        raise DataError(
            f"{file}: the model knows no column {more[0]!r}; it has: {', '.join(theirs)}. Name those that it knows by "
            "columns=[...]."
        )
    if fewer := [name for name in theirs if name not in all_names]:
        raise DataError(
            f"{file} lacks the column {fewer[0]!r}, which the model takes. {did_you_mean(fewer[0], all_names)}"
        )
    return theirs


def _column(name: str, cells: Sequence[Any], *, numbers: bool) -> Column:
    """A column, with its categories, or its mean and spread, taken from the cells of train."""
    if not numbers:
        return Column(name, categories=tuple(sorted({str(cell) for cell in cells if cell not in (None, "")})))
    values = np.array([cell for cell in cells if cell is not None] or [0.0], np.float64)
    values = values[np.isfinite(values)]
    return Column(name, mean=float(values.mean()), spread=float(values.std()) or 1.0)


def _part(
    kind: Rows, items: Sequence[Item], chosen: Any, *, every: Any, labels: Any, groups: Any, called: Any
) -> Split:
    """The split with the chosen rows. every: all rows by their names. called: the name of each group."""
    examples: npt.NDArray[Any] = np.empty((len(chosen), *kind.shape), np.float32)
    for at, place in enumerate(chosen):
        try:
            examples[at] = kind.read(every[items[place].name])
        except DataError as error:
            raise DataError(f"{items[place].name}: {error}.") from None
    return Split(
        examples,
        labels[chosen],
        tuple(items[place].name for place in chosen),
        tuple(str(groups[place]) for place in chosen),
        group_names=tuple(called[int(groups[place])] for place in chosen),
    )
