"""float16: the float32 model with its constants in half precision, for phones and LiteRT's GPU delegates."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

_DEQUANTIZE, _FROM_HALF = schema.BuiltinOperator.DEQUANTIZE, 3
_FLOAT32, _FLOAT16 = schema.TensorType.FLOAT32, schema.TensorType.FLOAT16
_LARGEST = float(np.finfo(np.float16).max)
_MAY_REDUCE, _HOW = b"reduced_precision_support", b"fp16accfp32"
"""The metadata entry that allows a delegate to compute in half precision too, with sums in single precision."""


def halved(content: bytes) -> bytes:
    """A float32 TFLite model with every float constant in float16, each followed by an operator that makes it float32.

    TensorFlow's converter gives the same for `supported_types=[tf.float16]`, but would convert the model again.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    constants = [
        (graph, index, tensor)
        for graph in model.subgraphs
        for index, tensor in enumerate(graph.tensors)
        if tensor.type == _FLOAT32 and _data(model, tensor)
    ]
    others = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors if tensor.type != _FLOAT32}
    halves: dict[int, int] = {}
    for _, _, tensor in constants:
        if tensor.buffer not in halves:  # several tensors may share one buffer
            halves[tensor.buffer] = _halve(model, tensor, in_place=tensor.buffer not in others)
    code = len(model.operatorCodes)
    model.operatorCodes.append(schema.OperatorCodeT(_DEQUANTIZE, version=_FROM_HALF, builtinCode=_DEQUANTIZE))
    for graph, index, tensor in reversed(constants):
        half = schema.TensorT(tensor.shape, _FLOAT16, halves[tensor.buffer], tensor.name + b"_half", hasRank=True)
        tensor.buffer = 0  # the tensor has no constant now; the operator computes it
        graph.operators.insert(0, schema.OperatorT(code, [len(graph.tensors)], [index]))
        graph.tensors.append(half)
    model.metadata = [*(model.metadata or ()), schema.MetadataT(_MAY_REDUCE, len(model.buffers))]
    model.buffers.append(schema.BufferT(np.frombuffer(_HOW, np.uint8)))
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _data(model: Any, tensor: Any) -> bytes:
    data = model.buffers[tensor.buffer].data
    return b"" if data is None else bytes(data)


def _halve(model: Any, tensor: Any, *, in_place: bool) -> int:
    """The number of the buffer that holds the tensor's values in half precision."""
    values = np.frombuffer(_data(model, tensor), "<f4").clip(-_LARGEST, _LARGEST).astype("<f2")
    data = np.frombuffer(values.tobytes(), np.uint8)
    if in_place:
        model.buffers[tensor.buffer].data = data
        return int(tensor.buffer)
    model.buffers.append(schema.BufferT(data))
    return len(model.buffers) - 1
