"""Where kt keeps what it can make or fetch again: prepared data sets, outputs of frozen layers."""

import errno
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from kt.errors import EnvironmentProblem
from kt.scratch import clear

LIMIT = 20 * 2**30
"""Bytes that all stored outputs may take on disk; the part that was used longest ago goes first."""

PART = ".part-"
"""Begins the name of stored outputs that are being written."""

SPARE = 2**30
"""Bytes of the disk that are left free."""


def cache_home() -> Path:
    """The cache directory, made if it isn't there: `KT_HOME`, or else the user's own cache for `kt`.

    Raises EnvironmentProblem where it can't be written.
    """
    home = os.environ.get("KT_HOME")
    path = Path(home).expanduser().resolve() if home else Path(platformdirs.user_cache_dir("kt"))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentProblem(_refused(path, error.strerror or str(error))) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise EnvironmentProblem(_refused(path, "it can't be written"))
    return path


def _refused(path: Path, why: str) -> str:
    return f"kt can't use its cache directory {path}: {why}. Set KT_HOME to a directory that can be written."


def features_home() -> Path:
    """The folder of all stored outputs."""
    return cache_home() / "features"


@dataclass(frozen=True)
class Entry:
    """A folder of stored outputs: what it says of itself, how much it holds, when it was used (seconds since 1970)."""

    folder: Path
    about: Mapping[str, Any]
    pictures: int
    bytes: int
    used: float


def entries(root: Path) -> list[Entry]:
    """Every folder of stored outputs, the one that was used longest ago first."""
    folders = [folder for folder in root.iterdir() if folder.is_dir()] if root.is_dir() else []
    return sorted(map(_entry, folders), key=lambda entry: entry.used)


def _entry(folder: Path) -> Entry:
    about: Mapping[str, Any] = {}
    with suppress(OSError, ValueError):
        about = dict(json.loads((folder / "about.json").read_text(encoding="utf-8")))
    import numpy as np

    files, pictures = list(folder.glob("*.npy")), 0
    for file in files:
        with suppress(OSError, ValueError):  # what is damaged is told and removed when it is used
            pictures += len(np.load(file, mmap_mode="r"))
    return Entry(folder, about, pictures, sum(file.stat().st_size for file in files), folder.stat().st_mtime)


def make_room(folder: Path, size: int) -> None:
    """Remove what was used longest ago until `size` more bytes fit the limit; OSError where the disk has no room."""
    folder.mkdir(parents=True, exist_ok=True)
    others = [entry for entry in entries(folder.parent) if entry.folder != folder]
    total = size + sum(entry.bytes for entry in others)
    for one in folder.parent.iterdir():
        clear(one, PART)
    for entry in others:
        if total <= LIMIT:
            break
        shutil.rmtree(entry.folder, ignore_errors=True)
        total -= entry.bytes
    free = shutil.disk_usage(folder.parent).free
    if size + SPARE > free:
        needed = f"{(size + SPARE) / 2**30:.1f} GiB have to be free in {folder.parent}, and there are"
        raise OSError(errno.ENOSPC, f"{needed} {free / 2**30:.1f}")
