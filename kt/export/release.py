"""Puts what passed the gate into `saved_models/<name>/<version>/`: the whole version at once, or nothing."""

import errno
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kt.console import warn
from kt.errors import EnvironmentProblem, KtError, one_line
from kt.export import tensorflow_serving
from kt.export.job import ArtifactResult
from kt.export.lock import changing
from kt.files import replace_json, sync
from kt.scratch import scratch

_PARTIAL = ".partial-"


def release(
    results: Sequence[ArtifactResult],
    *,
    name: str,
    saved_models: Path,
    card: dict[str, Any],
    before: Callable[[Path], object] = lambda _: None,
) -> Path | None:
    """Copy the released artefacts into the next version and give its folder, or None if none was released.

    The SavedModel's content lies at the version's root, where TensorFlow Serving looks; other artefacts lie beside it,
    and `kt.json` holds `card` with the results under "artifacts" (refused ones too, with the reason). It is written
    beside and renamed, so a crash leaves no half version. The files for TensorFlow Serving in `saved_models` follow.

    before: called with the folder that the version becomes next, when all but the renaming is done; called again in the
    rare case that another run took that number. What it raises takes the release back. Raises EnvironmentProblem when
    the version cannot be written.
    """
    released = [result for result in results if result.released]
    if not released:
        return None
    folder = saved_models / name
    with _disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with scratch(folder, _PARTIAL) as partial:
        with _disk_errors(folder):
            _fill(partial, released)
            replace_json(partial / "kt.json", {**card, "artifacts": [_as_released(result) for result in results]})
        version = _renamed(partial, before)
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
        raise EnvironmentProblem(f"Cannot release into {folder}: {what}. Nothing was left there.") from None


def _fill(partial: Path, released: Sequence[ArtifactResult]) -> None:
    partial.mkdir()
    for result in released:
        _copy(result.path, place(partial, result))


def _copy(source: Path, target: Path) -> None:
    """A file or a folder. What goes wrong is told as it is: shutil.copytree gathers errors and loses their kinds."""
    if not source.is_dir():
        shutil.copyfile(source, target)
        return
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        _copy(path, target / path.name)


def place(folder: Path, result: ArtifactResult) -> Path:
    """Where a released artefact lies in its version folder: the SavedModel is the folder itself."""
    return folder if result.format == "saved_model" else folder / result.path.name


def _as_released(result: ArtifactResult) -> dict[str, Any]:
    """The result with its path as seen from the version folder; a refused artefact has none there."""
    inside = str(place(Path(), result)) if result.released else None
    return {**result.as_json(), "path": inside}


def _renamed(partial: Path, before: Callable[[Path], object]) -> Path:
    """Take the lowest integer above all versions; a run that takes it first sends this one to the next.

    The phone files are told their number before it is theirs: what is visible as a version never changes.
    """
    folder = partial.parent
    while True:
        with _disk_errors(folder):
            taken = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
            version = folder / str(max(taken, default=0) + 1)
            _stamp(partial, int(version.name))
            sync(partial)
        before(version)
        with _disk_errors(folder):
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
