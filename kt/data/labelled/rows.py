"""Rows with known classes: a table that has the columns of a model, and one with the labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kt.data.labelled.labelled import Labelled, Question, class_names, tell_layout
from kt.data.labels import class_of
from kt.data.split_words import splits_of
from kt.errors import DataError, did_you_mean
from kt.kinds.rows.kind import Rows
from kt.kinds.rows.table import read_rows_table

_LABEL, _SPLIT = "label", "split"


def read(data: Path, kind: Rows, classes: Sequence[str], asked: Question) -> Labelled:
    """The rows of a table that have a label: only those of test, if its column `split` says which they are.

    group_by: a column; rows with the same value there are one group.
    """
    table = read_rows_table(data)
    cells = {name: table[name].to_pylist() for name in table.column_names}
    taken = {column.name for column in kind.columns}
    label = _label_column(cells, taken, classes, asked, data)
    if asked.group_by not in ("auto", "none") and asked.group_by not in cells:
        raise DataError(f"{data} has no column {asked.group_by!r}. {did_you_mean(asked.group_by, list(cells))}")
    chosen = [place for place, cell in enumerate(cells[label]) if _text(cell)]
    facts = [f"{data.name}: labels from column {label!r}"]
    if left := len(table) - len(chosen):
        facts.append(f"{left} rows have no label and are left out")
    if _SPLIT in cells and _SPLIT not in taken:
        splits = splits_of({_text(cells[_SPLIT][place]) for place in chosen})
        test = [place for place in chosen if splits[_text(cells[_SPLIT][place])] == "test"]
        if test:
            facts.append(f"measured on the {len(test)} of {len(chosen)} rows of test")
            chosen = test
    if not chosen:
        raise DataError(f"No row of {data} has a label in column {label!r}.")
    sources = list(kind.found([data]))
    names = class_names({_text(cells[label][place]) for place in chosen}, classes, data)
    tell_layout(facts, [])
    grouped = asked.group_by in cells
    return Labelled(
        [sources[place] for place in chosen],
        [names[_text(cells[label][place])] for place in chosen],
        [_text(cells[asked.group_by][place]) if grouped else str(sources[place].name) for place in chosen],
    )


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def _label_column(
    cells: dict[str, list[Any]], taken: set[str], classes: Sequence[str], asked: Question, data: Path
) -> str:
    """The column with the labels: the one asked for, `label`, or the only one whose cells are all known classes."""
    if asked.label is not None:
        if asked.label not in cells:
            raise DataError(f"{data} has no column {asked.label!r}. {did_you_mean(asked.label, list(cells))}")
        return asked.label
    free = [name for name in cells if name not in taken]
    if _LABEL in free:
        return _LABEL
    fitting = [name for name in free if _are_classes({_text(cell) for cell in cells[name]} - {""}, classes)]
    if len(fitting) != 1:
        others = f"those that the model does not take are: {', '.join(free)}" if free else "the model takes all of them"
        raise DataError(f"Which column of {data} has the labels? Name it by --label; {others}.")
    return fitting[0]


def _are_classes(labels: set[str], classes: Sequence[str]) -> bool:
    return bool(labels) and all(class_of(label, classes) is not None for label in labels)
