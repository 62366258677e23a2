"""The table that `kt predict --out` writes, as CSV or Parquet: in pieces while it works, joined in the end.

Columns: `path`, `label`, `score`, one for each class in the model's order, `set` if sets are asked, `unfamiliar`,
`error`. If a class has the name of another column, a `_` is added to its name. An example that gets no label has the
top class's score.
"""

import csv
import io
import json
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kt.base.names import FORMULA, path_of, text_of
from kt.errors import KtError
from kt.predict.decide import Decision
from kt.predict.scorer import Scored

__all__ = ["TableFormat", "columns", "path_of", "table_for", "text_of"]

_ROW_GROUP = 8192
_TOP = Decision()


class TableFormat(Protocol):
    """A kind of table file: how its pieces are written, read again and joined."""

    def write(self, blocks: Sequence[Scored], file: BinaryIO) -> None:
        """One row an example, as a piece."""
        ...

    def read(self, piece: Path) -> list[tuple[str, str, str]]:
        """`path`, `error` and `label` of each row of a piece; "" for none.

        Raises ValueError or OSError if it is damaged.
        """
        ...

    def scored(self, piece: Path) -> Scored:
        """All that a piece holds, as one block, with scores as the table has them; NaN where there is an error."""
        ...

    def join(self, pieces: Sequence[Path], file: BinaryIO) -> None:
        """Write the whole file: the same bytes for the same rows, however they are divided into pieces."""
        ...


def table_for(out: Path, classes: Sequence[str], decision: Decision = _TOP) -> "TableFormat":
    """The kind of table for a file's suffix. decision: which labels and sets it has.

    Raises KtError for an unknown suffix.
    """
    suffix = out.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise KtError(f"Unknown suffix {out.suffix!r} of {out}; kt writes .csv and .parquet.")
    return Csv(classes, decision) if suffix == ".csv" else Parquet(classes, decision)


def columns(classes: Sequence[str], *, sets: bool = False) -> list[str]:
    """The names of the columns, all different. sets: whether there is a column of sets."""
    names, last = ["path", "label", "score"], [*(["set"] if sets else []), "unfamiliar", "error"]
    for label in classes:
        name = label
        while name in names or name in last:
            name += "_"
        names.append(name)
    return [*names, *last]


# ------------------------------------------------------------------------------------------------------------- CSV


class Csv:
    """CSV in UTF-8 with commas: one line an example, scores with six decimals, no cell that looks like a formula."""

    def __init__(self, classes: Sequence[str], decision: Decision = _TOP) -> None:
        self._classes, self._decision = classes, decision
        self._labels = [_no_formula(label) for label in classes]
        self._columns = [_no_formula(name) for name in columns(classes, sets=decision.least is not None)]

    def write(self, blocks: Sequence[Scored], file: BinaryIO) -> None:
        """One row an example, without the column names."""
        file.write(_lines(row for block in blocks for row in self._rows_of(block)))

    def _rows_of(self, block: Scored) -> Iterator[list[str]]:
        places, sets = self._decision.places(block.scores), _sets(block, self._decision, self._classes)
        for (path, scores, unfamiliar, error), place, inside in zip(_rows(block), places.tolist(), sets, strict=True):
            if error:
                yield [path, *[""] * (len(self._columns) - 2), _no_formula(error)]
                continue
            numbers = [f"{score:.6f}" for score in scores.tolist()]
            label, of = ("", int(scores.argmax())) if place < 0 else (self._labels[place], place)
            inner = [] if inside is None else [json.dumps(inside)]
            yield [path, label, numbers[of], *numbers, *inner, _WORDS[unfamiliar], ""]

    def read(self, piece: Path) -> list[tuple[str, str, str]]:
        """`path`, `error` and `label` of each row."""
        with piece.open(encoding="utf-8", newline="") as text:
            rows = list(csv.reader(text))
        if not rows or any(len(row) != len(self._columns) for row in rows):
            raise ValueError(f"{piece} is not whole")
        return [(row[0], row[-1], row[1]) for row in rows]

    def scored(self, piece: Path) -> Scored:
        """All rows as one block."""
        with piece.open(encoding="utf-8", newline="") as text:
            rows = list(csv.reader(text))
        numbers = [[float(cell) if cell else np.nan for cell in row[3 : 3 + len(self._labels)]] for row in rows]
        told = {word: value for value, word in _WORDS.items()}
        return Scored(
            tuple(path_of(row[0]) for row in rows),
            np.array(numbers, np.float32),
            tuple(row[-1] for row in rows),
            tuple(told[row[-2]] for row in rows),
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


_WORDS: dict[bool | None, str] = {True: "true", False: "false", None: ""}


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


# --------------------------------------------------------------------------------------------------------- Parquet


class Parquet:
    """Parquet: text as strings, scores as float32, `unfamiliar` as true or false.

    All but `path` and `error` are null for an error, and `unfamiliar` where the model does not say.
    """

    def __init__(self, classes: Sequence[str], decision: Decision = _TOP) -> None:
        self._classes, self._decision = classes, decision
        self._labels = np.array([*classes], object)
        names = columns(classes, sets=decision.least is not None)
        text, end = pa.string(), 3 + len(classes)
        middle = [(name, pa.float32()) for name in names[2:end]]
        last = [(name, pa.list_(text)) for name in names[end:-2]] + [("unfamiliar", pa.bool_()), ("error", text)]
        self._schema = pa.schema([("path", text), ("label", text), *middle, *last])

    def write(self, blocks: Sequence[Scored], file: BinaryIO) -> None:
        """One row an example."""
        rows = [row for block in blocks for row in _rows(block)]
        errors = [error for _, _, _, error in rows]
        scores = np.concatenate([block.scores for block in blocks])
        bad = np.array([bool(error) for error in errors])
        places = np.where(bad, 0, self._decision.places(scores))
        shown = np.where(places < 0, np.where(bad, 0, scores.argmax(axis=1)), places)
        numbers = [scores[np.arange(len(rows)), shown], *scores.T]
        sets = [each for block in blocks for each in _sets(block, self._decision, self._classes)]
        arrays = [
            pa.array([path for path, _, _, _ in rows], pa.string()),
            pa.array(self._labels[shown], pa.string(), mask=bad | (places < 0)),
            *(pa.array(np.ascontiguousarray(column), pa.float32(), mask=bad) for column in numbers),
            *([] if self._decision.least is None else [pa.array(sets, pa.list_(pa.string()))]),
            pa.array([unfamiliar for _, _, unfamiliar, _ in rows], pa.bool_()),
            pa.array(errors, pa.string()),
        ]
        pq.write_table(pa.Table.from_arrays(arrays, schema=self._schema), file)

    def read(self, piece: Path) -> list[tuple[str, str, str]]:
        """`path`, `error` and `label` of each row."""
        table = pq.read_table(piece, columns=["path", "error", "label"])
        labels = [label or "" for label in table["label"].to_pylist()]
        return list(zip(table["path"].to_pylist(), table["error"].to_pylist(), labels, strict=True))

    def scored(self, piece: Path) -> Scored:
        """All rows as one block."""
        table = pq.read_table(piece, schema=self._schema)
        numbers = [
            column.to_numpy(zero_copy_only=False).astype(np.float32)
            for column in table.columns[3 : 3 + len(self._labels)]
        ]
        paths, errors = table["path"].to_pylist(), table["error"].to_pylist()
        unfamiliar = tuple(table["unfamiliar"].to_pylist())
        return Scored(tuple(map(path_of, paths)), np.stack(numbers, axis=1), tuple(errors), unfamiliar)

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


def _sets(block: Scored, decision: Decision, classes: Sequence[str]) -> list[list[str] | None]:
    """The set of each example, in the model's order; None where none is asked or the example can't be read."""
    inside = decision.sets(block.scores)
    if inside is None:
        return [None] * len(block.names)
    return [
        None if error else [classes[place] for place in np.flatnonzero(row).tolist()]
        for row, error in zip(inside, block.errors, strict=True)
    ]


def _rows(block: Scored) -> Iterator[tuple[str, Any, bool | None, str]]:
    """Path, scores, `unfamiliar` and error of each example, with text that can be written as UTF-8."""
    told = block.unfamiliar or (None,) * len(block.names)
    for path, scores, unfamiliar, error in zip(block.names, block.scores, told, block.errors, strict=True):
        yield text_of(path), scores, unfamiliar, error.encode(errors="replace").decode()
