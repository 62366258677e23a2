"""Places for unfinished work, beside where it will lie: claimed by a living process, cleared once that has gone.

Beside each place lies a lock file, on which its process holds a lock; the system takes that back however the process
ends. A process's number says nothing: the same number runs in another container, or on another machine that sees the
same disk.
"""

import hashlib
import platform
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

WORK = ".work-"
"""What a run needs for a while lies in its own folder under such a name."""

TFDS_UNFINISHED = "incomplete.*"
"""What tensorflow-datasets calls a set while it prepares it."""

LONGEST = 86400
"""Seconds after which work is given up that another machine began: its locks may not be seen from here."""


@contextmanager
def scratch(parent: Path, prefix: str) -> Iterator[Path]:
    """A new path in `parent` for a file or a folder of this process alone; nothing lies there yet.

    What lies there in the end is removed; to keep it, move it to its place. Those of processes that were killed are
    cleared first. prefix: begins the name, such as `.partial-`; one kind of work has one.
    """
    clear(parent, prefix)
    path, lock = _claimed(parent, prefix)
    try:
        yield path
    finally:
        _remove(path)
        _give_up(lock)


def clear(parent: Path, prefix: str) -> None:
    """Remove what processes that have gone left in `parent`; what can't be removed is left for the next time."""
    with suppress(OSError):
        for name in {path.name.removesuffix(".lock") for path in parent.glob(f"{prefix}*")}:
            _clear(parent / name, here=name.startswith(f"{prefix}{_kernel()}-"))


def clear_old(parent: Path, pattern: str) -> None:
    """Remove what matches and was written a day ago or longer: for what other libraries begin without a lock."""
    with suppress(OSError):
        for path in parent.glob(pattern):
            if time.time() - _touched(path) > LONGEST:
                _remove(path)


def _claimed(parent: Path, prefix: str) -> tuple[Path, FileLock]:
    while True:
        path = parent / f"{prefix}{_kernel()}-{secrets.token_hex(8)}"
        lock = _lock_of(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:  # another process has just taken it for a left one
            continue
        if Path(lock.lock_file).exists():
            return path, lock
        lock.release()


def _clear(path: Path, *, here: bool) -> None:
    """Remove a path unless its process lives. here: that ran on this machine, where its lock would be seen."""
    lock = _lock_of(path)
    there = Path(lock.lock_file).exists()
    if not (here and there) and time.time() - _touched(path) < LONGEST:
        return
    if there:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return
    _remove(path)
    _give_up(lock)


def _lock_of(path: Path) -> FileLock:
    return FileLock(path.with_name(f"{path.name}.lock"), thread_local=False)


def _give_up(lock: FileLock) -> None:
    """Remove the lock file while it is held, so that nobody can hold one that is gone; Windows can only afterwards."""
    file = Path(lock.lock_file)
    with suppress(OSError):
        file.unlink(missing_ok=True)
    lock.release()
    with suppress(OSError):
        file.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _touched(path: Path) -> float:
    """When anything of it was written last, in seconds since 1970; 0 where nothing is there."""
    last = 0.0
    for one in (path, path.with_name(f"{path.name}.lock"), *(path.rglob("*") if path.is_dir() else ())):
        with suppress(OSError):
            last = max(last, one.stat().st_mtime)
    return last


@cache
def _kernel() -> str:
    """What tells the systems apart that may see one disk: containers of one machine share it, a restart changes it."""
    told = platform.node()
    with suppress(OSError):
        told = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    return hashlib.sha256(told.encode(errors="replace")).hexdigest()[:8]
