"""Puts artefacts that passed the gate into `saved_models/<name>/<version>/`: the whole version at once, or nothing."""

import errno
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kt.base.console import warn
from kt.base.files import replace_json, replace_text, sync
from kt.base.scratch import scratch
from kt.errors import EnvironmentProblem, KtError, one_line
from kt.export import formats
from kt.export.job import ArtifactResult
from kt.releases import tensorflow_serving
from kt.releases.lock import changing

_PARTIAL = ".partial-"


def release(
    results: Sequence[ArtifactResult],
    *,
    name: str,
    saved_models: Path,
    card: dict[str, Any],
    before: Callable[[Path], Mapping[str, str]] = lambda _: {},
) -> Path | None:
    """Copy the released artefacts into the next version and give its folder, or None if none was released.

    The SavedModel's content lies at the version's root, where TensorFlow Serving looks; other artefacts lie beside it,
    and `kt.json` holds `card` with the results under "artifacts" (refused ones too, with the reason). The version is
    written into a temporary folder and renamed, so a crash leaves no half version. The files for TensorFlow Serving in
    `saved_models` are updated afterwards.

    before: called with the version's future folder when everything but the renaming is done; gives further files of the
    version, texts by their names. It is called again in the rare case that another run took that number. If it raises,
    nothing is released. Raises EnvironmentProblem if the version
    cannot be written.
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
    """Name the new version in the files for TensorFlow Serving; a failure here warns, and the release stands."""
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
        _copy(result.path, place_release(partial, result))


def _copy(source: Path, target: Path) -> None:
    """Copy a file or a folder. Not by shutil.copytree, which gathers errors into one and loses their kinds."""
    if not source.is_dir():
        shutil.copyfile(source, target)
        return
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        _copy(path, target / path.name)


def place_release(folder: Path, result: ArtifactResult) -> Path:
    """Where a released artefact lies in its version folder, which is itself the SavedModel."""
    return formats.place(folder, result.path.name, format_name=result.format)


def _as_released(result: ArtifactResult) -> dict[str, Any]:
    """The result with its path as seen from the version folder; a refused artefact has none there."""
    inside = str(place_release(Path(), result)) if result.released else None
    return {**result.as_json(), "path": inside}


def _renamed(partial: Path, before: Callable[[Path], Mapping[str, str]]) -> Path:
    """Rename the folder to the lowest integer above all versions; if another run takes that first, to the next one.

    The phone files get their version number before the renaming, so that a visible version never changes.
    """
    folder = partial.parent
    while True:
        with _disk_errors(folder):
            taken = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()]
            version = folder / str(max(taken, default=0) + 1)
            _stamp(partial, int(version.name))
            sync(partial)
        texts = before(version)
        with _disk_errors(folder):
            for name, text in texts.items():
                replace_text(partial / name, text)
            try:
                partial.rename(version)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
            else:
                return version


def _stamp(folder: Path, version: int) -> None:
    for path in sorted(folder.iterdir()):
        if (kind := formats.format_of(path)) is not None:
            kind.stamp(path, version)
