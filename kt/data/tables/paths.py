"""Finds the picture files that the paths in a table mean, even if they were written on Windows or another machine.

A path is taken as it is written if it exists. Else the picture is searched for by its name below the table's folder,
ignoring case and a missing suffix; it is taken if only one file matches best. A fact says how many were found that way.
"""

import os
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from kt.kinds.pictures.find import SUFFIXES, hidden

MOST = 500_000
"""The search by name stops after about this many files below the table's folder."""


@dataclass
class Finder:
    """Finds the files of one table, and records how each was found. folder: the folder of the table."""

    folder: Path
    _ways: dict[str, list[tuple[str, Path]]] = field(default_factory=lambda: defaultdict(list))
    _names: dict[str, list[Path]] | None = None
    _stems: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    def find(self, written: str) -> Path:
        """The file that a path means; if there is none, the path as it is written, below the table's folder."""
        plain = written.replace("\\", "/") if "\\" in written else written
        for text in dict.fromkeys((written, plain)):
            for way, base in (("", self.folder), ("here", Path.cwd())):
                if _there(base / text):
                    way = way or ("slashes" if text != written else "")
                    return self._found(way, written, base / text)
        path = self._by_name(plain)
        return self.folder / plain if path is None else self._found("name", written, path)

    def is_there(self, written: str) -> bool:
        """Whether a file can be found for a path; this is not recorded."""
        plain = written.replace("\\", "/")
        return any(_is_file(base / plain) for base in (self.folder, Path.cwd())) or self._by_name(plain) is not None

    def facts(self) -> list[str]:
        """One line for each way in which files were found, except for paths that are right as written."""
        ways = {
            "slashes": "written with \\ and read with /",
            "here": "relative to the working directory, not to the table",
            "name": f"found by their names below {self.folder}",
        }
        lines = []
        for way, words in ways.items():
            if paths := self._ways.get(way):
                written, path = paths[0]
                inside = path.relative_to(self.folder) if path.is_relative_to(self.folder) else path
                count = f"{len(paths):,} paths are" if len(paths) > 1 else "1 path is"
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
    """A name without its picture suffix; `leaf.3` has no such suffix and stays whole."""
    stem, dot, suffix = key.rpartition(".")
    return stem if dot and f".{suffix}" in SUFFIXES else key


def _agreeing(parts: list[str], path: Path) -> int:
    """How many folders before the file's name agree, counted from the right."""
    folders = [_key(part) for part in path.parts[:-1]]
    count = 0
    while count < min(len(folders), len(parts) - 1) and folders[-1 - count] == parts[-2 - count]:
        count += 1
    return count
