"""Text of others within Markdown: names are shown as they are, and do nothing."""

import re
from collections.abc import Iterable, Sequence

from kt.base.names import printable

_ACTS = re.compile(r"([\\`*_{}\[\]<>#|~$&@^=])")
_BEGINS = re.compile(r"^(?:(\d+)([.)])|()([-+]))")
_OPEN = re.compile(r"(?<!\\)\|")
"""What would end a cell, also within a code span."""

_BAR = r"\\|"
_ADDRESS = re.compile(r"(?i)(:)(?=//)|(?<=\bwww)(\.)")


def escaped(text: str) -> str:
    """The text on one line, with a backslash before all that acts in CommonMark or on GitHub.

    A control character is written out, as on the terminal.
    """
    line = _ACTS.sub(r"\\\1", " ".join(printable(text.replace("\n", " ")).split()))
    line = _ADDRESS.sub(lambda found: f"\\{found[0]}", line)
    return _BEGINS.sub(_unmarked, line)


def _unmarked(found: re.Match[str]) -> str:
    """The beginning of a line that would make it an item of a list: `-`, `+`, `1.` or `1)`."""
    return f"{found[1] or ''}\\{found[2] or found[4]}"


def code(text: str) -> str:
    """The text as a code span, in which nothing acts."""
    line = " ".join(printable(text.replace("\n", " ")).split())
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    space = " " if line[:1] == "`" or line[-1:] == "`" else ""
    return f"{fence}{space}{line}{space}{fence}" if line else ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table. Cells are Markdown already; the first column is text, the others are aligned right."""
    ruler = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(_OPEN.sub(_BAR, cell) for cell in cells)} |" for cells in (heads, ruler, *rows)]
