"""Opens what an export made and asks it; phone and server files with TensorFlow only, where neither Keras nor kt is."""

import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kt import litert
from kt.data.values import ValueRange
from kt.errors import KtError, ReleaseError
from kt.export import runtimes
from kt.export.labels import LABELS, from_text
from kt.export.runtimes import check_shape
from kt.export.value_range import kept
from kt.export.versions import versions
from kt.files import check_openable
from kt.plain import as_plain

Pixels = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]

_FILES = (".tflite", ".onnx", ".keras")
_BATCH = 64
_THREADS = 2
_PREFERRED = ("*_float32.tflite", "*_float16.tflite", "*_int8.tflite", "*.tflite", "*.onnx", "*_openvino", "*.keras")


class Artifact(Protocol):
    """An exported model: `classes` in the order of the scores, `image_size` as height and width in pixels.

    value_range: by which pictures of more than 8 bits are read for it, unless they tell one themselves.
    """

    path: Path
    classes: tuple[str, ...]
    image_size: tuple[int, int]
    value_range: ValueRange | None

    def scores(self, pixels: Pixels) -> Scores:
        """Scores float32 `[N, C]` of pixels uint8 `[N, H, W, 3]`, which must have `image_size`."""
        ...


def open_artifact(path: Path, *, threads: int = _THREADS) -> Artifact:
    """Open a `.tflite`, `.onnx` or `.keras` file, an OpenVINO folder, a SavedModel, or a folder with some of them.

    That is a version folder, or a recipe's folder (its highest version); of several a SavedModel comes first, then
    TFLite. threads: that a TFLite file may take. Raises ReleaseError that lists what there is, EnvironmentProblem where
    a library is missing.
    """
    found = find_artifact(path)
    try:
        return _open(found, threads=threads)
    except KtError:
        raise
    except Exception as error:  # noqa: BLE001 - TensorFlow raises nearly anything on a damaged file
        raise ReleaseError(f"{found} cannot be opened; it may be damaged, export again. ({_one_line(error)})") from None


def _open(path: Path, *, threads: int) -> Artifact:
    if path.suffix == ".tflite":
        return TFLiteArtifact(path, threads=threads)
    if path.suffix == ".onnx":
        return runtimes.open_onnx(path)
    if path.suffix == ".keras":
        return runtimes.open_keras(path)
    return runtimes.open_openvino(path) if (path / "model.xml").is_file() else SavedModelArtifact(path)


def can_open(path: Path) -> bool:
    """Whether kt can run such an artefact, and so check it."""
    return path.is_dir() or path.suffix in _FILES


def find_artifact(path: Path) -> Path:
    """The file or folder that `open_artifact` opens; raises ReleaseError that lists what there is."""
    check_openable(path)
    if path.is_file() and path.suffix in _FILES:
        return path
    if path.is_file() and path.name == "model.xml":
        return path.parent
    if not path.is_dir():
        raise ReleaseError(
            f"{path} is no exported model ({', '.join(_FILES)}, OpenVINO, SavedModel). {_what_is_near(path)}"
        )
    if (path / "saved_model.pb").is_file() or (path / "model.xml").is_file():
        return path
    for pattern in _PREFERRED:
        if files := sorted(path.glob(pattern)):
            return files[0]
    if there := versions(path):
        return find_artifact(path / str(there[-1]))
    raise ReleaseError(f"{path} holds no exported model and no version of one. {_what_is_near(path)}")


def _what_is_near(path: Path) -> str:
    folder = next(parent for parent in (path, *path.absolute().parents) if parent.is_dir())
    names = sorted(item.name for item in folder.iterdir() if not item.name.startswith("."))
    listed = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return f"In {folder} there is: {listed or 'nothing'}."


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


class SavedModelArtifact:
    """A SavedModel with kt's two signatures. Safe to call from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with as_plain(path) as plain:
            self._loaded = tf.saved_model.load(str(plain))  # kept: its functions die with it
        self._from_pixels = self._signature("pixels")
        shape = self._from_pixels.structured_input_signature[1]["pixels"].shape
        self.image_size: tuple[int, int] = (int(shape[1]), int(shape[2]))
        labels = path / "assets" / LABELS
        self.classes = from_text(labels.read_bytes()) if labels.is_file() else ()
        self.value_range = kept(path)

    def _signature(self, name: str) -> Any:
        if name not in self._loaded.signatures:
            there = ", ".join(self._loaded.signatures) or "none"
            raise ReleaseError(f"{self.path} has no signature {name!r}; it has: {there}.")
        return self._loaded.signatures[name]

    def scores(self, pixels: Pixels) -> Scores:
        """Scores float32 `[N, C]` of pixels uint8 `[N, H, W, 3]`."""
        check_shape(pixels, self.image_size)
        return _batched(lambda batch: self._from_pixels(pixels=tf.constant(batch)), pixels, width=len(self.classes))

    def answer(self, encoded: Sequence[bytes]) -> Scores:
        """Scores float32 `[N, C]` of encoded pictures, decoded and resized inside the model (`serving_default`)."""
        signature = self._signature("serving_default")
        return _batched(lambda batch: signature(image_bytes=tf.constant(batch)), encoded, width=len(self.classes))


def _batched(ask: Any, items: Any, *, width: int) -> Scores:
    parts = [ask(items[start : start + _BATCH])["scores"].numpy() for start in range(0, len(items), _BATCH)]
    return np.concatenate(parts) if parts else np.zeros((0, width), np.float32)


class TFLiteArtifact:
    """A TFLite file, run image by image as a phone does (batches are no faster on XNNPACK). Safe to call from threads.

    Float and quantised inputs are fed with the raw pixel values; quantised outputs come back as real numbers.
    """

    def __init__(self, path: Path, *, threads: int = _THREADS) -> None:
        self.path = path
        self._interpreter = litert.interpreter(path, threads=threads)
        self._lock = threading.Lock()
        (self._input,), (self._output,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        shape = tuple(int(side) for side in self._input["shape"])
        if len(shape) != 4 or shape[0] != 1 or shape[3] != 3:
            raise ReleaseError(f"{path} takes {list(shape)}; kt runs models that take one picture, [1, H, W, 3].")
        self.image_size: tuple[int, int] = (shape[1], shape[2])
        self.classes = _embedded_labels(path)
        self.value_range = kept(path)

    def scores(self, pixels: Pixels) -> Scores:
        """Scores float32 `[N, C]` of pixels uint8 `[N, H, W, 3]`."""
        check_shape(pixels, self.image_size)
        with self._lock:
            parts = [self._score(image[None]) for image in pixels]
        return np.concatenate(parts) if parts else np.zeros((0, len(self.classes)), np.float32)

    def _score(self, image: Pixels) -> Scores:
        self._interpreter.set_tensor(self._input["index"], _quantised(image, self._input))
        self._interpreter.invoke()
        return _real(self._interpreter.get_tensor(self._output["index"]), self._output)


def _embedded_labels(path: Path) -> tuple[str, ...]:
    """The labels in the zip at the file's end; none for a file that kt did not make."""
    try:
        with zipfile.ZipFile(path) as archive:
            return from_text(archive.read(LABELS))
    except (zipfile.BadZipFile, KeyError):
        return ()


def _quantised(image: Pixels, details: Any) -> npt.NDArray[Any]:
    dtype, (scale, zero) = details["dtype"], details["quantization"]
    if dtype == np.float32 or scale == 0:
        return image.astype(dtype)
    limits = np.iinfo(dtype)
    quantised: npt.NDArray[Any] = np.clip(np.round(image / scale) + zero, limits.min, limits.max).astype(dtype)
    return quantised


def _real(values: npt.NDArray[Any], details: Any) -> Scores:
    scale, zero = details["quantization"]
    if values.dtype == np.float32 or scale == 0:
        return values.astype(np.float32)
    real: Scores = ((values.astype(np.float32) - zero) * scale).astype(np.float32)
    return real
