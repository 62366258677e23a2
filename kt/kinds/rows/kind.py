"""The kind `rows`: float32 `[D]`, one number for each column; a category is its index among the known categories."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kt.errors import DataError
from kt.kinds.carried import carried
from kt.kinds.kind import Encoded, Source

if TYPE_CHECKING:
    from kt.kinds.kind import Array, Property

COLUMNS = "rows.json"
"""The name of the text that an artefact carries: the columns of its rows, as JSON."""


@dataclass(frozen=True)
class Column:
    """A column of numbers, with the mean and the standard deviation (spread) in train; or a column of categories.

    An empty cell counts as the mean in a column of numbers. In a column of categories an empty cell and an unknown
    category count as none of the categories. categories: their names; None for a column of numbers.
    """

    name: str
    mean: float = 0.0
    spread: float = 1.0
    categories: tuple[str, ...] | None = None

    def number(self, cell: Any) -> float:
        """The model's input for a cell: a number, or the index of a category, -1 for none.

        Raises DataError if a cell of a column of numbers is no finite number.
        """
        empty = cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))
        if self.categories is not None:
            return float(self.categories.index(str(cell))) if not empty and str(cell) in self.categories else -1.0
        try:
            value = self.mean if empty else float(cell)
        except (TypeError, ValueError):
            value = math.inf
        if not math.isfinite(value):
            raise DataError(f"column {self.name!r} is to hold a number, not {cell!r}")
        return value


@dataclass(frozen=True)
class Rows:
    """Rows of a table with these columns, in this order."""

    columns: tuple[Column, ...]

    name = "rows"
    one = "row"
    many = "rows"
    unit = "row"
    file = "rows.csv"
    takes = "rows"
    dtype = "float32"
    asides = (COLUMNS,)

    @property
    def shape(self) -> tuple[int, ...]:
        """One number for each column."""
        return (len(self.columns),)

    @property
    def fed(self) -> tuple[int, ...]:
        """One number for each column of numbers, and one for each category of the other columns."""
        return (sum(1 if column.categories is None else len(column.categories) for column in self.columns),)

    def in_words(self) -> str:
        """The number of columns."""
        return f"{len(self.columns)} columns"

    def to_json(self) -> dict[str, Any]:
        """The columns as plain data."""
        return {"kind": self.name, "columns": [asdict(column) for column in self.columns]}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Rows":
        """The reverse of `to_json`."""
        columns = [
            {**fields, "categories": fields["categories"] and tuple(fields["categories"])} for fields in told["columns"]
        ]
        return cls(tuple(Column(**fields) for fields in columns))

    @classmethod
    def of_model(cls, shape: tuple[int | None, ...], dtype: str, asides: Mapping[str, str]) -> "Rows | None":
        """The kind from the columns that an artefact carries; None if it has none, or if they don't fit its input."""
        try:
            rows = cls.from_json(json.loads(asides[COLUMNS]))
        except (KeyError, TypeError, ValueError):
            return None
        return rows if dtype == cls.dtype and tuple(shape[1:]) == rows.shape else None

    @classmethod
    def of_file(cls, path: Path) -> "Rows":
        """The kind from a model of rows: a `.keras` file or a SavedModel. Raises DataError for any other file."""
        try:
            return cls.from_json(json.loads(carried(path, cls.asides)[COLUMNS]))
        except (KeyError, TypeError, ValueError):
            raise DataError(f"{path} is no model of rows; expected the .keras file or SavedModel of one.") from None

    def aside(self) -> dict[str, str]:
        """The columns: without them the meaning of the numbers is unknown."""
        return {COLUMNS: json.dumps(self.to_json())}

    def prepared(self, inputs: Any) -> Any:
        """Numbers standardised to mean 0 and standard deviation 1 in train, and categories one-hot."""
        from keras import ops

        parts = []
        for place, column in enumerate(self.columns):
            cells = inputs[:, place : place + 1]
            if column.categories is None:
                parts.append((cells - column.mean) / column.spread)
            else:
                places = range(len(column.categories))
                parts += [ops.cast(ops.equal(cells, float(place)), "float32") for place in places]
        return ops.concatenate(parts, axis=1)

    def found(self, paths: Sequence[Path], left: Any = None) -> Iterator[Source]:  # noqa: ARG002 - tables hold only rows
        """Each row of CSV and Parquet files, named by the file and its number from 1.

        Raises DataError if a file can't be read or lacks a column.
        """
        from kt.kinds.rows.table import read_rows_table

        for path in paths:
            table = read_rows_table(path)
            absent = [column.name for column in self.columns if column.name not in table.column_names]
            if absent:
                known = ", ".join(table.column_names)
                raise DataError(f"{path} has no column {absent[0]!r}, which the model takes; it has: {known}.")
            batches = table.select([column.name for column in self.columns]).to_batches(max_chunksize=1024)
            rows = (cells for batch in batches for cells in batch.to_pylist())
            for number, cells in enumerate(rows, start=1):
                yield Source(Path(f"{path}:{number}"), cells)

    def read(self, given: Any) -> "Array":
        """One row as float32 `[D]`. given: the cells by column name. Raises DataError for a cell that is no number."""
        import numpy as np

        return np.array([column.number(given.get(column.name)) for column in self.columns], np.float32)

    @property
    def encoded(self) -> Encoded | None:
        """None: servers take the numbers as they are."""
        return None

    def pack(self, examples: "Array") -> "dict[str, Array]":
        """The rows as they are."""
        return {"rows": examples}

    def unpack(self, arrays: "Mapping[str, Array]") -> "Array":
        """The reverse of `pack`."""
        return arrays["rows"]

    def shown(self, example: "Array") -> str:  # noqa: ARG002 - there is no image of a row
        """An empty string: a row has no image to show."""
        return ""

    def properties(self, examples: "Array", sizes: "Array | None" = None) -> "tuple[Property, ...]":  # noqa: ARG002
        """The columns. An empty cell of numbers counts as the mean, as for the model."""
        import numpy as np

        from kt.kinds.kind import Property

        told = []
        for place, column in enumerate(self.columns):
            cells, name = examples[:, place], column.name.replace("{", "{{").replace("}", "}}")
            if column.categories is None:
                digits = int(np.clip(2 - np.floor(np.log10(max(float(np.std(cells)), 1e-6))), 0, 6))
                below, above = f"with {name} below {{}}", f"with {name} of {{}} or more"
                values = cells.astype(np.float64)
                told.append(Property(column.name, values, below=below, above=above, places=digits))
            else:
                known = (*column.categories, "nothing known")  # an index of -1
                names = tuple(known[int(cell)] for cell in cells)
                told.append(Property(column.name, names=names, of=f"with {name} {{}}"))
        return tuple(told)
