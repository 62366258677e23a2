"""Files that a reader never meets half written, folders that can be worked in, and files of others."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from kt.errors import EnvironmentProblem
from kt.names import is_utf8, json_text
from kt.scratch import scratch

_MOST_BYTES = 2**24
_DEEPEST = 32


def check_openable(folder: Path) -> None:
    """Raise EnvironmentProblem for a folder that TensorFlow can't write to or read from; before any work is done."""
    if not is_utf8(str(folder)):
        raise EnvironmentProblem(
            f"TensorFlow can't open {folder}, for its name is not UTF-8; name another folder, or a link to this one."
        )


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Let an error of writing say where; of a full disk the system itself does not."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(file)
        raise


@contextmanager
def whole(file: Path) -> Iterator[BinaryIO]:
    """A file to write that gets its name, in one step, when it is complete and on the disk; before, nothing changes."""
    with _named(file), scratch(file.parent, f".{file.name}-") as beside:
        with beside.open("wb") as opened:
            yield opened
            opened.flush()
            os.fsync(opened.fileno())
        beside.replace(file)


def replace_text(path: Path, text: str) -> None:
    """Write the file as a whole: a reader finds the old one or the new one."""
    with whole(path) as file:
        file.write(text.encode())


def replace_json(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Write JSON, a line break behind it, in one step; names in it can be read back as they are (`kt.names`)."""
    replace_text(path, json_text(value, indent=indent) + "\n")


def save_array(file: Path, array: Any) -> None:
    """Write a NumPy array as `.npy`; np.save does not say of a full disk that it is full."""
    import numpy as np  # here, since the command line comes by without it

    plain = np.ascontiguousarray(array)
    with _named(file), file.open("wb") as opened:
        np.lib.format.write_array_header_2_0(opened, np.lib.format.header_data_from_array_1_0(plain))
        opened.write(plain.data)


def sync(folder: Path) -> None:
    """Everything in a folder to the disk, so that after a power cut it is whole or absent."""
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            if hasattr(os, "O_DIRECTORY"):  # elsewhere, such as on Windows, a folder can't be opened
                _sync(os.open(path, os.O_RDONLY))
        else:
            with path.open("rb+") as file:  # Windows syncs only what was opened to be written
                os.fsync(file.fileno())


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> Any:
    """What a JSON file of another's holds; numbers that are none, such as NaN, are None.

    Raises FileNotFoundError, OSError where it can't be read, and ValueError with the reason for what is no JSON, very
    large, nested very deeply, or no file at all.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ValueError("it is no file")
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES:,} bytes")
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
