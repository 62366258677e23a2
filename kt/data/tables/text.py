"""From the bytes of a table to its rows: finds the encoding and the delimiter, and reports unusual ones as facts."""

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kt.errors import DataError, one_line
from kt.kinds.pictures.find import read_file

MAX_BYTES = 2**28
"""A larger file is not taken for a table of pictures: this many bytes name two million pictures."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig", ""),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
_LOOKED_AT = 200  # rows from which the delimiter is determined


@dataclass(frozen=True)
class Row:
    """The cells of one row, without surrounding spaces. line: the line in which the row begins, counted from 1."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class TableText:
    """The rows of a table that are not empty. facts: the encoding and the delimiter, if they are unusual."""

    rows: tuple[Row, ...]
    facts: tuple[str, ...]


def read_rows(file: Path) -> TableText:
    """All rows of a table. Raises DataError, with the file and any line number, if it is not a file or not text.

    Never blocks, even if the path leads to a pipe or a device.
    """
    try:
        data = read_file(file, limit=MAX_BYTES)
    except DataError as error:
        raise DataError(f"Cannot read the table {file}: {error}.") from None
    text, facts = _decoded(data, file)
    delimiter, text, skipped = _named_delimiter(text)
    delimiter = delimiter or _delimiter(text)
    rows = tuple(_rows(text, delimiter, file, skipped=skipped))
    if delimiter not in (",", "") and rows:
        facts = [*facts, f"columns lie between {_DELIMITERS.get(delimiter, repr(delimiter))}"]
    return TableText(rows, tuple(facts))


def _decoded(data: bytes, file: Path) -> tuple[str, list[str]]:
    encoding, name = next(((code, name) for mark, code, name in _BOMS if data.startswith(mark)), _without_mark(data))
    try:
        return data.decode(encoding), [f"the text is {name}"] if name else []
    except UnicodeDecodeError:
        if encoding != "utf-8":
            raise DataError(f"The table {file} begins as {name or 'UTF-8'} and goes on as something else.") from None
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        raise DataError(f"The table {file} is no text; expected a CSV file.") from None
    if any(unicodedata.category(character) == "Cc" and character not in "\t\n\r\f" for character in text):
        raise DataError(f"The table {file} is no text; expected a CSV file.")
    return text, ["the text is not UTF-8 and was read as Windows-1252"]


def _without_mark(data: bytes) -> tuple[str, str]:
    """The encoding of text without a byte order mark: UTF-16 if every second byte is mostly zero, else UTF-8."""
    head = data[:4096]
    for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if len(zeros) > 4 and zeros.count(0) > 0.6 * len(zeros):
            return encoding, "UTF-16"
    return "utf-8", ""


def _named_delimiter(text: str) -> tuple[str, str, int]:
    """The delimiter that Excel names in a first line such as `sep=;`, the text after it, and the lines left out."""
    match = re.match(r'"?sep=(.)"?\r?\n', text, re.IGNORECASE)
    return (match[1], text[match.end() :], 1) if match else ("", text, 0)


def _delimiter(text: str) -> str:
    """The delimiter between the columns.

    It is the one that splits most rows into as many cells as the first or the longest row, and into more than one.
    """

    def agreement(delimiter: str) -> tuple[float, int]:
        lines = io.StringIO(text, newline="")
        widths = []
        try:
            for cells in csv.reader(lines, delimiter=delimiter, skipinitialspace=True):
                if any(cells):
                    widths.append(len(_trimmed(cells)))
                if len(widths) == _LOOKED_AT:
                    break
        except csv.Error:
            return 0, 0
        if not widths or max(widths) < 2:
            return 0, 0
        return sum(width in (widths[0], max(widths)) and width > 1 for width in widths) / len(widths), widths[0]

    scores = {delimiter: agreement(delimiter) for delimiter in _DELIMITERS}
    # Names may contain spaces, so a space is the delimiter only if no other one fits.
    usual = {delimiter: score for delimiter, score in scores.items() if delimiter != " " and score[0] > 0.5}
    if not usual and scores[" "] == (1.0, 2):
        return " "
    return max(usual, key=lambda delimiter: usual[delimiter], default=",")


def _rows(text: str, delimiter: str, file: Path, *, skipped: int) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    line = 1 + skipped
    try:
        for cells in reader:
            stripped = tuple(cell.strip() for cell in _trimmed(cells))
            if any(stripped):
                yield Row(line, stripped)
            line = reader.line_num + 1 + skipped
    except csv.Error as error:
        raise DataError(f"{file}:{line}: {one_line(error)}.") from None


def _trimmed(cells: list[str]) -> list[str]:
    """The cells without empty ones at the end, which come from delimiters at the end of a line."""
    last = max((index for index, cell in enumerate(cells) if cell.strip()), default=-1)
    return cells[: last + 1]
