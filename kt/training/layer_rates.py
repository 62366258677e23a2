"""Learning rates by depth: the rate of each block of the backbone, and the optimizer that applies them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from kt import graph
from kt.errors import RecipeError
from kt.parts.schedules import constant
from kt.recipe import Phase

HEAD = "head"


@dataclass(frozen=True)
class BlockRate:
    """The peak learning rate of a block of the backbone, or of the head, which is last."""

    block: str
    lr: float


def rates_of(phase: Phase, model: Any, backbone: Any) -> tuple[BlockRate, ...]:
    """The rates of the blocks that train in a phase, from the stem to the head; empty where all train at `phase.lr`.

    model: the whole one or its end behind a cut. Depth counts on the whole backbone, whichever part of it trains.
    Raises RecipeError if `layer_rates` gives no valid rate, or if the blocks that train are unknown.
    """
    if phase.layer_rates is None:
        return ()
    return tuple(rate for rate, _ in _groups(phase, phase.layer_rates, model, backbone))


def optimizer_of(phase: Phase, model: Any, backbone: Any, *, steps: int) -> Any:
    """The optimizer of a phase with its schedule; with `layer_rates`, one optimizer for each rate.

    Weights are mapped to optimizers by their path and not by a function, so that a saved optimizer can be loaded again.
    """
    if phase.layer_rates is None:
        return _made(phase, phase.lr, steps=steps)
    each: dict[float, Any] = {}
    paths: dict[str, BlockRate] = {}
    for rate, weights in _groups(phase, phase.layer_rates, model, backbone):
        if rate.lr not in each:
            each[rate.lr] = _made(phase, rate.lr, steps=steps)
        for weight in weights:
            other = paths.setdefault(weight.path, rate)
            if other.lr != rate.lr:
                raise RecipeError(
                    f"Phase {phase.name!r}: {other.block} and {rate.block} both have a weight {weight.path!r}, so "
                    f"layer_rates can't tell them apart; give one of the layers another name."
                )
    if len({id(optimizer) for optimizer in each.values()}) < len(each):
        raise RecipeError(
            f"Phase {phase.name!r}: optimizer gives the same object at each call, and layer_rates needs one for each "
            f"rate; make a new one at each call, such as lambda rate: keras.optimizers.SGD(rate)."
        )
    by_path = {path: each[rate.lr] for path, rate in paths.items()}
    # The head's optimizer is the default. All paths are in the map, so that no path is matched as a pattern.
    return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(list(each.values())[-1], by_path))


def highest_rate(optimizer: Any) -> float:
    """The rate at which a model trains now; with `layer_rates` the highest of them."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # loss scaling, under mixed precision
    return max(
        float(keras.ops.convert_to_numpy(each.learning_rate)) for each in getattr(inner, "optimizers", None) or [inner]
    )


def _made(phase: Phase, lr: float, *, steps: int) -> Any:
    rate = (phase.schedule or constant)(float(lr), steps)  # Keras refuses a whole number
    return _alone(phase.optimizer(rate) if phase.optimizer else keras.optimizers.Adam(learning_rate=rate))


def _alone(optimizer: Any) -> Any:
    """The optimizer, which does not sum gradients over replicas where there is only one.

    Keras 3.15 sums by an operation with a custom gradient, and TensorFlow 2.21 keeps the graph of such an operation for
    ever: about 100 MB a compiled MobileNetV2, gigabytes in a comparison of several strategies.
    """
    if hasattr(optimizer, "_all_reduce_sum_gradients"):
        optimizer._all_reduce_sum_gradients = partial(_over_replicas, optimizer._all_reduce_sum_gradients)
    return optimizer


def _over_replicas(summed: Callable[[Any], Any], gradients: Any) -> Any:
    """The summed gradients. The strategy of tf.distribute is read here, since it is known only when training runs."""
    return list(gradients) if tf.distribute.get_strategy().num_replicas_in_sync == 1 else summed(gradients)


def _groups(
    phase: Phase, layer_rates: Callable[[int, int], float], model: Any, backbone: Any
) -> list[tuple[BlockRate, Sequence[Any]]]:
    """The rate of each block that trains, and of the head, each with its weights that train; from the stem on."""
    left = {id(weight): weight for weight in model.trainable_weights}
    order = graph.blocks(backbone) if graph.is_functional(backbone) else ()
    groups = []
    for place, block in enumerate(order):
        inside = [weight for layer in block.layers for leaf in graph.leaves(layer) for weight in leaf.weights]
        weights = [left.pop(id(weight)) for weight in inside if id(weight) in left]
        if weights:
            lr = _rate(phase, layer_rates, block.name, place=place, blocks=len(order))
            groups.append((BlockRate(block.name, lr), weights))
    if any(id(weight) in left for leaf in graph.leaves(backbone) for weight in leaf.weights):
        raise RecipeError(
            f"Phase {phase.name!r}: layer_rates needs blocks, and {backbone.name} is not a functional model, so its "
            f"blocks are unknown; leave layer_rates out."
        )
    blocks = len(order) or 1
    lr = _rate(phase, layer_rates, HEAD, place=blocks, blocks=blocks)
    return [*groups, (BlockRate(HEAD, lr), list(left.values()))]


def _rate(phase: Phase, layer_rates: Callable[[int, int], float], name: str, *, place: int, blocks: int) -> float:
    where = f"Phase {phase.name!r}: layer_rates({place}, {blocks}), for {name},"
    try:
        factor = layer_rates(place, blocks)
    except Exception as error:  # noqa: BLE001 - a function of the user's own may fail in any way
        why = " ".join(str(error).split())
        raise RecipeError(f"{where} fails with {type(error).__name__}: {why}".rstrip(": ")) from None
    try:
        rate = phase.lr * float(factor)
    except (TypeError, ValueError):
        raise RecipeError(f"{where} must give a number, a factor of lr, not {factor!r}.") from None
    if not math.isfinite(rate) or rate <= 0:
        raise RecipeError(
            f"{where} gives {factor!r}; expected a factor of lr above 0. What is not to train, trainable freezes."
        )
    return rate
