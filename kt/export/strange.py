"""A model's scores, features and unfamiliarity as one TensorFlow function, each layer computed once."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kt.export.formats.saved_model import UNFAMILIAR, UNFAMILIARITY
from kt.familiar import Carried, Familiarity
from kt.frozen.unmoved import feature_model, tensors_at
from kt.graph import last_input

Ask = Callable[[Any], tuple[Any, ...]]


def with_features(model: Any, familiar: Carried | None) -> Ask:
    """A function of examples to scores, last features, and the tensors that unfamiliarity comes from.

    The last features are the input of the last layer with weights, or the scores if there is none.
    """
    tensor = last_input(model)
    own = [*model.outputs] if tensor is None else [*model.outputs, tensor]
    if familiar is None:
        return _of_one(keras.Model(model.inputs, own), 0)
    call, tensors = tensors_at(model, familiar.place)
    if call is None:
        return _of_one(keras.Model(model.inputs, [*own, *tensors]), len(tensors))
    try:
        return _of_parts(model, call, tensors, own)
    except ValueError:  # the graph around that layer is no chain, so the layers before the place are computed twice
        whole, apart = keras.Model(model.inputs, own), feature_model(model, familiar.place)
        scored = _of_one(whole, 0)

        def answer(examples: Any) -> tuple[Any, ...]:
            return *scored(examples), *tf.nest.flatten(apart(examples, training=False))

        return answer


def _of_one(whole: Any, count: int) -> Ask:
    """Of a model whose last `count` outputs are the tensors that unfamiliarity comes from."""

    def answer(examples: Any) -> tuple[Any, ...]:
        outputs = tf.nest.flatten(whole(examples, training=False))
        own, rest = outputs[: len(outputs) - count], outputs[len(outputs) - count :]
        return own[0], own[-1], *rest

    return answer


def _of_parts(model: Any, call: Any, tensors: Sequence[Any], own: Sequence[Any]) -> Ask:
    """Of a model with a layer in whose graph the tensors are: what is before it, the layer, and what is behind it."""
    before = None
    if not all(any(tensor is given for given in model.inputs) for tensor in call.inputs):
        before = keras.Model(model.inputs, list(call.inputs))
    inside = keras.Model(call.operation.inputs, [*call.operation.outputs, *tensors])
    crossing = {id(tensor): place for place, tensor in enumerate(call.outputs)}
    computed = [tensor for tensor in own if id(tensor) not in crossing]  # Keras makes no model of nothing
    behind = keras.Model(list(call.outputs), computed)

    def answer(examples: Any) -> tuple[Any, ...]:
        given = examples if before is None else tf.nest.flatten(before(examples, training=False))
        outputs = tf.nest.flatten(
            inside(given[0] if isinstance(given, list) and len(given) == 1 else given, training=False)
        )
        outputs, rest = outputs[: len(call.outputs)], outputs[len(call.outputs) :]
        later = iter(tf.nest.flatten(behind(outputs[0] if len(outputs) == 1 else outputs, training=False)))
        values = [outputs[crossing[id(tensor)]] if id(tensor) in crossing else next(later) for tensor in own]
        return values[0], values[-1], *rest

    return answer


def unfamiliarity_of(tensors: Sequence[Any], familiar: Carried) -> dict[str, Any]:
    """Unfamiliarity float32 `[N]` of examples, and whether it is above the limit, bool `[N]`, where there is one."""
    features = tf.concat([_averaged(tensor) for tensor in tensors], axis=1)[:, -familiar.place.last :]
    distances = _distances(features, familiar.familiarity)
    limit = familiar.familiarity.limit
    return {UNFAMILIARITY: distances} | ({} if limit is None else {UNFAMILIAR: distances > np.float32(limit.value)})


def _averaged(tensor: Any) -> Any:
    values = tf.cast(tensor, tf.float32)
    return values if len(values.shape) == 2 else tf.reduce_mean(values, axis=list(range(1, len(values.shape) - 1)))


def _distances(features: Any, familiarity: Familiarity) -> Any:
    """As `kt.familiar.scores.Nearest` computes it."""
    score, arrays = familiarity.score, familiarity.arrays()
    unit = tf.math.divide_no_nan(features, tf.norm(features, axis=1, keepdims=True))
    near = tf.matmul(tf.matmul(unit, tf.constant(arrays["directions"])), tf.constant(arrays["known"]), transpose_b=True)
    count = min(score.neighbours, len(score.known))
    last = tf.reduce_max(near, axis=1) if count == 1 else tf.math.top_k(near, count).values[:, -1]
    return tf.sqrt(tf.maximum(2.0 - 2.0 * last, 0.0))
