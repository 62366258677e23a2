"""Reading a JSON file entry by entry, with checks of type and an error that names a wrong entry."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kt.errors import ReleaseError

Interval = tuple[float, float]


@dataclass(frozen=True)
class Entry:
    """A value in a JSON file. Inner entries come by key or by iteration; a missing one, or null, holds None.

    The methods that read it raise ReleaseError, with the file and the place, for a value of another type. Methods
    without `_or_none` also refuse a missing value, except `text`, `texts` and `flag`, which give an empty one.

    file: its name for a person. place: the keys that lead here, such as `test.per_class[0].recall`.
    """

    value: Any
    file: str
    place: str = ""

    def __bool__(self) -> bool:
        return bool(self.value)

    def __contains__(self, key: str) -> bool:
        return isinstance(self.value, Mapping) and key in self.value

    def __getitem__(self, key: str) -> "Entry":
        if not (self.value is None or isinstance(self.value, Mapping)):
            raise self.damaged("an object")
        return self._inner((self.value or {}).get(key), f".{key}" if self.place else key)

    def __iter__(self) -> Iterator["Entry"]:
        if not (self.value is None or isinstance(self.value, list | tuple)):
            raise self.damaged("a list")
        return iter([self._inner(item, f"[{index}]") for index, item in enumerate(self.value or ())])

    def _inner(self, value: Any, step: str) -> "Entry":
        return Entry(value, self.file, f"{self.place}{step}")

    def items(self) -> tuple[tuple[str, "Entry"], ...]:
        """The entries of an object with their keys."""
        if not (self.value is None or isinstance(self.value, Mapping)):
            raise self.damaged("an object")
        return tuple((str(key), self[key]) for key in self.value or ())

    def row(self, length: int) -> tuple["Entry", ...]:
        """The entries of a list that has this length."""
        entries = tuple(self)
        if len(entries) != length:
            raise self.damaged(f"a list of {length}")
        return entries

    def text(self) -> str:
        """Text; empty if it is missing."""
        return "" if self.value is None else self.name()

    def name(self) -> str:
        """Text; it may not be missing."""
        if not isinstance(self.value, str):
            raise self.damaged("text")
        return self.value

    def texts(self) -> tuple[str, ...]:
        """A list of text; empty if it is missing."""
        return tuple(item.name() for item in self)

    def flag(self) -> bool:
        """True or false; false if it is missing."""
        if not (self.value is None or isinstance(self.value, bool)):
            raise self.damaged("true or false")
        return bool(self.value)

    def number(self) -> float:
        """A finite number; a whole number stays an integer."""
        value = self.value
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < _LARGEST:
            raise self.damaged("a number")
        return value

    def number_or_none(self) -> float | None:
        """A finite number, if there is one."""
        return None if self.value is None else self.number()

    def share(self) -> float:
        """A number from 0 to 1."""
        if not 0 <= self.number() <= 1:
            raise self.damaged("a number from 0 to 1")
        return self.number()

    def share_or_none(self) -> float | None:
        """A number from 0 to 1, if there is one."""
        return None if self.value is None else self.share()

    def count(self) -> int:
        """A whole number from 0."""
        if not isinstance(self.value, int) or not self.number() >= 0:
            raise self.damaged("a whole number from 0")
        return self.value

    def count_or_none(self) -> int | None:
        """A whole number from 0, if there is one."""
        return None if self.value is None else self.count()

    def interval(self) -> Interval:
        """Two numbers, the lower and the upper end."""
        low, high = self.row(2)
        return low.number(), high.number()

    def interval_or_none(self) -> Interval | None:
        """Two numbers, if there are any."""
        return None if self.value is None else self.interval()

    def damaged(self, expected: str) -> ReleaseError:
        """The error for a value that is not as expected."""
        if self.value is None:
            what = f"{self.place} is missing" if self.place else "it is empty"
        else:
            what = f"{self.place or 'it'} is {_in_words(self.value)}"
        return ReleaseError(
            f"{self.file} is damaged: {what}, expected {expected}. Put the file back as the run wrote it, or run the "
            "recipe once more."
        )


_LARGEST = 1e100  # far above all counts and measurements, and far below where arithmetic overflows


def _in_words(value: Any) -> str:
    match value:
        case Mapping():
            return "an object"
        case list() | tuple():
            return f"a list of {len(value)}"
        case float() if not math.isfinite(value):
            return str(value)
        case str() | int() | float():
            text = repr(value)
            return text if len(text) <= 40 else f"{text[:40]}…"
        case _:
            return type(value).__name__
