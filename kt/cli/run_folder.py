"""The folder of a run: made anew for each, pointed at when it is finished, read for a script."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from kt.errors import ReleaseError
from kt.files import check_openable


def read_json(file: Path) -> Any:
    """What a JSON file of a run says."""
    return json.loads(file.read_text(encoding="utf-8"))


def new_run(folder: Path) -> Path:
    """A folder of its own for this run, named by the time."""
    check_openable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = datetime.now().strftime("%Y%m%d-%H%M%S")
    for suffix in ["", *(f"-{number}" for number in range(2, 100))]:
        try:
            (folder / f"{name}{suffix}").mkdir()
        except FileExistsError:
            continue
        return folder / f"{name}{suffix}"
    raise ReleaseError(f"Cannot make a folder for this run in {folder}: too many began in this second.")


def mark_latest(out: Path) -> None:
    """Point `LATEST` beside the run at it; a finished run only."""
    link = out.parent / "LATEST"
    beside = out.parent / f".LATEST-{out.name}"
    beside.symlink_to(out.name)
    beside.replace(link)
