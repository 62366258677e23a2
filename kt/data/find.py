"""Which files are pictures, what else lies beside them, and how a file is opened that may be no file at all.

A file is a picture by its first bytes, whatever its name. One that is named like a picture stays a candidate whatever
it holds, so that the reader can say what is wrong with it. The heavy libraries stay out of this module.
"""

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from kt.errors import DataError, one_line

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff"}
    | {".heic", ".heif", ".hif", ".avif", ".dcm", ".dicom"}
)
"""Names of pictures that kt reads, some of them by an extra; what a file is, its content decides."""

RAW_SUFFIXES = frozenset(
    {".dng", ".nef", ".nrw", ".arw", ".sr2", ".cr2", ".pef", ".rw2", ".orf", ".srw", ".3fr", ".iiq"}
)
"""Files of cameras that are TIFF by their first bytes, of which a reader of TIFF sees a thumbnail only."""

HEAD = 132
"""So many first bytes tell what a file is; DICOM has its mark behind 128 that say nothing."""

_HIDDEN = frozenset(
    {"__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found"}
    | {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "dicomdir"}
)
"""What systems and devices leave in folders; people do not see it there."""

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
    """The kind of picture that begins with these bytes, such as "JPEG"; empty where it is none that kt knows."""
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
        # The main brand, and those that it says it agrees with: a general one such as mif1 may stand first.
        brands = {head[at : at + 4] for at in (8, *range(16, min(len(head), int.from_bytes(head[:4], "big")), 4))}
        return next((kind for kind in ("AVIF", "HEIC") if brands & {*_BRANDS[kind]}), "")
    return "DICOM" if head[128:132] == b"DICM" else ""


def first_bytes(path: Path) -> bytes:
    """The first bytes of a regular file; none of what is no file, is empty or closed to us. Never waits."""
    try:
        with _opened(path) as file:
            return file.read(HEAD)
    except (DataError, OSError):
        return b""


def is_picture(path: Path) -> bool:
    """Whether a file is read: it is named like a picture, or its first bytes are those of one."""
    suffix = path.suffix.lower()
    return suffix in SUFFIXES or (suffix not in RAW_SUFFIXES and kind_of(first_bytes(path)) != "")


def why_not(path: Path) -> str:
    """Why there is no file to read; empty where there is one. Told without opening it, for opening a pipe may wait."""
    try:
        info = os.stat(path)  # noqa: PTH116 - one call, and its error says which kind of nothing it is
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
    # The kernel's own files, whose reading may wait for ever, say that they have no bytes.
    return "" if info.st_size else _EMPTY


def read_file(path: Path, *, limit: int) -> bytes:
    """The bytes of a file. Raises DataError with the reason for what has none to give, or more than `limit`."""
    try:
        with _opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise DataError(f"has {size:,} bytes, more than {limit:,}")
            return file.read(limit)
    except OSError as error:
        raise DataError(error.strerror or one_line(error)) from None


def _opened(path: Path) -> BinaryIO:
    """A regular file, open to be read. Raises DataError for anything else, before and after it is opened."""
    if reason := why_not(path):
        raise DataError(reason)
    # It may have become a pipe since: O_NONBLOCK, which is nothing to a file, keeps the opening from waiting.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags | getattr(os, "O_CLOEXEC", 0)), "rb")
    if reason := _special(os.fstat(file.fileno())):
        file.close()
        raise DataError(reason)
    return file


# ------------------------------------------------------------------------------------------------------------- folders


def hidden(name: str) -> bool:
    """Whether people do not see a file or folder of this name: with a dot in front, or left there by a system."""
    return name.startswith(".") or name.lower() in _HIDDEN


@dataclass
class Met:
    """So many of a kind, of which this was the first."""

    count: int
    first: Path


@dataclass
class LeftOut:
    """What a search met and did not take, by kind.

    no_pictures: files, by suffix. others: pipes, links that lead nowhere and the like. outside: links that lead out of
    the folder, which are followed, and where the first of them leads.
    """

    no_pictures: dict[str, Met] = field(default_factory=dict)
    others: dict[str, Met] = field(default_factory=dict)
    outside: tuple[Met, Path] | None = None

    def lines(self, root: Path | None = None) -> list[str]:
        """A sentence for what is left out, and one for the links that lead out. root: from where names are told."""
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
        """What is left out in a few words, such as "3 .txt, 1 pipe"; empty where that is nothing."""
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
    """Every picture below a folder, sorted by path: what `is_picture` says, and anything but a folder named like one.

    left: is told what there is besides. Nothing hidden is met. Linked folders are followed, each real folder once and
    never in a circle. One folder's names are held at a time, not those of the whole tree.
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


class Walk:
    """A walk through a folder: where it has been, and what it leaves out."""

    def __init__(self, root: Path, left: LeftOut) -> None:
        self.left = left
        self._root = Path(os.path.realpath(root))
        self._been: set[tuple[int, int]] = set()

    def entries(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        """What a folder shows, sorted; nothing where it is closed to us."""
        try:
            self._been.add(_identity(folder))
            with os.scandir(folder) as there:
                found = sorted(there, key=lambda entry: os.path.normcase(entry.name))
        except OSError as error:  # closed to us, or gone meanwhile
            _count(self.left.others, f"folder that can't be opened: {error.strerror or one_line(error)}", folder)
            return iter(())
        return (entry for entry in found if not hidden(entry.name))

    def goes_into(self, entry: os.DirEntry[str]) -> bool:
        """Whether an entry is a folder to be walked; one that is met elsewhere is counted as left out."""
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
        except OSError:  # gone meanwhile, which opening it will tell
            return ""

    def takes(self, entry: os.DirEntry[str]) -> bool:
        """Whether an entry that is no folder to be walked is a picture; what is none is counted as left out."""
        path, suffix = Path(entry.path), Path(entry.name).suffix.lower()
        if _is_folder(entry):  # told by `goes_into`
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
    info = os.stat(folder)  # noqa: PTH116 - DirEntry's does not know the inode on Windows
    return info.st_dev, info.st_ino


def _as_kind(reason: str) -> str:
    """`not a file (a pipe)` as what is counted: `pipe`."""
    inner = reason.partition("(")[2].rstrip(")")
    return inner.removeprefix("a ").removeprefix("something ") or reason
