"""Opens what an export made and asks it, with TensorFlow only: what runs here, runs where neither Keras nor kt is."""

import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kt import litert
from kt.errors import ReleaseError
from kt.export.labels import LABELS, from_text
from kt.export.versions import versions

Pixels = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]

_BATCH = 64
_THREADS = 2
_PREFERRED = ("*_float32.tflite", "*_float16.tflite", "*_int8.tflite", "*.tflite")


class Artifact(Protocol):
    """An exported model: `classes` in the order of the scores, `image_size` as height and width in pixels."""

    path: Path
    classes: tuple[str, ...]
    image_size: tuple[int, int]

    def scores(self, pixels: Pixels) -> Scores:
        """Scores float32 `[N, C]` of pixels uint8 `[N, H, W, 3]`, which must have `image_size`."""
        ...


def open_artifact(path: Path) -> "SavedModelArtifact | TFLiteArtifact":
    """Open a `.tflite` file, a SavedModel, a version folder, or a recipe's folder (its highest version).

    A folder with both is opened as a SavedModel. Raises ReleaseError that lists what there is.
    """
    found = find_artifact(path)
    try:
        return SavedModelArtifact(found) if found.is_dir() else TFLiteArtifact(found)
    except ReleaseError:
        raise
    except Exception as error:  # noqa: BLE001 - TensorFlow raises nearly anything on a damaged file
        raise ReleaseError(f"{found} cannot be opened; it may be damaged, export again. ({_one_line(error)})") from None


def find_artifact(path: Path) -> Path:
    """The file or SavedModel folder that `open_artifact` opens; raises ReleaseError that lists what there is."""
    if path.is_file() and path.suffix == ".tflite":
        return path
    if not path.is_dir():
        raise ReleaseError(
            f"{path} is no exported model (a .tflite file or a SavedModel folder). {_what_is_near(path)}"
        )
    if (path / "saved_model.pb").is_file():
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
        self._loaded = tf.saved_model.load(str(path))  # kept: its functions die with it
        self._from_pixels = self._signature("pixels")
        shape = self._from_pixels.structured_input_signature[1]["pixels"].shape
        self.image_size: tuple[int, int] = (int(shape[1]), int(shape[2]))
        labels = path / "assets" / LABELS
        self.classes = from_text(labels.read_bytes()) if labels.is_file() else ()

    def _signature(self, name: str) -> Any:
        if name not in self._loaded.signatures:
            there = ", ".join(self._loaded.signatures) or "none"
            raise ReleaseError(f"{self.path} has no signature {name!r}; it has: {there}.")
        return self._loaded.signatures[name]

    def scores(self, pixels: Pixels) -> Scores:
        """Scores float32 `[N, C]` of pixels uint8 `[N, H, W, 3]`."""
        _check_shape(pixels, self.image_size)
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

    def scores(self, pixels: Pixels) -> Scores:
        """Scores float32 `[N, C]` of pixels uint8 `[N, H, W, 3]`."""
        _check_shape(pixels, self.image_size)
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


def _check_shape(pixels: Pixels, size: tuple[int, int]) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (*size, 3):
        raise ReleaseError(
            f"This model takes pixels uint8 [N, {size[0]}, {size[1]}, 3], not {pixels.dtype} {list(pixels.shape)}."
        )
