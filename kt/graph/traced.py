"""A Keras model as a TensorFlow function, to be converted (to LiteRT, ONNX, OpenVINO) or to be called."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

_ONE_AT_A_TIME = threading.Lock()


def of_keras(answer: Callable[[Any], Any], signature: Sequence[Any]) -> Any:
    """A TensorFlow function of one that calls a Keras model, traced at once.

    One thread traces at a time, because Keras's tracing is not thread-safe. AutoGraph is off: it has nothing to do in a
    Keras model and takes as long again as the tracing.
    """
    function = tf.function(answer, input_signature=signature, autograph=False)
    with _ONE_AT_A_TIME:
        function.get_concrete_function()
    return function


def traced(
    model: Any,
    *,
    batch_size: int | None,
    takes: str,
    gives: Sequence[str],
    by: Callable[[Any], dict[str, Any]] | None = None,
) -> tuple[Any, Any]:
    """A function with a fixed signature for a Keras model of one input, in inference mode, and what holds its weights.

    batch_size: None for any. takes: the name of the input. gives: the names of the outputs, in the model's order. by:
    the function of examples to outputs by these names, by the model's layers; unless given, the model itself. The
    second result is a `tf.Module`, in which a converter finds the weights that it may turn into constants. Needs Keras
    on TensorFlow. Several threads may call this for one model.
    """
    (tensor,) = model.inputs
    signature = [tf.TensorSpec([batch_size, *tensor.shape[1:]], tensor.dtype, name=takes)]

    def answer(inputs: Any) -> dict[str, Any]:
        return dict(zip(gives, tf.nest.flatten(model(inputs, training=False)), strict=True))

    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    return of_keras(by or answer, signature), module


def in_inference(model: Any) -> Callable[[Any], Any]:
    """A model of one input as a TensorFlow function of arrays, with the same outputs as `predict`.

    Keras's own `predict` traces the model through AutoGraph, which takes two seconds longer for MobileNetV2. Needs
    Keras on TensorFlow.
    """
    (given,) = model.inputs
    signature = [tf.TensorSpec([None, *given.shape[1:]], given.dtype)]
    function = of_keras(lambda inputs: model(inputs, training=False), signature)
    return lambda inputs: function(tf.convert_to_tensor(inputs))
