"""Labels as people write them: which spellings mean one class, and which texts can't be a label.

The same rules hold for every source: class folders, the cells of a table, the names of a published data set. Imports
nothing heavy.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

from kt.errors import DataError

LONGEST = 200
"""The most characters of a label; a longer one is probably a text from the wrong column."""

_WHOLE = re.compile(r"([+-]?\d+)\.0*")
_FORBIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, lone surrogates, line and paragraph separators


def check_label(label: str, *, where: str) -> None:
    """Raise DataError for a label that can't be written as a line of `labels.txt` or of the report.

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
    """The key that all spellings of one class share: without case and extra spaces, and with accents in one form (NFC).

    `1.0` becomes `1`. Labels of a single character keep their case, because a set of letters has both `A` and `a`.
    """
    text = unicodedata.normalize("NFC", " ".join(label.split()))
    if number := _WHOLE.fullmatch(text):
        return number[1]
    return text if len(text) < 2 else unicodedata.normalize("NFC", text.casefold())


def one_class(labels: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The class of each label as it is written, and a note for each class that is written in several ways.

    labels: one for each picture, so that the most common spelling names the class.
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
    """The class of a model that a label means: the one of the same spelling, else the only one with the same key.

    None if there is no such class.
    """
    known = list(classes)
    if label in known:
        return label
    same = [name for name in known if key_of(name) == key_of(label)]
    return same[0] if len(same) == 1 else None


def _with_point(label: str) -> bool:
    """Whether the label is a whole number with a decimal point; as a name, `1` is preferred to `1.0`."""
    return _WHOLE.fullmatch(label.strip()) is not None


def _capitals(label: str) -> int:
    return sum(character.isupper() for character in label)


def _quoted(labels: list[str]) -> str:
    """The spellings, quoted; one that is not in NFC is escaped, as it may look the same as another one."""
    shown = [repr(label) if unicodedata.is_normalized("NFC", label) else ascii(label) for label in labels]
    return ", ".join(shown)
