"""A zip of pictures given in place of a folder: it is unpacked once into the cache, under the hash of its content.

Zips come from strangers: no entry may leave the folder, no link is made, and a zip bomb is refused before unpacking.
"""

import hashlib
import shutil
import stat
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from contextlib import suppress
from pathlib import Path

from kt.base.cache import SPARE, cache_home
from kt.base.console import progress_bar, say, warn
from kt.errors import DataError, EnvironmentProblem, one_line
from kt.kinds.pictures.find import hidden, why_not

MOST_FILES = 2_000_000
MOST_TIMES = 100
"""A zip is refused if it unpacks to more than this many times its size plus 100 MB: pictures hardly compress."""

OTHERS = (".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")
"""Archives that kt does not unpack."""


def is_zip(path: Path) -> bool:
    """Whether a path is a zip file, by its first bytes."""
    if why_not(path):
        return False
    try:
        with path.open("rb") as file:
            return file.read(4) in (b"PK\3\4", b"PK\5\6")
    except OSError:
        return False


def unpacked(archive: Path) -> Path:
    """The folder in the cache with a zip's content; the zip is unpacked unless the folder exists.

    Raises DataError for a zip that can't be unpacked or must not be, EnvironmentProblem if the disk lacks the room.
    """
    home = cache_home() / "unpacked"
    home.mkdir(exist_ok=True)
    try:
        with archive.open("rb") as file:
            folder = home / hashlib.file_digest(file, "sha256").hexdigest()[:32]
            if folder.is_dir():
                return folder
            _clear_broken_off(home)
            with zipfile.ZipFile(file) as content:
                entries = _checked(content, archive)
                partial = Path(tempfile.mkdtemp(prefix=".part-", dir=home))
                try:
                    _write(content, entries, partial)
                    with suppress(OSError):  # another process was faster
                        partial.rename(folder)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        why = one_line(error)
        raise DataError(f"Cannot unpack {archive}: {why}; unpack it yourself, and give the folder.") from None
    say(f"{archive} is unpacked in {folder}; kt cache clear unpacked removes it")
    return folder


def _checked(content: zipfile.ZipFile, archive: Path) -> list[tuple[zipfile.ZipInfo, Path]]:
    """The entries to be written, each with its path below the folder; raises DataError for a zip that is refused."""
    infos = content.infolist()
    if len(infos) > MOST_FILES:
        raise DataError(f"{archive} has {len(infos):,} entries, more than {MOST_FILES:,}; unpack it yourself.")
    entries, left_out = [], Counter[str]()
    for info in infos:
        parts = info.filename.replace("\\", "/").split("/")
        if info.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            raise DataError(f"{archive} is refused: its entry {info.filename!r} leads out of the folder.")
        if info.is_dir() or not any(parts) or any(map(hidden, filter(None, parts))):
            continue
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            left_out["link" if kind == stat.S_IFLNK else "entry that is no file"] += 1
        elif info.flag_bits & 1:
            raise DataError(f"{archive} is protected by a password; unpack it yourself, and give the folder.")
        else:
            entries.append((info, Path(*filter(None, parts))))
    size = sum(info.file_size for info, _ in entries)
    if size > MOST_TIMES * archive.stat().st_size + 10**8:
        raise DataError(
            f"{archive} is refused: it would unpack to {size:,} bytes, more than {MOST_TIMES} times its own size."
        )
    free = shutil.disk_usage(cache_home()).free
    if size + SPARE > free:
        raise EnvironmentProblem(
            f"{archive} unpacks to {size / 2**30:.1f} GiB, and {cache_home()} has {free / 2**30:.1f} free; set KT_HOME "
            "to a directory with more room."
        )
    for what, count in left_out.items():
        warn(f"{archive}: left out {count} {what}{'s' if count > 1 and what == 'link' else ''}")
    return entries


def _write(content: zipfile.ZipFile, entries: list[tuple[zipfile.ZipInfo, Path]], folder: Path) -> None:
    with progress_bar("unpacking", len(entries), unit="files") as bar:
        for info, path in entries:
            target = folder / path
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                with content.open(info) as packed, target.open("xb") as file:
                    shutil.copyfileobj(packed, file, 2**20)
            except FileExistsError:
                raise DataError(f"{info.filename!r} is twice in the zip.") from None
            except (NotADirectoryError, IsADirectoryError) as error:
                raise DataError(f"{info.filename!r} is a file and a folder: {one_line(error)}.") from None
            except OSError as error:
                if len(str(path)) > 200:  # a name that no file system has room for
                    raise DataError(f"{info.filename[:80]!r}...: {error.strerror}.") from None
                raise
            bar.advance()


def _clear_broken_off(home: Path) -> None:
    """Remove what a killed process left: partial folders older than a day, longer than any unpacking takes."""
    for partial in home.glob(".part-*"):
        if time.time() - partial.stat().st_mtime > 86400:
            shutil.rmtree(partial, ignore_errors=True)
