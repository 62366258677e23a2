"""LiteRT, which TensorFlow brings: how a Keras model becomes a TFLite file, and how such a file is opened."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from kt.console import quiet


def converter(model: Any, *, batch_size: int, takes: str, gives: Sequence[str]) -> Any:
    """A TFLite converter for a Keras model of one input, in inference mode, for batches of exactly this size.

    takes: the name of the input. gives: the names of the outputs, in the model's order. Needs Keras on TensorFlow.
    """
    (tensor,) = model.inputs
    signature = [tf.TensorSpec([batch_size, *tensor.shape[1:]], tensor.dtype, name=takes)]

    def answer(inputs: Any) -> dict[str, Any]:
        return dict(zip(gives, tf.nest.flatten(model(inputs, training=False)), strict=True))

    function = tf.function(answer, input_signature=signature)
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]  # what the converter may turn into constants
    return tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module)


def interpreter(file: Path, *, threads: int, xnnpack: bool = True) -> Any:
    """An interpreter of a TFLite file with its tensors in place; ValueError or RuntimeError for a damaged one.

    xnnpack: whether XNNPACK computes what it can, as is usual.
    """
    kinds = tf.lite.experimental.OpResolverType
    kernels = kinds.AUTO if xnnpack else kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with warnings.catch_warnings(), quiet():  # XNNPACK says that it is there
        warnings.simplefilter("ignore")  # TensorFlow 2.21 announces that the interpreter moves to another package
        opened = tf.lite.Interpreter(model_path=str(file), num_threads=threads, experimental_op_resolver_type=kernels)
        opened.allocate_tensors()
    return opened


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
