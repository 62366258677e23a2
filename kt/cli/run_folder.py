"""The folder of a run: made anew for each, pointed at when it is finished, read for a script."""

import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from kt.console import shown, warn
from kt.errors import ReleaseError
from kt.files import check_openable
from kt.scratch import WORK, clear


def read_json(file: Path) -> Any:
    """What a JSON file of a run says."""
    return json.loads(file.read_text(encoding="utf-8"))


def new_run(folder: Path) -> Path:
    """A folder of its own for this run, named by the time."""
    check_openable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for run in folder.iterdir():
        clear(run, WORK)  # what a killed run left there; the run itself stays
    name = datetime.now().strftime("%Y%m%d-%H%M%S")
    for suffix in ["", *(f"-{number}" for number in range(2, 100))]:
        try:
            (folder / f"{name}{suffix}").mkdir()
        except FileExistsError:
            continue
        return folder / f"{name}{suffix}"
    raise ReleaseError(f"Cannot make a folder for this run in {folder}: too many began in this second.")


def mark_latest(out: Path) -> None:
    """Point `LATEST` beside the run at it; a finished run only. A file system without links does without."""
    link = out.parent / "LATEST"
    beside = out.parent / f".LATEST-{out.name}"
    try:
        beside.symlink_to(out.name, target_is_directory=True)
        beside.replace(link)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        warn(f"{shown(link)} does not point to this run ({error.strerror or error}); it is {shown(out)}")
