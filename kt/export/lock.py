"""One change of `saved_models/` at a time, whichever process makes it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_FILE = ".lock"


@contextmanager
def changing(saved_models: Path) -> Iterator[None]:
    """Wait until no other process changes labels or the files for TensorFlow Serving, and keep them out meanwhile."""
    with (saved_models / LOCK_FILE).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed, by a crash too
        yield
