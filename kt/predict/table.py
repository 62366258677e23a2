"""The table that `kt predict --out` writes, as CSV or Parquet: in pieces while it works, joined in the end.

Columns: `path`, `label`, `score`, one for each class in the model's order, `error`. If a class has the name of an
earlier column, or of `error`, a `_` is added to its name.
"""

import csv
import io
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kt.base.names import FORMULA, path_of, text_of
from kt.errors import KtError
from kt.predict.scorer import Scored

__all__ = ["TableFormat", "columns", "path_of", "table_for", "text_of"]

_ROW_GROUP = 8192


class TableFormat(Protocol):
    """A kind of table file: how its pieces are written, read again and joined."""

    def write(self, blocks: Sequence[Scored], file: BinaryIO) -> None:
        """One row an example, as a piece."""
        ...

    def read(self, piece: Path) -> list[tuple[str, str]]:
        """`path` and `error` of each row of a piece. Raises ValueError or OSError if it is damaged."""
        ...

    def scored(self, piece: Path) -> Scored:
        """All that a piece holds, as one block, with scores as the table has them; NaN where there is an error."""
        ...

    def join(self, pieces: Sequence[Path], file: BinaryIO) -> None:
        """Write the whole file: the same bytes for the same rows, however they are divided into pieces."""
        ...


def table_for(out: Path, classes: Sequence[str]) -> "TableFormat":
    """The kind of table for a file's suffix. Raises KtError for an unknown suffix."""
    suffix = out.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise KtError(f"Unknown suffix {out.suffix!r} of {out}; kt writes .csv and .parquet.")
    return Csv(classes) if suffix == ".csv" else Parquet(classes)


def columns(classes: Sequence[str]) -> list[str]:
    """The names of the columns, all different."""
    names = ["path", "label", "score"]
    for label in classes:
        name = label
        while name in names or name == "error":
            name += "_"
        names.append(name)
    return [*names, "error"]


# ------------------------------------------------------------------------------------------------------------- CSV


class Csv:
    """CSV in UTF-8 with commas: one line an example, scores with six decimals, no cell that looks like a formula."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._labels = [_no_formula(label) for label in classes]
        self._columns = [_no_formula(name) for name in columns(classes)]

    def write(self, blocks: Sequence[Scored], file: BinaryIO) -> None:
        """One row an example, without the column names."""
        file.write(_lines(self._row(*row) for block in blocks for row in _rows(block)))

    def _row(self, path: str, scores: Any, error: str) -> list[str]:
        if error:
            return [path, *[""] * (len(self._labels) + 2), _no_formula(error)]
        numbers = [f"{score:.6f}" for score in scores.tolist()]
        top = int(scores.argmax())
        return [path, self._labels[top], numbers[top], *numbers, ""]

    def read(self, piece: Path) -> list[tuple[str, str]]:
        """`path` and `error` of each row."""
        with piece.open(encoding="utf-8", newline="") as text:
            rows = list(csv.reader(text))
        if not rows or any(len(row) != len(self._columns) for row in rows):
            raise ValueError(f"{piece} is not whole")
        return [(row[0], row[-1]) for row in rows]

    def scored(self, piece: Path) -> Scored:
        """All rows as one block."""
        with piece.open(encoding="utf-8", newline="") as text:
            rows = list(csv.reader(text))
        numbers = [[float(cell) if cell else np.nan for cell in row[3:-1]] for row in rows]
        return Scored(
            tuple(path_of(row[0]) for row in rows), np.array(numbers, np.float32), tuple(row[-1] for row in rows)
        )

    def join(self, pieces: Sequence[Path], file: BinaryIO) -> None:
        """The names of the columns, then all rows."""
        file.write(_lines([self._columns]))
        for piece in pieces:
            with piece.open("rb") as rows:
                shutil.copyfileobj(rows, file)


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


# --------------------------------------------------------------------------------------------------------- Parquet


class Parquet:
    """Parquet: text as strings, scores as float32; `label`, `score` and the classes are null for an error."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._labels = np.array([*classes], object)
        numbers = columns(classes)[2:-1]
        text = pa.string()
        middle = [(name, pa.float32()) for name in numbers]
        self._schema = pa.schema([("path", text), ("label", text), *middle, ("error", text)])

    def write(self, blocks: Sequence[Scored], file: BinaryIO) -> None:
        """One row an example."""
        rows = [row for block in blocks for row in _rows(block)]
        errors = [error for _, _, error in rows]
        scores = np.concatenate([block.scores for block in blocks])
        bad = np.array([bool(error) for error in errors])
        top = np.where(bad, 0, scores.argmax(axis=1))
        numbers = [scores[np.arange(len(rows)), top], *scores.T]
        arrays = [
            pa.array([path for path, _, _ in rows], pa.string()),
            pa.array(self._labels[top], pa.string(), mask=bad),
            *(pa.array(np.ascontiguousarray(column), pa.float32(), mask=bad) for column in numbers),
            pa.array(errors, pa.string()),
        ]
        pq.write_table(pa.Table.from_arrays(arrays, schema=self._schema), file)

    def read(self, piece: Path) -> list[tuple[str, str]]:
        """`path` and `error` of each row."""
        table = pq.read_table(piece, columns=["path", "error"])
        return list(zip(table["path"].to_pylist(), table["error"].to_pylist(), strict=True))

    def scored(self, piece: Path) -> Scored:
        """All rows as one block."""
        table = pq.read_table(piece, schema=self._schema)
        numbers = [column.to_numpy(zero_copy_only=False).astype(np.float32) for column in table.columns[3:-1]]
        paths, errors = table["path"].to_pylist(), table["error"].to_pylist()
        return Scored(tuple(map(path_of, paths)), np.stack(numbers, axis=1), tuple(errors))

    def join(self, pieces: Sequence[Path], file: BinaryIO) -> None:
        """All rows in groups of 8,192."""
        with pq.ParquetWriter(file, self._schema) as writer:
            rest = self._schema.empty_table()
            for piece in pieces:
                rest = pa.concat_tables([rest, pq.read_table(piece, schema=self._schema)])
                while len(rest) >= _ROW_GROUP:
                    writer.write_table(rest.slice(0, _ROW_GROUP).combine_chunks())
                    rest = rest.slice(_ROW_GROUP)
            if len(rest):
                writer.write_table(rest.combine_chunks())


def _rows(block: Scored) -> Iterator[tuple[str, Any, str]]:
    """Path, scores and error of each example, with text that can be written as UTF-8."""
    for path, scores, error in zip(block.names, block.scores, block.errors, strict=True):
        yield text_of(path), scores, error.encode(errors="replace").decode()
