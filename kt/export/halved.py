"""float16: the float32 model with its constants in half precision, for phones and LiteRT's GPU delegates."""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from kt.litert.operators import beside_the_first

_DEQUANTIZE, _FROM_HALF = schema.BuiltinOperator.DEQUANTIZE, 3
_FLOAT32, _FLOAT16 = schema.TensorType.FLOAT32, schema.TensorType.FLOAT16
_LARGEST = float(np.finfo(np.float16).max)
_MAY_REDUCE, _HOW = b"reduced_precision_support", b"fp16accfp32"
"""The metadata entry that allows a delegate to compute in half precision too, with sums in single precision."""


def halved(content: bytes, *, beside_scores: bool = False) -> bytes:
    """A float32 TFLite model with every float constant in float16, each followed by an operator that makes it float32.

    TensorFlow's converter gives the same for `supported_types=[tf.float16]`, but would convert the model again. A
    single number that half precision would lose stays. beside_scores: only constants that the first output does not
    need, in a model that is not float32 otherwise; then delegates compute as they did.
    """
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    constants = [
        (graph, index, tensor)
        for graph in model.subgraphs
        for index, tensor in enumerate(graph.tensors)
        if tensor.type == _FLOAT32 and _data(model, tensor) and not _is_lost(model, tensor)
    ]
    if beside_scores:
        constants = [item for item in constants if item[1] in _used_beside(item[0])]
    if not constants:
        return content
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
    if not beside_scores:
        model.metadata = [*(model.metadata or ()), schema.MetadataT(_MAY_REDUCE, len(model.buffers))]
        model.buffers.append(schema.BufferT(np.frombuffer(_HOW, np.uint8)))
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def _used_beside(graph: Any) -> set[int]:
    """The tensors that are used by no operator but those that the first output does not need."""
    beside = {id(operator) for operator in beside_the_first(graph)}
    used = {kind: set() for kind in (True, False)}  # type: dict[bool, set[int]]
    for operator in graph.operators:
        used[id(operator) in beside] |= {int(index) for index in operator.inputs}
    return used[True] - used[False]


def _is_lost(model: Any, tensor: Any) -> bool:
    """Whether a constant is a single number that is 0 in half precision, and is not 0."""
    values = np.frombuffer(_data(model, tensor), "<f4")
    return values.size == 1 and values[0] != 0 and values.astype("<f2")[0] == 0


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
