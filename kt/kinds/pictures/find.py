"""Finds pictures, notes what else lies beside them, and opens paths safely that may be pipes or devices.

A file is a picture if its first bytes say so, whatever its name. A file with the name of a picture is a candidate too,
whatever its content, so that the reader can say what is wrong with it. This module imports nothing heavy.
"""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from kt.errors import DataError, one_line

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff"}
    | {".heic", ".heif", ".hif", ".avif", ".dcm", ".dicom"}
)
"""Suffixes of pictures that kt reads, some of them with an optional package. The content decides what a file is."""

RAW_SUFFIXES = frozenset(
    {".dng", ".nef", ".nrw", ".arw", ".sr2", ".cr2", ".pef", ".rw2", ".orf", ".srw", ".3fr", ".iiq"}
)
"""Suffixes of cameras' raw files: their first bytes are those of TIFF, but a TIFF reader sees only their thumbnail."""

HEAD = 132
"""How many first bytes are needed to recognise a file: DICOM has its mark after 128 arbitrary bytes."""

_HIDDEN = frozenset(
    {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
    | {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "dicomdir"}
)
"""Files and folders that operating systems and devices create, and that people usually do not see."""

_BRANDS = {
    "HEIC": (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
    "AVIF": (b"avif", b"avis"),
}
_EMPTY = "an empty file"
_PLURALS = {
    "pipe": "pipes",
    "socket": "sockets",
    "device": "devices",
    "link to itself": "links to themselves",
    "link that leads nowhere": "links that lead nowhere",
    "link to a folder that it lies in": "links to a folder that they lie in",
    "link to a folder that is read in its own place": "links to folders that are read in their own place",
    "folder that is read by way of another link": "folders that are read by way of another link",
}
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)


# ------------------------------------------------------------------------------------------------------------- content


def kind_of(head: bytes) -> str:
    """The kind of picture that begins with these bytes, such as "JPEG"; empty if it is no kind that kt knows."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head[4:8] == b"ftyp":
        # The major brand and the compatible ones: the major brand may be a general one such as mif1.
        brands = {head[at : at + 4] for at in (8, *range(16, min(len(head), int.from_bytes(head[:4], "big")), 4))}
        return next((kind for kind in ("AVIF", "HEIC") if brands & {*_BRANDS[kind]}), "")
    return "DICOM" if head[128:132] == b"DICM" else ""


def first_bytes(path: Path) -> bytes:
    """The first bytes of a regular file; empty for anything else, and if the file can't be opened. Never blocks."""
    try:
        with _opened(path) as file:
            return file.read(HEAD)
    except (DataError, OSError):
        return b""


def is_picture(path: Path) -> bool:
    """Whether kt reads a file as a picture: by its suffix, or by its first bytes unless it is a camera's raw file."""
    suffix = path.suffix.lower()
    return suffix in SUFFIXES or (suffix not in RAW_SUFFIXES and kind_of(first_bytes(path)) != "")


def why_not(path: Path) -> str:
    """Why a path can't be read as a file; empty if it can. The path is not opened, since opening a pipe may block."""
    try:
        info = os.stat(path)  # noqa: PTH116 - a single call whose error says why there is no file
    except ValueError:  # a name with a NUL
        return "no such file"
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "not a file (a link to itself)"
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return "no such file (a link that leads nowhere)" if path.is_symlink() else "no such file"
        return error.strerror or one_line(error)
    return _special(info)


def _special(info: os.stat_result) -> str:
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    if not stat.S_ISREG(info.st_mode):
        return f"not a file ({kinds.get(stat.S_IFMT(info.st_mode), 'something else')})"
    # Files of the kernel, such as those in /proc, report a size of 0, and reading them may block for ever.
    return "" if info.st_size else _EMPTY


def read_file(path: Path, *, limit: int) -> bytes:
    """The bytes of a file. Raises DataError with the reason if it can't be read or has more than `limit` bytes."""
    try:
        with _opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise DataError(f"has {size:,} bytes, more than {limit:,}")
            return file.read(limit)
    except OSError as error:
        raise DataError(error.strerror or one_line(error)) from None


def _opened(path: Path) -> BinaryIO:
    """A regular file, opened for reading. Raises DataError for anything else; checked before and after opening."""
    if reason := why_not(path):
        raise DataError(reason)
    # The path may have become a pipe since the check. O_NONBLOCK keeps the open from blocking; files ignore it.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags | getattr(os, "O_CLOEXEC", 0)), "rb")
    if reason := _special(os.fstat(file.fileno())):
        file.close()
        raise DataError(reason)
    return file


# ------------------------------------------------------------------------------------------------------------- folders


def hidden(name: str) -> bool:
    """Whether people do not see a file or folder of this name: it begins with a dot, or a system created it."""
    return name.startswith(".") or name.lower() in _HIDDEN


@dataclass
class Met:
    """How many entries of one kind were found, and the first of them."""

    count: int
    first: Path


@dataclass
class LeftOut:
    """What a search found and did not take, by kind.

    no_pictures: files that are no pictures, by suffix. others: pipes, broken links and the like. outside: links that
    lead out of the folder, which are followed, and the target of the first one.
    """

    no_pictures: dict[str, Met] = field(default_factory=dict)
    others: dict[str, Met] = field(default_factory=dict)
    outside: tuple[Met, Path] | None = None

    def lines(self, root: Path | None = None) -> list[str]:
        """Lines for a person on what is left out, and on links that lead out. root: paths are relative to it."""
        lines = []
        if self.no_pictures:
            lines.append(f"left out, for they are no pictures that kt reads: {_listed(self.no_pictures, root)}")
        if self.others:
            lines.append(f"left out: {_listed(self.others, root)}")
        if self.outside:
            met, target = self.outside
            links = "1 link leads" if met.count == 1 else f"{met.count:,} links lead"
            first = f"{_below(met.first, root)} to {target}"
            lines.append(f"{links} out of the folder and {'is' if met.count == 1 else 'are'} followed: {first}")
        return lines

    def kinds(self) -> str:
        """What is left out in a few words, such as "3 .txt, 1 pipe"; empty if nothing is."""
        return ", ".join(_counted(kind, met) for kind, met in _by_count({**self.no_pictures, **self.others}))


def _count(kinds: dict[str, Met], kind: str, path: Path) -> None:
    kinds.setdefault(kind, Met(0, path)).count += 1


def _counted(kind: str, met: Met) -> str:
    return f"{met.count:,} {kind if met.count == 1 else _PLURALS.get(kind, kind)}"


def _by_count(kinds: dict[str, Met]) -> list[tuple[str, Met]]:
    return sorted(kinds.items(), key=lambda item: (-item[1].count, item[0]))


def _listed(kinds: dict[str, Met], root: Path | None) -> str:
    ordered = _by_count(kinds)
    parts = [f"{_counted(kind, met)} ({_below(met.first, root)})" for kind, met in ordered[:8]]
    more = sum(met.count for _, met in ordered[8:])
    return ", ".join(parts) + (f", and {more:,} of other kinds" if more else "")


def _below(path: Path, root: Path | None) -> str:
    return path.relative_to(root).as_posix() if root is not None and path.is_relative_to(root) else str(path)


def find_pictures(folder: Path, left: LeftOut | None = None) -> Iterator[Path]:
    """Every picture below a folder, sorted by path. `is_picture` decides what is one, also for pipes and broken links.

    left: records what is left out. Hidden files and folders are skipped. Linked folders are followed, each real folder
    once and never in a circle. Memory holds the names of the folders on the current path, not those of the whole tree.
    """
    walk = Walk(folder, LeftOut() if left is None else left)
    levels = [walk.entries(folder)]
    while levels:
        entry = next(levels[-1], None)
        if entry is None:
            levels.pop()
        elif walk.goes_into(entry):
            levels.append(walk.entries(Path(entry.path)))
        elif walk.takes(entry):
            yield Path(entry.path)


def pictures_in(paths: Iterable[Path], left: LeftOut | None = None) -> Iterator[Path]:
    """Each path that is no folder, whatever it is, and each folder's pictures, in order.

    left: records what else the folders hold.
    """
    for path in paths:
        yield from find_pictures(path, left) if path.is_dir() else [path]


class Walk:
    """A walk through a folder; it remembers the folders it has visited, and records in `left` what it leaves out."""

    def __init__(self, root: Path, left: LeftOut) -> None:
        self.left = left
        self._root = Path(os.path.realpath(root))
        self._been: set[tuple[int, int]] = set()

    def entries(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        """The entries of a folder that are not hidden, sorted; none, with a record in `left`, if it can't be opened."""
        try:
            self._been.add(_identity(folder))
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: os.path.normcase(entry.name))
        except OSError as error:  # no permission, or removed meanwhile
            _count(self.left.others, f"folder that can't be opened: {error.strerror or one_line(error)}", folder)
            return iter(())
        return (entry for entry in entries if not hidden(entry.name))

    def goes_into(self, entry: os.DirEntry[str]) -> bool:
        """Whether an entry is a folder to walk into; a folder that is read elsewhere is recorded as left out."""
        if not _is_folder(entry):
            return False
        path = Path(entry.path)
        if reason := self._met_elsewhere(path, linked=entry.is_symlink()):
            _count(self.left.others, reason, path)
            return False
        return True

    def _met_elsewhere(self, folder: Path, *, linked: bool) -> str:
        if linked:
            target = Path(os.path.realpath(folder))
            if self._root.is_relative_to(target):
                return "link to a folder that it lies in"
            if target.is_relative_to(self._root) and not any(map(hidden, target.relative_to(self._root).parts)):
                return "link to a folder that is read in its own place"
            self._tell_outside(folder, target)
        try:
            return "folder that is read by way of another link" if _identity(folder) in self._been else ""
        except OSError:  # removed meanwhile: opening it will report that
            return ""

    def takes(self, entry: os.DirEntry[str]) -> bool:
        """Whether an entry that is no folder is a picture; if it is not, it is recorded as left out."""
        path, suffix = Path(entry.path), Path(entry.name).suffix.lower()
        if _is_folder(entry):  # recorded by `goes_into`
            return False
        if is_picture(path):
            if entry.is_symlink():
                self._tell_outside(path, Path(os.path.realpath(path)))
            return True
        reason = why_not(path)
        if reason and reason != _EMPTY:
            _count(self.left.others, _as_kind(reason), path)
        else:
            _count(self.left.no_pictures, suffix or "without a suffix", path)
        return False

    def _tell_outside(self, link: Path, target: Path) -> None:
        if target.is_relative_to(self._root):
            return
        met, first = self.left.outside or (Met(0, link), target)
        met.count += 1
        self.left.outside = met, first


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: Path) -> tuple[int, int]:
    info = os.stat(folder)  # noqa: PTH116 - DirEntry.stat lacks the inode on Windows
    return info.st_dev, info.st_ino


def _as_kind(reason: str) -> str:
    """The kind to count by, from a reason: `pipe` from `not a file (a pipe)`."""
    inner = reason.partition("(")[2].rstrip(")")
    return inner.removeprefix("a ").removeprefix("something ") or reason
