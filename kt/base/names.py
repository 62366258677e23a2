"""Names of files and classes that others chose: how any name is shown on a terminal and kept in a file.

A file's name is bytes, and usually but not always text. Python holds a byte that is not UTF-8 as half of a surrogate
pair, which can't be written to a file in UTF-8. Line breaks and escape sequences are allowed in names too.
"""

import json
import os
import re
import unicodedata
from pathlib import Path, PurePath, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote_to_bytes

_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Control characters, line and paragraph separators, marks that change the direction of writing, and surrogates."""

_NO_TEXT = ("Cc", "Cs", "Zl", "Zp")  # control characters, bytes that are no UTF-8, line and paragraph separators


def printable(text: object) -> str:
    """The text on one line, without characters that control a terminal or that UTF-8 can't encode.

    Such a character is shown as an escape: `\\n`, `\\x1b`, `\\u202e`; a byte of a name that is not UTF-8 as `\\xff`.
    """
    return _UNFIT.sub(_escape, str(text))


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if "\udc80" <= character <= "\udcff":  # how Python holds a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return ascii(character)[1:-1]


def json_text(value: Any, *, indent: int | None = None, strict: bool = True) -> str:
    """JSON that UTF-8 and a terminal can take, from which every name can be read back unchanged.

    A character that is unfit for a line of text becomes JSON's own escape; a byte that is not UTF-8 becomes `\\udc80`
    to `\\udcff`, as by Python's surrogateescape. strict: NaN and infinity, which JSON lacks, raise ValueError, and what
    is no plain data raises TypeError; otherwise the former are written as JavaScript does, the latter as text.
    """
    default = None if strict else str
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=not strict, default=default)
    lines = text.split("\n") if indent is not None else [text]  # JSON escapes the breaks in strings; these are its own
    return "\n".join(_UNFIT.sub(lambda match: f"\\u{ord(match[0]):04x}", line) for line in lines)


def is_utf8(name: str) -> bool:
    """Whether UTF-8 can encode the name; TensorFlow takes no others."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def is_plain(name: str) -> bool:
    """Whether a name is one line of text: UTF-8 throughout, without control characters."""
    return not any(unicodedata.category(letter) in _NO_TEXT for letter in name)


def text_of(path: PurePath) -> str:
    """A path for a cell of a table: unchanged if it is plain text; `path_of` gives a path to the same file.

    A path that is not UTF-8 or has control characters, such as a line break, becomes a `file:` URI. The URI is
    absolute, except for a relative pure path, which is a name below some folder. A name that a spreadsheet program
    would take for a formula gets a `./` in front.
    """
    text = str(path)
    path = path.absolute() if isinstance(path, Path) else path
    if text.startswith("file:") or not is_plain(text):
        return path.as_uri() if path.is_absolute() else f"file:{quote(os.fsencode(path.as_posix()))}"
    return f"./{text}" if text.startswith(FORMULA) else text


def cell_of(name: str) -> str:
    """A name that need not be a path, for a cell of a table: unchanged if it is plain text, else as by `text_of`."""
    return name if is_plain(name) and not name.startswith(("file:", *FORMULA)) else text_of(PurePosixPath(name))


FORMULA = ("=", "+", "-", "@")
"""Characters at which a spreadsheet program takes a cell for a formula."""


def path_of(text: str) -> Path:
    """The path that `text_of` wrote."""
    if text.startswith("file:"):
        return Path(os.fsdecode(unquote_to_bytes(text.removeprefix("file:").removeprefix("//"))))
    return Path(text)
