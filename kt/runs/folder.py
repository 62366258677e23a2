"""The folder of a run: a new one for each run, and the link to the latest finished one."""

from datetime import datetime
from pathlib import Path

from kt.base.console import shown, warn
from kt.base.files import check_openable
from kt.base.run_folder import LATEST
from kt.base.scratch import clear_below, scratch
from kt.errors import ReleaseError


def new_run(folder: Path) -> Path:
    """A new folder for this run, named by the time."""
    check_openable(folder)
    folder.mkdir(parents=True, exist_ok=True)
    clear_below(folder)  # temporary files and folders of killed runs; the runs themselves stay
    name = datetime.now().strftime("%Y%m%d-%H%M%S")
    for suffix in ["", *(f"-{number}" for number in range(2, 100))]:
        try:
            (folder / f"{name}{suffix}").mkdir()
        except FileExistsError:
            continue
        return folder / f"{name}{suffix}"
    raise ReleaseError(f"Cannot make a folder for this run in {folder}: too many began in this second.")


def mark_latest(out: Path) -> None:
    """Point the link `LATEST` beside the run at it, once the run has finished. Warns where links are not possible."""
    link = out.parent / LATEST
    try:
        with scratch(out.parent, f".{LATEST}-") as beside:
            beside.symlink_to(out.name, target_is_directory=True)
            beside.replace(link)
    except OSError as error:
        warn(f"{shown(link)} does not point to this run ({error.strerror or error}); it is {shown(out)}")
