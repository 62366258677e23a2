"""One change of `saved_models/` at a time, whichever process makes it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

LOCK_FILE = ".lock"


@contextmanager
def changing(saved_models: Path) -> Iterator[None]:
    """Wait until no other process changes labels or the files for TensorFlow Serving, and keep them out meanwhile."""
    with FileLock(saved_models / LOCK_FILE):  # given back by a crash too
        yield
