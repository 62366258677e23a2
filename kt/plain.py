"""Paths that TensorFlow takes as they are: it takes `[`, `*`, `?` and a backslash for a pattern, and finds nothing."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PATTERN = frozenset("*?[]") | ({"\\"} if os.sep == "/" else set())
"""What TensorFlow 2.21 takes for a pattern in the path of a SavedModel or a checkpoint."""


def is_pattern(path: Path) -> bool:
    """Whether TensorFlow would look for other files than this one."""
    return bool(_PATTERN & set(str(path.absolute())))


def use_plain_temporary_folder() -> None:
    """Let TensorFlow's converters, which ask Python for a temporary folder, have one that it can read from."""
    tempfile.tempdir = str(_plain_place())


def _plain_place() -> Path:
    usual = Path(tempfile.gettempdir())
    places = [usual, *map(Path, ("/tmp", "/var/tmp", "/dev/shm"))]  # noqa: S108 - only to make folders of one's own in
    return next((one for one in places if not is_pattern(one) and os.access(one, os.W_OK)), usual)


@contextmanager
def plain_folder() -> Iterator[Path]:
    """A temporary folder, gone afterwards, whose path TensorFlow takes as it is."""
    with tempfile.TemporaryDirectory(prefix="kt-", dir=_plain_place()) as folder:
        yield Path(folder)


@contextmanager
def as_plain(folder: Path) -> Iterator[Path]:
    """A folder by a path that TensorFlow takes as it is, for reading: its own, else by a link, else as a copy."""
    if not is_pattern(folder):
        yield folder
        return
    with plain_folder() as place:
        plain = place / "model"
        try:
            plain.symlink_to(folder.absolute(), target_is_directory=True)
        except OSError:  # Windows wants a right for that
            shutil.copytree(folder, plain)
        yield plain
