"""From the bytes of a table to its rows: encoding and delimiter are found, and said where they are not plain."""

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kt.data.find import read_file
from kt.errors import DataError, one_line

MAX_BYTES = 2**28
"""A larger file is no table of pictures: that many bytes name two million."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig", ""),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "spaces"}
_LOOKED_AT = 200  # rows from which the delimiter is told


@dataclass(frozen=True)
class Row:
    """The cells of one row, without spaces around them, and the line that it begins in, counted from 1."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Rows:
    """The rows of a table that are not empty, and how it was read where that is not plain."""

    rows: tuple[Row, ...]
    facts: tuple[str, ...]


def read_rows(file: Path) -> Rows:
    """All rows of a table. Raises DataError for what is no file or no text, naming it and the line where there is one.

    Never waits, whatever the path leads to.
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
    return Rows(rows, tuple(facts))


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
    """UTF-16 has a zero in every second byte of plain text; what has no mark and no such zeros is UTF-8."""
    head = data[:4096]
    for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
        if len(zeros) > 4 and zeros.count(0) > 0.6 * len(zeros):
            return encoding, "UTF-16"
    return "utf-8", ""


def _named_delimiter(text: str) -> tuple[str, str, int]:
    """The delimiter that Excel names in a first line such as `sep=;`, the text behind it, and lines left out."""
    found = re.match(r'"?sep=(.)"?\r?\n', text, re.IGNORECASE)
    return (found[1], text[found.end() :], 1) if found else ("", text, 0)


def _delimiter(text: str) -> str:
    """What stands between the columns: that by which most rows have as many cells as the first, and more than one."""

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
    # Spaces stand in names too, so they part columns only where nothing else does.
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
    """Without the empty cells that a delimiter at the end of a line makes."""
    last = max((index for index, cell in enumerate(cells) if cell.strip()), default=-1)
    return cells[: last + 1]
