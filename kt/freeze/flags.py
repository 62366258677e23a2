"""The trainable flags of a backbone's layers: set and restored in one place; frozen layers answer as in inference."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kt import graph
from kt.graph import leaves


@dataclass(frozen=True, eq=False)
class Moving:
    """What changes in a backbone during training, by id. layers: those that hold no others. weights: all of theirs.

    BatchNorm's statistics are among the weights, though they don't train.
    """

    layers: frozenset[int] = frozenset()
    weights: frozenset[int] = frozenset()


NOTHING = Moving()
"""The value where the whole backbone is frozen."""


@contextmanager
def under(trainable: Callable[[Any], None], backbone: Any) -> Iterator[Moving]:
    """Within it the backbone's flags are as `trainable` sets them; afterwards they are restored. Gives what moves.

    Restored are `trainable` of each layer and BatchNorm's momentum, which a `trainable` may set too.
    """
    layers = list(_with_parents(backbone))
    before = [(layer, layer.trainable, getattr(layer, "momentum", None)) for layer in layers]
    try:
        trainable(backbone)
        yield Moving(
            frozenset(id(leaf) for leaf in leaves(backbone) if moves(leaf)),
            frozenset(id(weight) for leaf in leaves(backbone) if moves(leaf) for weight in leaf.weights),
        )
    finally:
        for layer, flag, momentum in before:  # parents first, since each sets those of its layers
            layer.trainable = flag
            if momentum is not None:
                layer.momentum = momentum


def moving(trainable: Callable[[Any], None], backbone: Any) -> Moving:
    """What moves under a `trainable`; the backbone's flags stay as they are."""
    with under(trainable, backbone) as moved:
        return moved


def _with_parents(layer: Any) -> Iterator[Any]:
    """A layer and all layers in it, each before those that it holds. Operations without flags are left out."""
    if hasattr(layer, "trainable"):
        yield layer
    for part in getattr(layer, "layers", None) or ():
        yield from _with_parents(part)


# ---------------------------------------------------------------------------------------------- frozen is inference


@contextmanager
def inference_where_frozen(backbone: Any) -> Iterator[None]:
    """Within it, every layer of the backbone whose `trainable` is False answers as in inference, even under `fit`.

    Keras does this for BatchNorm only: Dropout and stochastic depth in a frozen backbone stay active (keras 3.15.1;
    EfficientNetB0 has nine such layers).
    """
    quiet = [leaf for leaf in leaves(backbone) if not leaf.trainable and _has_training(leaf)]
    for leaf in quiet:
        # Set in the instance's dict, past Keras's attribute tracking; deleting it restores the class's own `call`.
        leaf.__dict__["call"] = functools.partial(_call_in_inference, leaf.call)
    try:
        yield
    finally:
        for leaf in quiet:
            del leaf.__dict__["call"]


def moves(leaf: Any) -> bool:
    """Whether a layer's output may change in training: its weights train, or it behaves differently there."""
    return bool(leaf.trainable_weights) or (leaf.trainable and _has_training(leaf))


def _has_training(layer: Any) -> bool:
    return "training" in inspect.signature(layer.call).parameters


def _call_in_inference(call: Callable[..., Any], *inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    del training
    return call(*inputs, training=False) if mask is None else call(*inputs, training=False, mask=mask)


@dataclass(frozen=True)
class Trainable:
    """What trains: the number of layers with trainable weights, their parameters, all parameters, the first block."""

    layers: int
    parameters: int
    total_parameters: int
    first: str


def count_trainable(model: Any, backbone: Any) -> Trainable:
    """What trains, counted on the whole model's weights, since `fit` changes those.

    A backbone's own flags are no guide: a parent's flag can overrule a layer's, and `backbone.trainable_weights` can be
    empty while its layers train (keras 3.15.1).
    """
    moving = {id(weight) for weight in model.trainable_weights}
    training = [leaf for leaf in leaves(model) if any(id(weight) in moving for weight in leaf.trainable_weights)]
    inside = {id(leaf) for leaf in leaves(backbone)}
    first = next((leaf for leaf in training if id(leaf) in inside), None)
    return Trainable(
        layers=len(training),
        parameters=_size(model.trainable_weights),
        total_parameters=_size(model.weights),
        first="head" if first is None else _name_of_block(backbone, first),
    )


def _name_of_block(backbone: Any, leaf: Any) -> str:
    if not graph.is_functional(backbone):
        return str(leaf.name)
    return next(
        (block.name for block in graph.blocks(backbone) for layer in block.layers if leaf in leaves(layer)),
        str(leaf.name),
    )


def _size(weights: list[Any]) -> int:
    total = 0
    for weight in weights:
        count = 1
        for side in weight.shape:
            count *= int(side)
        total += count
    return total
