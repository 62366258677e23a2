"""The exported model that a verb's MODEL names: of a run, its own export."""

from pathlib import Path

from kt.base.run_folder import ARTIFACTS
from kt.errors import ReleaseError
from kt.runs.listing import is_run


def exported(model: Path) -> Path:
    """The path itself, or for a run its export, the SavedModel first. Raises ReleaseError if a run exported nothing."""
    if not is_run(model.resolve()):
        return model
    from kt.export.formats import FORMATS

    folder = model / ARTIFACTS
    for kind in FORMATS if folder.is_dir() else ():
        for path in kind.found_in(folder):
            return path
    raise ReleaseError(f"{model} has exported nothing that could be asked; kt export {model} does.")
