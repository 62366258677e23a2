"""Opens a model to be explained: with gradients where it is a Keras model, else by its scores alone."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kt.errors import DataError, ReleaseError, one_line
from kt.explain.maps import Ask, Map, Method, Pixels, explained, occlusion
from kt.explain.network import Explainable, asking
from kt.export.artifact import find_artifact, open_artifact
from kt.export.asides import kind_of_artifact
from kt.export.formats.keras_file import KerasFile
from kt.export.labels import LABELS, from_text
from kt.kinds.pictures.kind import Pictures

GRADIENTS: tuple[Method, ...] = ("grad_cam", "layer_cam")


@dataclass(frozen=True, eq=False)
class ModelToExplain:
    """A model of pictures that can be explained.

    path: the file or folder that was opened. network: None where there are no gradients; why_not says then why, in one
    line. ask: gives scores.
    """

    path: Path
    kind: Pictures
    classes: tuple[str, ...]
    ask: Ask
    network: Explainable | None = None
    why_not: str = ""

    def method(self, wanted: Method | None) -> Method:
        """The method to use: the wanted one, or by default LayerCAM where there are gradients, else occlusion.

        Raises ReleaseError for a method that needs gradients where there are none.
        """
        if wanted in GRADIENTS and self.network is None:
            raise ReleaseError(f"{self.path} can't be explained by {wanted}: {self.why_not} Take --method occlusion.")
        return wanted or ("grad_cam" if self.network is not None else "occlusion")

    def maps(self, pixels: Pixels, *, method: Method, labels: Sequence[int] | None = None) -> list[Map]:
        """The maps of pictures uint8 `[N, H, W, 3]`, for these classes or for the best of each picture."""
        if self.network is None or method == "occlusion":
            return occlusion(self.ask, pixels, labels)
        return explained(self.network, pixels, labels, method=method)


def open_model(path: Path, *, classes: Sequence[str] = ()) -> ModelToExplain:
    """Open a `.keras` file, a SavedModel, a `.tflite` file, any other artefact, or a folder of a release.

    In a folder of a release, a `.keras` file goes before the rest, because it alone has gradients. classes: the names,
    for a file that carries none. Raises ReleaseError if there is no such model, and DataError for a model of rows.
    """
    file = _found(path)
    if KerasFile().opens(file):
        return _of_keras(file, classes)
    artifact: Any = open_artifact(file)
    kind = _pictures(artifact.kind, file)
    names = _names(artifact.classes or tuple(classes), file)
    return ModelToExplain(file, kind, names, artifact.scores, why_not="only a .keras file gives gradients.")


def _found(path: Path) -> Path:
    form = KerasFile()
    if form.opens(path):
        return path
    file = find_artifact(path)
    beside = file if file.is_dir() else file.parent
    if path.is_dir() and (own := form.found_in(beside)):
        return own[0]
    return file


def _of_keras(file: Path, classes: Sequence[str]) -> ModelToExplain:
    import keras

    try:
        model = keras.saving.load_model(file, compile=False, safe_mode=True)
        with zipfile.ZipFile(file) as archive:
            own = from_text(archive.read(LABELS)) if LABELS in archive.namelist() else ()
    except Exception as error:  # noqa: BLE001 - Keras raises nearly anything on a damaged file
        why = one_line(error)[:200]
        raise ReleaseError(f"{file} cannot be opened; it may be damaged, export again. ({why})") from None
    kind = _pictures(kind_of_artifact(file, model.input_shape, str(model.inputs[0].dtype)), file)
    ask, names = asking(model), _names(own or tuple(classes), file)
    try:
        return ModelToExplain(file, kind, names, ask, Explainable(model))
    except ReleaseError as error:
        return ModelToExplain(file, kind, names, ask, why_not=str(error))


def _pictures(kind: Any, file: Path) -> Pictures:
    if not isinstance(kind, Pictures):
        raise DataError(f"{file} is a model of {kind.many}; kt explain is for models of pictures only.")
    return kind


def _names(classes: tuple[str, ...], file: Path) -> tuple[str, ...]:
    if not classes:
        raise ReleaseError(f"{file} carries no class names; export it with kt, which puts them in.")
    return classes


def index_of(classes: Sequence[str], name: str) -> int:
    """The index of a class by its name. Raises DataError for an unknown one."""
    if name not in classes:
        known = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
        raise DataError(f"The model has no class {name!r}; it has: {known}.")
    return list(classes).index(name)
