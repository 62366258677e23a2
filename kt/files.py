"""Files that a reader never meets half written."""

import os
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Write beside the file, then move over it in one step."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)  # a disk that is full leaves no part of it
