"""A Keras model as a TensorFlow function, for whatever converts it: LiteRT, ONNX, OpenVINO."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def traced(model: Any, *, batch_size: int | None, takes: str, gives: Sequence[str]) -> tuple[Any, Any]:
    """A function with a fixed signature for a Keras model of one input, in inference mode, and what holds its weights.

    batch_size: None for any. takes: the name of the input. gives: the names of the outputs, in the model's order. The
    second is a `tf.Module`, in which a converter finds what it may turn into constants. Needs Keras on TensorFlow.
    """
    (tensor,) = model.inputs
    signature = [tf.TensorSpec([batch_size, *tensor.shape[1:]], tensor.dtype, name=takes)]

    def answer(inputs: Any) -> dict[str, Any]:
        return dict(zip(gives, tf.nest.flatten(model(inputs, training=False)), strict=True))

    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    return tf.function(answer, input_signature=signature), module
