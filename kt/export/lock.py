"""One change of `saved_models/` at a time, whichever process makes it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK_FILE = ".lock"


@contextmanager
def changing(saved_models: Path) -> Iterator[None]:
    """Wait until no other process changes labels or the files for TensorFlow Serving, and keep them out meanwhile."""
    import fcntl  # not on Windows, where a model can be asked but not released

    with (saved_models / LOCK_FILE).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # given back when the file is closed, by a crash too
        yield
