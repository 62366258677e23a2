"""The files that a table means by its paths: written on Windows, on another machine, without a suffix, in another case.

A path is taken as it stands where it leads to something. Else the picture is sought by its name below the table's
folder, and taken where only one can be meant; how many were found so is told.
"""

import os
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from kt.data.find import SUFFIXES, hidden

MOST = 500_000
"""So many files below the table's folder are looked at for one by its name."""


@dataclass
class Finder:
    """Finds the files of one table, and keeps count of how. folder: where the table lies."""

    folder: Path
    _ways: dict[str, list[tuple[str, Path]]] = field(default_factory=lambda: defaultdict(list))
    _names: dict[str, list[Path]] | None = None
    _stems: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    def find(self, written: str) -> Path:
        """The file that is meant; the path as it stands, below the table's folder, where none is there."""
        plain = written.replace("\\", "/") if "\\" in written else written
        for text in dict.fromkeys((written, plain)):
            for way, base in (("", self.folder), ("here", Path.cwd())):
                if _there(base / text):
                    way = way or ("slashes" if text != written else "")
                    return self._found(way, written, base / text)
        found = self._by_name(plain)
        return self.folder / plain if found is None else self._found("name", written, found)

    def is_there(self, written: str) -> bool:
        """Whether a file is found; nothing is counted."""
        plain = written.replace("\\", "/")
        return any(_is_file(base / plain) for base in (self.folder, Path.cwd())) or self._by_name(plain) is not None

    def facts(self) -> list[str]:
        """One line for each way in which files were found that is not the plain one."""
        told = {
            "slashes": "written with \\ and read with /",
            "here": "relative to the working directory, not to the table",
            "name": f"found by their names below {self.folder}",
        }
        lines = []
        for way, words in told.items():
            if found := self._ways.get(way):
                written, path = found[0]
                inside = path.relative_to(self.folder) if path.is_relative_to(self.folder) else path
                count = f"{len(found):,} paths are" if len(found) > 1 else "1 path is"
                lines.append(f"{count} {words}, such as {written} as {inside.as_posix()}")
        return lines

    def _found(self, way: str, written: str, path: Path) -> Path:
        if way:
            self._ways[way].append((written, path))
        return path

    def _by_name(self, text: str) -> Path | None:
        parts = [_key(part) for part in re.split(r"/+", text) if part not in ("", ".", "..")]
        if not parts or text.startswith(("http:", "https:")):
            return None
        if self._names is None:
            self._names = self._listed()
        known = self._names.get(parts[-1]) or self._stems.get(parts[-1]) or self._stems.get(_stem(parts[-1])) or []
        alike = [(_agreeing(parts, path.relative_to(self.folder)), path) for path in known]
        most = max((count for count, _ in alike), default=0)
        best = [path for count, path in alike if count == most]
        return best[0] if len(best) == 1 else None

    def _listed(self) -> dict[str, list[Path]]:
        names: dict[str, list[Path]] = defaultdict(list)
        count = 0
        for place, folders, files in os.walk(self.folder):
            folders[:] = sorted(name for name in folders if not hidden(name))
            for name in sorted(files):
                names[_key(name)].append(Path(place, name))
                if Path(name).suffix.lower() in SUFFIXES:
                    self._stems[_stem(_key(name))].append(Path(place, name))
            count += len(files)
            if count > MOST:
                break
        return names


def _there(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except (ValueError, OSError):
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (ValueError, OSError):
        return False


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _stem(key: str) -> str:
    """A name without a suffix of pictures; `leaf.3` has none."""
    stem, dot, suffix = key.rpartition(".")
    return stem if dot and f".{suffix}" in SUFFIXES else key


def _agreeing(parts: list[str], path: Path) -> int:
    """How many folders in front of the name agree, from the right."""
    there = [_key(part) for part in path.parts[:-1]]
    count = 0
    while count < min(len(there), len(parts) - 1) and there[-1 - count] == parts[-2 - count]:
        count += 1
    return count
