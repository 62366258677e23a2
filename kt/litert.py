"""LiteRT, which TensorFlow brings: how a Keras model becomes a TFLite file, and how such a file is opened."""

import mmap
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from kt.console import quiet, unwarned
from kt.traced import traced

SIGNATURE = "serving_default"


def converted(
    model: Any, *, batch_size: int, takes: str, gives: Sequence[str], optimizations: Sequence[Any] = ()
) -> bytes:
    """A Keras model of one input as a TFLite file, in inference mode, for batches of exactly this size.

    takes: the name of the input. gives: the names of the outputs, in the model's order. Both are those of the file's
    signature "serving_default". optimizations: of `tf.lite.Optimize`; none for float32. Needs Keras on TensorFlow.
    """
    function, _ = traced(model, batch_size=batch_size, takes=takes, gives=gives)
    # With the model in place of its function, the converter would first write a SavedModel and load it again, which
    # takes longer than all the rest.
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], function)
    converter.optimizations = list(optimizations)
    return _with_signature(converter.convert(), takes=takes, gives=sorted(gives))


def _with_signature(content: bytes, *, takes: str, gives: Sequence[str]) -> bytes:
    """The model with names for what it takes and gives; of a function, the converter leaves them out."""
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    graph = model.subgraphs[0]
    if len(graph.inputs) != 1 or len(graph.outputs) != len(gives):
        raise ValueError(f"it has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs")
    signature = schema.SignatureDefT(signatureKey=SIGNATURE, subgraphIndex=0)
    signature.inputs = [schema.TensorMapT(takes, int(graph.inputs[0]))]
    signature.outputs = [schema.TensorMapT(name, int(place)) for name, place in zip(gives, graph.outputs, strict=True)]
    model.signatureDefs = [signature]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def interpreter(model: Path | bytes, *, threads: int, xnnpack: bool = True) -> Any:
    """An interpreter of a TFLite file, or of its content, with its tensors in place.

    ValueError or RuntimeError for a damaged file. xnnpack: whether XNNPACK computes what it can, as is usual.
    """
    if isinstance(model, Path):
        _read_through(model)
    given = {"model_path": str(model)} if isinstance(model, Path) else {"model_content": model}
    kinds = tf.lite.experimental.OpResolverType
    kernels = kinds.AUTO if xnnpack else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    # TensorFlow 2.21 announces that the interpreter moves to another package, and XNNPACK says that it is there.
    with unwarned(r"\s*Warning: tf.lite.Interpreter is deprecated"), quiet():
        opened = tf.lite.Interpreter(**given, num_threads=threads, experimental_op_resolver_type=kernels)
        opened.allocate_tensors()
    return opened


def _read_through(file: Path) -> None:
    """Raise ValueError for a file that is cut short: the interpreter would read on behind its end, and crash."""
    try:
        with file.open("rb") as opened:
            content = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        flatbuffer_utils.convert_bytearray_to_object(content)
    except (struct.error, ValueError, IndexError):
        raise ValueError("it is cut short, or no TFLite model") from None
