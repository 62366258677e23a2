"""Files that a reader never meets half written."""

import os
from pathlib import Path
from typing import Any

from kt.errors import EnvironmentProblem
from kt.names import json_text


def check_openable(folder: Path) -> None:
    """Raise EnvironmentProblem for a folder that TensorFlow can't write to or read from; before any work is done."""
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise EnvironmentProblem(
            f"TensorFlow can't open {folder}, for its name is not UTF-8; name another folder, or a link to this one."
        ) from None


def replace_json(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """Write JSON, a line break behind it, in one step; names in it can be read back as they are (`kt.names`)."""
    replace_text(path, json_text(value, indent=indent) + "\n")


def replace_text(path: Path, text: str) -> None:
    """Write beside the file, then move over it in one step."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)  # a disk that is full leaves no part of it
