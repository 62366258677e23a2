"""Converting a Keras model to a TFLite file: all code that needs TensorFlow's converter.

LiteRT's own package, `ai_edge_litert`, reads and writes the files' content and measures ranges for int8, but it neither
converts a Keras model nor quantises one. TensorFlow 2.21 does both.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from tensorflow.lite.python.convert import mlir_quantize

from kt.graph.traced import traced

SIGNATURE = "serving_default"


def converted(
    model: Any,
    *,
    batch_size: int,
    takes: str,
    gives: Sequence[str],
    by: Callable[[Any], dict[str, Any]] | None = None,
    dynamic_range: bool = False,
) -> bytes:
    """A Keras model of one input as a TFLite file, in inference mode, for batches of exactly this size.

    takes: the name of the input. gives: the names of the outputs, in the model's order. Both are those of the file's
    signature "serving_default"; the file's own outputs are in the order of the alphabet. by: the function of examples
    to these outputs, by the model's layers; unless given, the model itself. dynamic_range: keep the weights in int8,
    and compute in float32. Needs Keras on TensorFlow.
    """
    function, _ = traced(model, batch_size=batch_size, takes=takes, gives=gives, by=by)
    # Given the model itself, the converter would first write a SavedModel and load it again, which takes longer than
    # everything else.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], function)
    converter.optimizations = [tf.lite.Optimize.DEFAULT] if dynamic_range else []
    return _with_signature(converter.convert(), takes=takes, gives=sorted(gives))


def quantised(calibrated: bytes, *, in_float: Sequence[str]) -> bytes:
    """A calibrated TFLite model, which knows the ranges of its layers' outputs, quantised to int8.

    in_float: the names of outputs whose layers stay in float32. It calls a private function of TensorFlow 2.21, whose
    public API offers this only through QuantizationDebugger, which runs its own model first.
    """
    content: bytes = mlir_quantize(calibrated, denylisted_nodes=list(in_float) or None)
    return content


def _with_signature(content: bytes, *, takes: str, gives: Sequence[str]) -> bytes:
    """The model with names for its inputs and outputs, which the converter drops when it converts a function."""
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    graph = model.subgraphs[0]
    if len(graph.inputs) != 1 or len(graph.outputs) != len(gives):
        raise ValueError(f"it has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs")
    signature = schema.SignatureDefT(signatureKey=SIGNATURE, subgraphIndex=0)
    signature.inputs = [schema.TensorMapT(takes, int(graph.inputs[0]))]
    signature.outputs = [schema.TensorMapT(name, int(place)) for name, place in zip(gives, graph.outputs, strict=True)]
    model.signatureDefs = [signature]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))
