"""Examples whose classes are known, to measure a model on: one file for each kind of examples."""

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from kt.data.labelled.labelled import Labelled, Question
from kt.errors import DataError
from kt.kinds.kind import Kind

__all__ = ["Labelled", "Question", "labelled"]

READERS = {"pictures": "kt.data.labelled.pictures", "rows": "kt.data.labelled.rows"}
"""The module that reads each kind, by its name."""


def labelled(data: Path, kind: Kind, classes: Sequence[str], asked: Question) -> Labelled:
    """The examples of a kind in a folder or table, with classes as the model names them.

    Prints how the folder or table is understood. Raises DataError for what can't be read, and for a class that the
    model does not know.
    """
    if kind.name not in READERS:
        raise DataError(f"kt can't read {kind.many} with labels from {data}; it reads {' and '.join(READERS)}.")
    read: Callable[..., Labelled] = import_module(READERS[kind.name]).read
    return read(data, kind, classes, asked)
