"""Labels as people write them: which spellings are one class, and which texts can be no label at all.

One rule for every source: class folders, the cells of a table, the names of a published set. Loads nothing heavy.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

from kt.errors import DataError

LONGEST = 200
"""Characters of the longest label; what is longer is a text that was taken for one."""

_WHOLE = re.compile(r"([+-]?\d+)\.0*")
_FORBIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, halves of a pair, ends of lines and paragraphs


def check_label(label: str, *, where: str) -> None:
    """Raise DataError for a label that could not stand in a line of `labels.txt` or of the report.

    where: the file, line or folder that it comes from, for the error.
    """
    if not label.strip():
        raise DataError(f"{where}: a label is empty.")
    if len(label) > LONGEST:
        raise DataError(f"{where}: a label of {len(label)} characters; {LONGEST} are the most.")
    for character in label:
        if unicodedata.category(character) in _FORBIDDEN:
            raise DataError(
                f"{where}: the label {label!a} holds {_in_words(character)}; a label is one line of plain text, so "
                "rename it."
            )


def _in_words(character: str) -> str:
    if character in "\n\r\v\f\x85\u2028\u2029":
        return "a line break"
    if unicodedata.category(character) == "Cs":
        return "bytes that are no UTF-8"
    return f"the control character {character!a}"


def key_of(label: str) -> str:
    """What all spellings of one class share: without case, stray spaces, and the two ways to write an accent.

    `1.0` is `1`. Labels of a single character keep their case, for a set of letters has `A` and `a`.
    """
    text = unicodedata.normalize("NFC", " ".join(label.split()))
    if number := _WHOLE.fullmatch(text):
        return number[1]
    return text if len(text) < 2 else unicodedata.normalize("NFC", text.casefold())


def one_class(labels: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """`{label as it is written: its class}`, and a note for each class that is written in several ways.

    labels: one for each picture, so that the commonest spelling names the class.
    """
    counts = Counter(labels)
    spellings: dict[str, list[str]] = defaultdict(list)
    for label in counts:
        spellings[key_of(label)].append(label)
    classes: dict[str, str] = {}
    notes = []
    for written in spellings.values():
        written.sort(key=lambda label: (_with_point(label), -counts[label], _capitals(label), label))
        name = unicodedata.normalize("NFC", " ".join(written[0].split()))
        classes.update(dict.fromkeys(written, name))
        others = [label for label in written if label != name]
        if len(written) > 1:
            notes.append(f"{_quoted(others)} and {name!r} are taken as one class, {name!r}")
    return classes, notes


def class_of(label: str, classes: Iterable[str]) -> str | None:
    """Which of a model's classes a label means: as it is written, else the only one of the same key; None for none."""
    known = list(classes)
    if label in known:
        return label
    same = [name for name in known if key_of(name) == key_of(label)]
    return same[0] if len(same) == 1 else None


def _with_point(label: str) -> bool:
    """Whether it is a whole number with a decimal point, which `1` is preferred to."""
    return _WHOLE.fullmatch(label.strip()) is not None


def _capitals(label: str) -> int:
    return sum(character.isupper() for character in label)


def _quoted(labels: list[str]) -> str:
    """The spellings, told apart also where they look the same: by code points, where an accent is written in two."""
    shown = [repr(label) if unicodedata.is_normalized("NFC", label) else ascii(label) for label in labels]
    return ", ".join(shown)
