"""What all readers of labelled examples share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kt.base.console import say, warn
from kt.data.labels import class_of
from kt.errors import DataError
from kt.kinds.kind import Source


@dataclass(frozen=True)
class Question:
    """How to read them. group_by: which examples show one thing. label: the column with the labels; None to find it."""

    group_by: str = "auto"
    label: str | None = None


@dataclass(frozen=True)
class Labelled:
    """Examples, each with the model's name for its class, and its group."""

    sources: list[Source]
    labels: list[str]
    groups: list[str]


def class_names(labels: Iterable[str], classes: Sequence[str], data: Path) -> dict[str, str]:
    """The model's name for each class. Raises DataError for an unknown class."""
    names = {label: class_of(label, classes) for label in labels}
    if unknown := [label for label, name in names.items() if name is None]:
        raise DataError(f"The model knows no class {unknown[0]!r} of {data}; it knows: {', '.join(classes)}.")
    return {label: str(name) for label, name in names.items()}


def tell_layout(facts: Iterable[str], notes: Iterable[str]) -> None:
    """Print how the data are understood, and warn of what a person should look at."""
    for line in facts:
        if line:
            say(line)
    for note in notes:
        warn(note)
