"""Temporary paths for unfinished work, beside its final place; cleared once the process that made them has ended.

Each path has a lock file, which its process holds locked. The system releases the lock however the process ends. A
process id would not do: another container, or another machine that sees the same disk, may use the same id.
"""

import hashlib
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

WORK = ".work-"
"""The prefix of a run's temporary folder."""

TFDS_UNFINISHED = "incomplete.*"
"""The names that tensorflow-datasets gives a set while it prepares it."""

_MADE = re.compile(r"\..*-(?P<kernel>[0-9a-f]{8})-[0-9a-f]{16}", re.DOTALL)
"""The names that `scratch` gives."""

LONGEST = 86400
"""Seconds after which another machine's unfinished work is removed: its locks may not be seen from here."""


@contextmanager
def scratch(parent: Path, prefix: str) -> Iterator[Path]:
    """A new path in `parent` for a file or a folder of this process alone. It does not exist yet.

    Whatever is there in the end is removed; to keep it, move it to its place. Leftovers of killed processes are cleared
    first, whichever work left them. prefix: of the name, such as `.partial-`; it tells people what the work was.
    """
    clear(parent)
    path, lock = _claimed(parent, prefix)
    try:
        yield path
    finally:
        _remove(path)
        _give_up(lock)


def clear(parent: Path) -> None:
    """Remove leftovers of ended processes in `parent`; those that can't be removed stay until the next time."""
    with suppress(OSError):
        for name in {path.name.removesuffix(".lock") for path in parent.glob(".*-*")}:
            if made := _MADE.fullmatch(name):
                _clear(parent / name, here=made["kernel"] == _kernel())


def clear_below(folder: Path) -> None:
    """Remove leftovers of ended processes in the folder and in every folder below it, none of which is a link."""
    for parent, folders, _ in os.walk(folder):
        clear(Path(parent))
        folders[:] = [name for name in folders if not name.startswith(".")]


def clear_old(parent: Path, pattern: str) -> None:
    """Remove what matches and was written a day ago or earlier: unfinished work of other libraries has no lock."""
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
        except Timeout:  # another process has just taken it for a leftover
            continue
        if Path(lock.lock_file).exists():
            return path, lock
        lock.release()


def _clear(path: Path, *, here: bool) -> None:
    """Remove a path unless its process lives. here: whether that runs on this machine, where its lock can be seen."""
    lock = _lock_of(path)
    has_lock = Path(lock.lock_file).exists()
    if not (here and has_lock) and time.time() - _touched(path) < LONGEST:
        return
    if has_lock:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return
    _remove(path)
    _give_up(lock)


def _lock_of(path: Path) -> FileLock:
    return FileLock(path.with_name(f"{path.name}.lock"), thread_local=False)


def _give_up(lock: FileLock) -> None:
    """Remove the lock file while it is held, so that nobody locks a removed file; Windows can only do it afterwards."""
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
    """When the path, its lock or a file in it was written last, in seconds since 1970; 0 if nothing exists."""
    last = 0.0
    for part in (path, path.with_name(f"{path.name}.lock"), *(path.rglob("*") if path.is_dir() else ())):
        with suppress(OSError):
            last = max(last, part.stat().st_mtime)
    return last


@cache
def _kernel() -> str:
    """An id of the running system, since several may see one disk: containers share it, a restart changes it."""
    identity = platform.node()
    with suppress(OSError):
        identity = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    return hashlib.sha256(identity.encode(errors="replace")).hexdigest()[:8]
