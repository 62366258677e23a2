"""TFLite files for phones: uint8 pixels in, preprocessing inside, float32 scores out, labels embedded."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.python.schema_py_generated import BuiltinOperator
from tensorflow.lite.tools import flatbuffer_utils

from kt import litert
from kt.errors import ReleaseError
from kt.export.about import About
from kt.export.calibration import calibrated
from kt.export.halved import halved
from kt.export.metadata import embed

Variant = Literal["float32", "float16", "int8"]
VARIANTS: tuple[Variant, ...] = ("float32", "float16", "int8")
CALIBRATION = 100
"""Pictures that int8 is calibrated with, unless told otherwise."""

_POOLING = (BuiltinOperator.MEAN, BuiltinOperator.CONCATENATION, BuiltinOperator.RESHAPE)


class Conversions:
    """What several TFLite files of one model have in common, made once: it in float32, and that calibrated."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._model: Any = None
        self._float32 = b""
        self._calibrated: dict[tuple[Path, int], bytes] = {}

    def float32(self, model: Any) -> bytes:
        """The model in float32; who comes while it is made waits for it."""
        with self._lock:
            if self._model is not model:
                self._float32 = _converted(model)
                self._model = model
                self._calibrated.clear()
            return self._float32

    def calibrated(self, model: Any, representative: Path, *, pictures: int) -> bytes:
        """The same with the ranges of its layers' outputs on the first so many pictures of a `.npy` file."""
        content = self.float32(model)
        if (representative, pictures) not in self._calibrated:
            shown = np.load(representative, mmap_mode="r")[:pictures]
            self._calibrated[representative, pictures] = calibrated(content, (np.asarray(one)[None] for one in shown))
        return self._calibrated[representative, pictures]


@dataclass(frozen=True)
class TFLite:
    """Exporter: writes `directory/<name>_<variant>.tflite`, for one picture a call.

    float16 keeps its weights in half precision. int8 quantises weights (per channel) and activations, calibrated on the
    first `calibration` of `representative`: a `.npy` file of uint8 `[M, H, W, 3]` from the training pictures, classes
    in turn. float_share: of int8's layers, the share from the input on that stays in float32. An early layer's rounding
    goes through all that follow, and an early layer has few weights: 0.35 of MobileNetV2 adds 4% to the file.
    float_head: of int8, the head stays in float32, its pooling too: a linear probe's weights differ by orders of
    magnitude, and pooled features of several depths would have to share one scale. dynamic: int8 quantises weights
    only, and activations are float32 (dynamic range). about: what the file tells of the model, besides the class names.
    conversions: shared with exporters of other variants, so that what they have in common is made once.
    """

    variant: Variant
    classes: tuple[str, ...]
    name: str
    representative: Path | None = None
    calibration: int = CALIBRATION
    float_share: float = 0.0
    float_head: bool = False
    dynamic: bool = False
    about: About = field(default_factory=About)
    conversions: Conversions = field(default_factory=Conversions, compare=False, repr=False)

    def __call__(self, model: Any, directory: Path) -> Path:
        """Write the file for a model of uint8 `[N, H, W, 3]` to scores `[N, C]` and give its path."""
        content = self._content(model)
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self.name}_{self.variant}.tflite"
        size = tuple(model.input_shape[1:3])
        path.write_bytes(embed(content, name=self.name, classes=self.classes, image_size=size, about=self.about))
        return path

    def _content(self, model: Any) -> bytes:
        if self.variant == "float32":
            return self.conversions.float32(model)
        if self.variant == "int8" and not self.dynamic:
            if self.representative is None:
                raise ReleaseError(
                    "int8 needs representative training pictures (.npy, uint8 [M, H, W, 3]); none were given."
                )
            known = self.conversions.calibrated(model, self.representative, pictures=self.calibration)
            return _quantised(known, self.float_share, head=self.float_head)
        if self.variant == "float16":
            return halved(self.conversions.float32(model))
        return _converted(model, tf.lite.Optimize.DEFAULT)


def _converted(model: Any, *optimizations: Any) -> bytes:
    return litert.converted(model, batch_size=1, takes="pixels", gives=["scores"], optimizations=optimizations)


def _quantised(calibrated_model: bytes, share: float, *, head: bool) -> bytes:
    """All layers in int8 but the first `share` of the operators, and maybe the head.

    TensorFlow 2.21 offers this in public only through its QuantizationDebugger, which runs a model of its own first.
    """
    content = flatbuffer_utils.convert_bytearray_to_object(calibrated_model)
    graph = content.subgraphs[0]
    kept = [*graph.operators[: round(share * len(graph.operators))], *(_head(content) if head else [])]
    names = [graph.tensors[index].name.decode() for operator in kept for index in operator.outputs]
    quantised: bytes = mlir_quantize(calibrated_model, denylisted_nodes=names or None)
    return quantised


def _head(content: Any) -> list[Any]:
    """The operators of the head: from the last dense layer on, and the pooling and joining that lead to it."""
    graph = content.subgraphs[0]
    kind = {id(one): content.operatorCodes[one.opcodeIndex].builtinCode for one in graph.operators}
    maker = {index: one for one in graph.operators for index in one.outputs}
    dense = [place for place, one in enumerate(graph.operators) if kind[id(one)] == BuiltinOperator.FULLY_CONNECTED]
    if not dense:
        return []
    found = list(graph.operators[dense[-1] :])
    waiting = list(found[0].inputs)
    while waiting:
        one = maker.get(waiting.pop())
        if one is not None and kind[id(one)] in _POOLING:
            found.append(one)
            waiting += list(one.inputs)
    return found
