"""The cache of what kt can make or fetch again: prepared data sets, outputs of frozen layers."""

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

from kt.base.scratch import clear
from kt.errors import EnvironmentProblem

LIMIT = 20 * 2**30
"""The most bytes that all cached activations may take on disk; those used longest ago are removed first."""

PART = ".part-"
"""The prefix of a file of cached activations that is being written."""

SPARE = 2**30
"""The bytes of the disk that are left free."""


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
    """The folder of all cached activations."""
    return cache_home() / "features"


@dataclass(frozen=True)
class CachedFolder:
    """A folder of cached activations.

    about: the content of its `about.json`. used: when it was used last, in seconds since 1970.
    """

    folder: Path
    about: Mapping[str, Any]
    pictures: int
    bytes: int
    used: float


def entries(root: Path) -> list[CachedFolder]:
    """Every folder of cached activations, the one that was used longest ago first."""
    folders = [folder for folder in root.iterdir() if folder.is_dir()] if root.is_dir() else []
    return sorted(map(_entry, folders), key=lambda entry: entry.used)


def _entry(folder: Path) -> CachedFolder:
    about: Mapping[str, Any] = {}
    with suppress(OSError, ValueError):
        about = dict(json.loads((folder / "about.json").read_text(encoding="utf-8")))
    import numpy as np

    files, pictures = list(folder.glob("*.npy")), 0
    for file in files:
        with suppress(OSError, ValueError):  # a damaged file is reported and removed when it is used
            pictures += len(np.load(file, mmap_mode="r"))
    return CachedFolder(folder, about, pictures, sum(file.stat().st_size for file in files), folder.stat().st_mtime)


def make_room(folder: Path, size: int) -> None:
    """Remove what was used longest ago until `size` more bytes fit the limit. Raises OSError if the disk is full."""
    folder.mkdir(parents=True, exist_ok=True)
    others = [entry for entry in entries(folder.parent) if entry.folder != folder]
    total = size + sum(entry.bytes for entry in others)
    for stored in folder.parent.iterdir():
        clear(stored)
    for entry in others:
        if total <= LIMIT:
            break
        shutil.rmtree(entry.folder, ignore_errors=True)
        total -= entry.bytes
    free = shutil.disk_usage(folder.parent).free
    if size + SPARE > free:
        needed = f"{(size + SPARE) / 2**30:.1f} GiB have to be free in {folder.parent}, and there are"
        raise OSError(errno.ENOSPC, f"{needed} {free / 2**30:.1f}")
