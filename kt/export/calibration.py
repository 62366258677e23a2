"""Calibration for int8: the range of each layer's output on pictures, measured and written into the model."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.schema_py_generated import QuantizationParametersT, TensorType
from ai_edge_litert.tools import flatbuffer_utils

from kt.base.environment import cores
from kt.litert import interpreter


def calibrated(content: bytes, pictures: Iterable[npt.NDArray[np.uint8]]) -> bytes:
    """The float32 TFLite model with the lowest and the highest value of each layer's output on pictures `[1, H, W, 3]`.

    TensorFlow 2.21's own calibrator measures the same, but on one core, without XNNPACK, and while it holds Python's
    global lock (GIL): it takes twelve times as long for MobileNetV2.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    lowest, highest = _ranges(model, pictures)
    for index, low in lowest.items():
        parameters = QuantizationParametersT()
        parameters.min, parameters.max = [low], [highest[index]]
        model.subgraphs[0].tensors[index].quantization = parameters
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _ranges(model: Any, pictures: Iterable[npt.NDArray[np.uint8]]) -> tuple[dict[int, float], dict[int, float]]:
    """The lowest and the highest value of each tensor, by the tensor's number."""
    open_model = _with_every_output(model)
    opened = interpreter.opened(open_model, threads=cores())
    (given,) = opened.get_input_details()
    made = [details["index"] for details in opened.get_output_details() if details["dtype"] == np.float32]
    lowest = dict.fromkeys(made, np.inf)
    highest = dict.fromkeys(made, -np.inf)
    for picture in pictures:
        opened.set_tensor(given["index"], picture)
        opened.invoke()
        for index in made:
            values = opened.tensor(index)()  # a view: it must be gone before the next picture
            lowest[index] = min(lowest[index], float(values.min()))
            highest[index] = max(highest[index], float(values.max()))
            del values
    finite = [index for index in made if np.isfinite(lowest[index]) and np.isfinite(highest[index])]
    return {index: lowest[index] for index in finite}, {index: highest[index] for index in finite}


def _with_every_output(model: Any) -> bytes:
    """The model with every layer's output among its own outputs, so that all of them can be read."""
    graph = model.subgraphs[0]
    made = {int(index) for operator in graph.operators for index in operator.outputs if index >= 0}
    floats = {index for index in made if graph.tensors[index].type == TensorType.FLOAT32}
    own, signatures = graph.outputs, model.signatureDefs
    graph.outputs, model.signatureDefs = sorted(floats), None
    try:
        return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
    finally:
        graph.outputs, model.signatureDefs = own, signatures
