"""The lock on `saved_models/`, so that one process changes it at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

LOCK_FILE = ".lock"


@contextmanager
def changing(saved_models: Path) -> Iterator[None]:
    """Lock labels and the files for TensorFlow Serving; wait while another process changes them."""
    with FileLock(saved_models / LOCK_FILE):  # the system releases it after a crash too
        yield
