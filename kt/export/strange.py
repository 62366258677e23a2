"""A model's scores, features and unfamiliarity as one TensorFlow function, each layer computed once."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kt.familiar import UNFAMILIAR, UNFAMILIARITY, Carried, Familiarity
from kt.frozen.unmoved import feature_model, tensors_at
from kt.graph import last_input

Ask = Callable[[Any], tuple[Any, ...]]

_LEAST = 1e-30
"""Mean squares of features below this count as it. Features that are all 0 are as far from all as at a right angle."""


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
    distances = _distances(tensors, familiar)[:, 0]
    limit = familiar.familiarity.limit
    return {UNFAMILIARITY: distances} | ({} if limit is None else {UNFAMILIAR: distances > np.float32(limit.value)})


def with_distances(model: Any, familiar: Carried) -> Callable[[Any], dict[str, Any]]:
    """A function of examples to scores `[N, C]` and unfamiliarity float32 `[N, 1]`, by what LiteRT can compute too."""
    ask = with_features(model, familiar)

    def answer(examples: Any) -> dict[str, Any]:
        scores, _, *tensors = ask(examples)
        return {"scores": scores, UNFAMILIARITY: _distances(tensors, familiar)}

    return answer


def _distances(tensors: Sequence[Any], familiar: Carried) -> Any:
    each = [_averaged(tensor) for tensor in tensors]
    features = each[0] if len(each) == 1 else tf.concat(each, axis=1)
    if familiar.place.last < features.shape[-1]:
        features = features[:, -familiar.place.last :]
    return _nearest(features, familiar.familiarity)


def _averaged(tensor: Any) -> Any:
    values = tf.cast(tensor, tf.float32)
    return values if len(values.shape) == 2 else tf.reduce_mean(values, axis=list(range(1, len(values.shape) - 1)))


def _nearest(features: Any, familiarity: Familiarity) -> Any:
    """The distance `[N, 1]`, as `kt.familiar.scores.Nearest` computes it.

    Features are brought to a mean square of 1 rather than to length 1, and the directions have the rest of the factor:
    so no number is so large or so small that half precision loses it.
    """
    score, arrays = familiarity.score, familiarity.arrays()
    directions = arrays["directions"] / np.float32(np.sqrt(len(arrays["directions"])))
    even = features * tf.math.rsqrt(tf.maximum(tf.reduce_mean(features * features, axis=1, keepdims=True), _LEAST))
    near = tf.matmul(tf.matmul(even, tf.constant(directions)), tf.constant(np.ascontiguousarray(arrays["known"].T)))
    count = min(score.neighbours, len(score.known))
    last = tf.reduce_max(near, axis=1, keepdims=True) if count == 1 else tf.math.top_k(near, count).values[:, -1:]
    return tf.sqrt(tf.maximum(2.0 - 2.0 * last, 0.0))
