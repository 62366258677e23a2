"""Writing files so that a reader never sees half of one, checking folders, and reading others' files safely."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from kt.base.names import is_utf8, json_text
from kt.base.scratch import scratch
from kt.errors import EnvironmentProblem

_MOST_BYTES = 2**24
_DEEPEST = 32


def check_openable(folder: Path) -> None:
    """Raise EnvironmentProblem, before any work is done, for a folder that TensorFlow can't open."""
    if not is_utf8(str(folder)):
        raise EnvironmentProblem(
            f"TensorFlow can't open {folder}, for its name is not UTF-8; name another folder, or a link to this one."
        )


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Within it an error of writing names the file; the system's error of a full disk does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(file)
        raise


@contextmanager
def whole(file: Path) -> Iterator[BinaryIO]:
    """A file to write. It gets its name in one step once it is complete and on the disk; until then nothing changes."""
    with _named(file), scratch(file.parent, f".{file.name}-") as beside:
        with beside.open("wb") as opened:
            yield opened
            opened.flush()
            os.fsync(opened.fileno())
        beside.replace(file)


@contextmanager
def beside_its_place(file: Path) -> Iterator[Path]:
    """A temporary path with the file's name, for a library that writes the file itself; moved into place at the end."""
    with _named(file), scratch(file.parent, f".{file.stem}-") as folder:
        folder.mkdir()
        yield folder / file.name
        _sync(os.open(folder / file.name, os.O_RDWR))
        (folder / file.name).replace(file)


def replace_text(path: Path, text: str) -> None:
    """Write the whole file in one step: a reader sees the old one or the new one."""
    with whole(path) as file:
        file.write(text.encode())


def replace_json(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Write JSON and a line break in one step. Every name in it can be read back unchanged (`kt.base.names`)."""
    replace_text(path, json_text(value, indent=indent) + "\n")


def save_array(file: Path, array: Any) -> None:
    """Write a NumPy array as `.npy`. Unlike np.save, it reports a full disk as such."""
    import numpy as np  # here, since the command line loads this module without NumPy

    plain = np.ascontiguousarray(array)
    with _named(file), file.open("wb") as opened:
        np.lib.format.write_array_header_2_0(opened, np.lib.format.header_data_from_array_1_0(plain))
        opened.write(plain.data)


def sync(folder: Path) -> None:
    """Flush everything in a folder to the disk, so that after a power cut it is complete or absent."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            if hasattr(os, "O_DIRECTORY"):  # elsewhere, such as on Windows, a folder can't be opened
                _sync(os.open(path, os.O_RDONLY))
        else:
            with path.open("rb+") as file:  # Windows syncs only files that were opened for writing
                os.fsync(file.fileno())


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path, *, most_bytes: int = _MOST_BYTES) -> Any:
    """The content of a JSON file that others may have written; NaN and infinity become None.

    most_bytes: a larger file is not read.

    Raises FileNotFoundError, OSError if it can't be read, and ValueError with the reason if it is no JSON, very large,
    nested very deeply, or not a file.
    """
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        raise ValueError("it is no file")
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"it has more than {most_bytes:,} bytes")
    try:
        value = json.loads(content, parse_constant=lambda _: None, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON: {error}") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, a number of thousands of digits
        raise ValueError(f"it is no JSON: {str(error)[:80]}") from None
    if not _is_shallow(value):
        raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
    return value


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(_DEEPEST):
        level = [
            item
            for part in level
            if isinstance(part, (dict, list))
            for item in (part.values() if isinstance(part, dict) else part)
        ]
    return not level
