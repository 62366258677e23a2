"""Stages: results that are kept as work goes on, so that they are not computed again after a kill.

A stage is a folder. Its manifest names what it was made from and which files belong to it, each with its SHA-256. The
manifest is renamed into place last, so the folder holds the old state or the new one, whenever the process ends.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kt.base import files
from kt.base.console import shown, warn
from kt.base.files import read_json, replace_json
from kt.errors import one_line

MANIFEST = "manifest.json"

FORMAT = 1
"""Increased when a stage's files change their meaning: older stages are made again."""

if TYPE_CHECKING:  # the command line loads this module without NumPy
    import numpy.typing as npt

    Arrays = Mapping[str, npt.NDArray[Any]]


def key_of(*parts: Any) -> str:
    """A hash of what a stage is made from: plain data, with mappings in any order. SHA-256, 64 hex digits."""
    text = json.dumps([FORMAT, *parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def digest_of(arrays: "Arrays | list[npt.NDArray[Any]]") -> str:
    """A hash of arrays, their order, shapes and types included: BLAKE2b, 32 hex digits."""
    import numpy as np

    named = arrays.items() if isinstance(arrays, Mapping) else enumerate(arrays)
    digest = hashlib.blake2b(digest_size=16)
    for name, array in named:
        digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def digest_of_path(path: Path) -> str | None:
    """A hash of a file, or of all files in a folder with their names: SHA-256, 64 hex digits; None if it is gone."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    try:
        for file in files:
            digest.update(f"{file.relative_to(path)}\0".encode("utf-8", "surrogateescape"))
            with file.open("rb") as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
    except OSError:
        return None
    return digest.hexdigest()


@dataclass(frozen=True)
class Kept:
    """The content of a stage. told: plain data. arrays: sets of arrays by their names."""

    told: dict[str, Any]
    arrays: "dict[str, dict[str, npt.NDArray[Any]]]" = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """A folder that keeps the results of one piece of work. key: of what they are made from (`key_of`)."""

    folder: Path
    key: str

    def keep(self, told: Mapping[str, Any], **sets: "Arrays") -> None:
        """Write plain data and sets of arrays. The old content stays complete until the new one is, then it is removed.

        A set that is the same as before is not written again.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        files = {name: self._written(name, arrays) for name, arrays in sets.items()}
        manifest = {"format": FORMAT, "key": self.key, "files": files, "told": told}
        replace_json(self.folder / MANIFEST, manifest)
        named = {MANIFEST, *(file["name"] for file in files.values())}
        for path in self.folder.iterdir():
            if path.name not in named and path.suffix == ".npz":
                with suppress(OSError):
                    path.unlink()

    def kept(self) -> Kept | None:
        """What is kept; None if there is nothing. Damaged content, or another key, gives None and a warning."""
        try:
            return self._read()
        except FileNotFoundError:
            return None
        except _DamagedError as error:
            why = str(error)
        except (OSError, ValueError) as error:
            why = f"its manifest can't be read: {one_line(error)}"
        except (KeyError, TypeError, AttributeError):
            why = "its manifest is no manifest"
        warn(f"what is kept in {shown(self.folder)} can't be used, and is done again: {why}")
        return None

    def _read(self) -> Kept:
        manifest = read_json(self.folder / MANIFEST)
        if manifest["format"] != FORMAT or self.key not in ("", manifest["key"]):
            raise _DamagedError("it was made from other things than those of this run")
        return Kept(dict(manifest["told"]), {name: self._arrays(file) for name, file in manifest["files"].items()})

    def _written(self, name: str, arrays: "Arrays") -> dict[str, str]:
        import numpy as np

        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **arrays)
        digest = hashlib.sha256(content.getbuffer()).hexdigest()
        path = self.folder / f"{name}-{digest[:16]}.npz"
        if not path.exists():
            with files.whole(path) as file:
                file.write(content.getbuffer())
        return {"name": path.name, "sha256": digest}

    def _arrays(self, file: Mapping[str, str]) -> "dict[str, npt.NDArray[Any]]":
        import numpy as np

        path = self.folder / Path(file["name"]).name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise _DamagedError(f"{path.name} can't be read: {error.strerror or error}") from None
        if hashlib.sha256(content).hexdigest() != file["sha256"]:
            raise _DamagedError(f"{path.name} does not hold what was written")
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise _DamagedError(f"{path.name} can't be read: {error}") from None


def whole(folder: Path) -> Kept | None:
    """What a stage holds, whatever its key; None if there is nothing. Damaged content gives None and a warning."""
    return Stage(folder, "").kept()


class _DamagedError(Exception):
    """A file of a stage is not what was written."""
