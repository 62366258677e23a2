"""Paths that TensorFlow can open: it reads `[`, `*`, `?` and a backslash in a path as a pattern, and finds nothing."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PATTERN = frozenset("*?[]") | ({"\\"} if os.sep == "/" else set())
"""Characters that TensorFlow 2.21 reads as a pattern in the path of a SavedModel or a checkpoint."""


def is_pattern(path: Path) -> bool:
    """Whether TensorFlow would read the path as a pattern, and look for other files."""
    return bool(_PATTERN & set(str(path.absolute())))


def use_plain_temporary_folder() -> None:
    """Set Python's temporary folder to one that TensorFlow can read from: its converters write there."""
    tempfile.tempdir = str(_plain_place())


def _plain_place() -> Path:
    usual = Path(tempfile.gettempdir())
    places = [usual, *map(Path, ("/tmp", "/var/tmp", "/dev/shm"))]  # noqa: S108 - only new folders are made in it
    return next((place for place in places if not is_pattern(place) and os.access(place, os.W_OK)), usual)


@contextmanager
def plain_folder() -> Iterator[Path]:
    """A temporary folder, removed afterwards, whose path TensorFlow can open."""
    with tempfile.TemporaryDirectory(prefix="kt-", dir=_plain_place()) as folder:
        yield Path(folder)


@contextmanager
def as_plain(folder: Path) -> Iterator[Path]:
    """A path to read a folder by that TensorFlow can open: its own, else a link, else a copy."""
    if not is_pattern(folder):
        yield folder
        return
    with plain_folder() as place:
        plain = place / "model"
        try:
            plain.symlink_to(folder.absolute(), target_is_directory=True)
        except OSError:  # Windows needs a permission for links
            shutil.copytree(folder, plain)
        yield plain
