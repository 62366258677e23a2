"""Puts what passed the gate into `saved_models/<name>/<version>/`: the whole version at once, or nothing."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kt.console import warn
from kt.errors import EnvironmentProblem, KtError, one_line
from kt.export import tensorflow_serving
from kt.export.job import ArtifactResult
from kt.export.lock import changing
from kt.files import replace_json

_PARTIAL = ".partial-"


def release(results: Sequence[ArtifactResult], *, name: str, saved_models: Path, card: dict[str, Any]) -> Path | None:
    """Copy the released artefacts into the next version and give its folder, or None if none was released.

    The SavedModel's content lies at the version's root, where TensorFlow Serving looks; other artefacts lie beside it,
    and `kt.json` holds `card` with the results under "artifacts" (refused ones too, with the reason). It is written
    beside and renamed, so a crash leaves no half version. The files for TensorFlow Serving in `saved_models` follow.
    Raises EnvironmentProblem when it cannot be written.
    """
    released = [result for result in results if result.released]
    if not released:
        return None
    folder = saved_models / name
    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder)
        partial = folder / f"{_PARTIAL}{os.getpid()}-{secrets.token_hex(4)}"
        try:
            _fill(partial, released)
            artifacts = [_as_released(result) for result in results]
            replace_json(partial / "kt.json", {**card, "artifacts": artifacts})
            version = _rename_to_next(partial)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    _tell_servers(saved_models)
    return version


def _tell_servers(saved_models: Path) -> None:
    """Name the new version in the files for TensorFlow Serving; what goes wrong with these takes no release away."""
    try:
        with changing(saved_models):
            for line in tensorflow_serving.left_alone(tensorflow_serving.write_files(saved_models)):
                warn(line)
    except (OSError, KtError) as error:
        warn(f"The files for TensorFlow Serving in {saved_models} are not up to date: {one_line(error)}")


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "the disk is full; free some space" if full else f"{error.strerror or error}; check the folder"
        raise EnvironmentProblem(
            f"Cannot release into {folder}: {what} and run again. Nothing was left there."
        ) from None


def _fill(partial: Path, released: Sequence[ArtifactResult]) -> None:
    partial.mkdir()
    for result in released:
        if result.path.is_dir():
            shutil.copytree(result.path, place(partial, result), dirs_exist_ok=True)
        else:
            shutil.copy(result.path, place(partial, result))


def place(folder: Path, result: ArtifactResult) -> Path:
    """Where a released artefact lies in its version folder: the SavedModel is the folder itself."""
    return folder if result.format == "saved_model" else folder / result.path.name


def _as_released(result: ArtifactResult) -> dict[str, Any]:
    """The result with its path as seen from the version folder; a refused artefact has none there."""
    inside = str(place(Path(), result)) if result.released else None
    return {**result.as_json(), "path": inside}


def _sync(folder: Path) -> None:
    """Everything to the disk, so that after a power cut a version is whole or absent."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _rename_to_next(partial: Path) -> Path:
    """Take the lowest integer above all versions; a run that takes it first sends this one to the next.

    The phone files are told their number before it is theirs: what is visible as a version never changes.
    """
    folder = partial.parent
    while True:
        taken = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
        version = folder / str(max(taken, default=0) + 1)
        _stamp(partial, int(version.name))
        _sync(partial)
        try:
            partial.rename(version)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        else:
            return version


def _stamp(folder: Path, version: int) -> None:
    if files := sorted(folder.glob("*.tflite")):
        from kt.export.metadata import stamp  # TensorFlow, which a release without phone files does without

        for file in files:
            stamp(file, version)


def _remove_stale(folder: Path) -> None:
    """Clear what crashed runs left behind; a run that is still at work keeps its own."""
    for path in folder.glob(f"{_PARTIAL}*"):
        process = path.name.removeprefix(_PARTIAL).partition("-")[0]
        if process.isdecimal() and not _is_running(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, as another user
        pass
    return True
