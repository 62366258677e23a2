"""LiteRT, which TensorFlow brings: how a Keras model becomes a TFLite file, and how such a file is opened."""

import mmap
import os
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.lite.tools import flatbuffer_utils

from kt.console import quiet
from kt.traced import traced


def converter(model: Any, *, batch_size: int, takes: str, gives: Sequence[str]) -> Any:
    """A TFLite converter for a Keras model of one input, in inference mode, for batches of exactly this size.

    takes: the name of the input. gives: the names of the outputs, in the model's order. Needs Keras on TensorFlow.
    """
    function, module = traced(model, batch_size=batch_size, takes=takes, gives=gives)
    return tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module)


def interpreter(model: Path | bytes, *, threads: int, xnnpack: bool = True) -> Any:
    """An interpreter of a TFLite file, or of its content, with its tensors in place.

    ValueError or RuntimeError for a damaged file. xnnpack: whether XNNPACK computes what it can, as is usual.
    """
    if isinstance(model, Path):
        _read_through(model)
    given = {"model_path": str(model)} if isinstance(model, Path) else {"model_content": model}
    kinds = tf.lite.experimental.OpResolverType
    kernels = kinds.AUTO if xnnpack else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with warnings.catch_warnings(), quiet():  # XNNPACK says that it is there
        warnings.simplefilter("ignore")  # TensorFlow 2.21 announces that the interpreter moves to another package
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


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
