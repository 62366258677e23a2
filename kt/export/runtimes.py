"""Opens what ONNX Runtime, OpenVINO and Keras run; each library is loaded only when it is asked for."""

import importlib
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.data.values import ValueRange
from kt.errors import EnvironmentProblem, ReleaseError
from kt.export.labels import LABELS, from_text
from kt.export.value_range import FILE, kept
from kt.extras import install

Pixels = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]

_BATCH = 64
_FIRST_ANSWER = threading.Lock()


class RuntimeArtifact:
    """An exported model that answers batches of pixels uint8 `[N, H, W, 3]`. Safe to call from several threads."""

    def __init__(
        self,
        path: Path,
        *,
        classes: tuple[str, ...],
        image_size: tuple[int, int],
        ask: Callable[[Pixels], Any],
        value_range: ValueRange | None = None,
    ) -> None:
        self.path, self.classes, self.image_size, self._ask = path, classes, image_size, ask
        self.value_range = value_range or kept(path)

    def scores(self, pixels: Pixels) -> Scores:
        """Scores float32 `[N, C]` of pixels uint8 `[N, H, W, 3]`, which must have `image_size`."""
        check_shape(pixels, self.image_size)
        parts = [np.asarray(self._ask(pixels[start : start + _BATCH])) for start in range(0, len(pixels), _BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classes)), np.float32)


def check_shape(pixels: Pixels, size: tuple[int, int]) -> None:
    """Raise ReleaseError unless pixels are uint8 `[N, *size, 3]`."""
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (*size, 3):
        raise ReleaseError(
            f"This model takes pixels uint8 [N, {size[0]}, {size[1]}, 3], not {pixels.dtype} {list(pixels.shape)}."
        )


def open_onnx(path: Path) -> RuntimeArtifact:
    """Open an ONNX file on the processor."""
    runtime = needed("onnxruntime", extra="onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
    (given,), (answer,) = session.get_inputs(), session.get_outputs()
    labels = session.get_modelmeta().custom_metadata_map.get(LABELS, "")
    return RuntimeArtifact(
        path,
        classes=from_text(labels.encode()),
        image_size=_size(path, given.shape),
        ask=lambda pixels: session.run([answer.name], {given.name: pixels})[0],
        value_range=ValueRange.from_json(json.loads(session.get_modelmeta().custom_metadata_map.get(FILE, "null"))),
    )


def open_openvino(path: Path) -> RuntimeArtifact:
    """Open a folder with `model.xml` on the processor.

    Where the processor has bfloat16, OpenVINO would compute in it by default, up to 0.01 away in a score.
    """
    library = openvino_without_telemetry()
    model = library.Core().read_model(str(path / "model.xml"))
    compiled = library.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    shape = [None if side.is_dynamic else side.get_length() for side in model.input().get_partial_shape()]
    labels, size = path / LABELS, _size(path, shape)

    def ask(pixels: Pixels) -> Any:
        # A request of its own for each call: one request answers one thread at a time.
        return compiled.create_infer_request().infer([pixels])[compiled.output()]

    # Before others may ask: two threads whose first answers coincide wait for each other for ever, one with the lock of
    # a static variable of OpenVINO's bindings for Python's (GIL), one the other way round (OpenVINO 2026.4.1).
    with _FIRST_ANSWER:
        ask(np.zeros((1, *size, 3), np.uint8))
    return RuntimeArtifact(
        path, classes=from_text(labels.read_bytes()) if labels.is_file() else (), image_size=size, ask=ask
    )


def open_keras(path: Path) -> RuntimeArtifact:
    """Open a `.keras` file; nothing in it is executed but layers that are known here."""
    import zipfile

    import keras

    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    with zipfile.ZipFile(path) as archive:
        classes = from_text(archive.read(LABELS)) if LABELS in archive.namelist() else ()
    return RuntimeArtifact(
        path,
        classes=classes,
        image_size=_size(path, model.input_shape),
        ask=lambda pixels: keras.ops.convert_to_numpy(model(pixels, training=False)),
    )


def openvino_without_telemetry() -> Any:
    """The openvino package, kept from reporting its use; EnvironmentProblem where it is not installed.

    On import and on conversion its tools report to Google Analytics unless the user opted out, from a process that
    they fork beside TensorFlow's threads. They do without the package that reports if it can't be imported.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return needed("openvino", extra="openvino")


def needed(package: str, *, extra: str) -> Any:
    """A library that is installed on request only; EnvironmentProblem says which extra brings it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise EnvironmentProblem(f"{package} can't be loaded ({error}): {install(extra)}") from None


def _size(path: Path, shape: Any) -> tuple[int, int]:
    if len(shape) != 4 or shape[3] != 3 or not all(isinstance(side, int) for side in shape[1:3]):
        raise ReleaseError(f"{path} takes {list(shape)}; kt runs models that take pictures, [N, H, W, 3].")
    return int(shape[1]), int(shape[2])
