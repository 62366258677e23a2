"""Freezing: which layers of a backbone train, and that what is frozen answers as in inference.

`frozen`, `everything`, `from_block(name)` and `last_blocks(n)` serve as `Phase.trainable`; `gradual_unfreezing` makes
phases of them. BatchNorm layers stay frozen unless `batch_norm=True`: in Keras 3 their statistics move under `fit`
wherever they are trainable, whatever `training` the backbone was called with (seen with keras 3.15.1).
"""

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from kt import graph
from kt.errors import RecipeError, did_you_mean
from kt.graph import Block, leaves
from kt.recipe import Phase


def frozen(backbone: Any) -> None:
    """Nothing of the backbone trains, only the head."""
    backbone.trainable = False


def everything(backbone: Any) -> None:
    """The whole backbone trains, but for its BatchNorm layers."""
    backbone.trainable = True
    _train(leaves(backbone), batch_norm=False)


def everything_with_batch_norm(backbone: Any) -> None:
    """The whole backbone trains, and its BatchNorm layers learn the statistics of the new pictures."""
    backbone.trainable = True  # first: a frozen parent overrules its layers' own flags
    _train(leaves(backbone), batch_norm=True)


def from_block(name: str, *, batch_norm: bool = False) -> Callable[[Any], None]:
    """A function that trains from the block `name` on (or the block of the layer `name`) and freezes what is before.

    That function raises RecipeError, with the nearest name, for a backbone that has no such block.
    """
    if not isinstance(name, str):
        raise RecipeError(f'from_block: name must be that of a block, such as "block_13", not {name!r}.')

    def trainable(backbone: Any) -> None:
        order = blocks(backbone)
        _train_from(backbone, order, index=_find(order, name, backbone=backbone), batch_norm=batch_norm)

    trainable.__qualname__ = f"from_block({name!r}{', batch_norm=True' if batch_norm else ''})"
    return trainable


def last_blocks(n: int, *, batch_norm: bool = False) -> Callable[[Any], None]:
    """A function that trains the last `n` blocks, and what follows them, so that the border never cuts a block.

    That function raises RecipeError for a backbone with fewer blocks.
    """
    if isinstance(n, bool) or not isinstance(n, int):
        raise RecipeError(f"last_blocks: n must be how many blocks train, such as 4, not {n!r}.")
    if n < 1:
        raise RecipeError(f"last_blocks: n must be at least 1, not {n}; use frozen to train nothing.")

    def trainable(backbone: Any) -> None:
        order = blocks(backbone)
        if n > len(order):
            raise RecipeError(f"last_blocks({n}): {backbone.name} has {len(order)} blocks; use everything for all.")
        _train_from(backbone, order, index=len(order) - n, batch_norm=batch_norm)

    trainable.__qualname__ = f"last_blocks({n}{', batch_norm=True' if batch_norm else ''})"
    return trainable


from_block.call_first = 'from_block("block_13")'  # type: ignore[attr-defined]  # what a recipe says to who forgets it
last_blocks.call_first = "last_blocks(4)"  # type: ignore[attr-defined]


def gradual_unfreezing(
    blocks: Sequence[int | Literal["all"]] = (1, 2, 4),
    *,
    epochs: int,
    lr: float,
    name: str = "unfreeze",
    batch_norm: bool = False,
    optimizer: Callable[[Any], Any] | None = None,
    schedule: Callable[[float, int], Any] | None = None,
    patience: int | None = None,
    layer_rates: Callable[[int, int], float] | None = None,
) -> list[Phase]:
    """Phases that train more and more of the backbone from its end on, for `Recipe.phases` behind one for the head.

    (Howard and Ruder, Universal Language Model Fine-tuning for Text Classification, ACL 2018.) blocks: how many of the
    last blocks train in each phase, rising; "all", as the last, is the whole backbone. A phase is called by it, such as
    `unfreeze_2`. The rest is as in `Phase`, the same for each; epochs is that of one phase.
    """
    if not blocks:
        raise RecipeError("gradual_unfreezing: blocks is empty; write how many train in each phase, such as (1, 2, 4).")
    numbers = [n for n in blocks if n != "all"]
    if any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in numbers) or "all" in blocks[:-1]:
        raise RecipeError(
            f'gradual_unfreezing: blocks are numbers from 1 on, and "all" at the end if at all, such as (1, 2, "all"); '
            f"not {tuple(blocks)!r}."
        )
    if numbers != sorted(set(numbers)):
        raise RecipeError(f"gradual_unfreezing: each phase must train more blocks than the one before, not {blocks!r}.")
    whole = everything_with_batch_norm if batch_norm else everything
    return [
        Phase(
            f"{name}_{n}",
            trainable=whole if n == "all" else last_blocks(n, batch_norm=batch_norm),
            epochs=epochs,
            lr=lr,
            optimizer=optimizer,
            schedule=schedule,
            patience=patience,
            layer_rates=layer_rates,
        )
        for n in blocks
    ]


gradual_unfreezing.call_first = "gradual_unfreezing(epochs=3, lr=1e-4)"  # type: ignore[attr-defined]

# --------------------------------------------------------------------------------------------------------- blocks


def blocks(backbone: Any) -> tuple[Block, ...]:
    """The blocks of a functional backbone in order, the stem first; what follows the last block belongs to it.

    Raises RecipeError for a backbone that is not functional.
    """
    if not graph.is_functional(backbone):
        raise RecipeError(
            f"{backbone.name} is not a functional model, so its blocks are unknown; use frozen or everything."
        )
    return graph.blocks(backbone)


def _find(order: tuple[Block, ...], name: str, *, backbone: Any) -> int:
    for index, block in enumerate(order):
        if block.name == name or any(layer.name == name for layer in block.layers):
            return index
    hint = did_you_mean(name, [block.name for block in order])
    raise RecipeError(f"from_block: {backbone.name} has no block or layer {name!r}. {hint}")


def _train_from(backbone: Any, order: tuple[Block, ...], *, index: int, batch_norm: bool) -> None:
    backbone.trainable = True
    for position, block in enumerate(order):
        parts = [leaf for layer in block.layers for leaf in leaves(layer)]
        if position < index:
            for leaf in parts:
                leaf.trainable = False
        else:
            _train(parts, batch_norm=batch_norm)


def _train(parts: list[Any], *, batch_norm: bool) -> None:
    import keras

    for leaf in parts:
        leaf.trainable = batch_norm or not isinstance(leaf, keras.layers.BatchNormalization)


# ---------------------------------------------------------------------------------------------- frozen is inference


@contextmanager
def inference_where_frozen(backbone: Any) -> Iterator[None]:
    """Within it, every layer of the backbone whose `trainable` is False answers as in inference, even under `fit`.

    Keras does so for BatchNorm alone: Dropout and stochastic depth in a frozen backbone still fire (keras 3.15.1;
    EfficientNetB0 has nine such layers).
    """
    quiet = [leaf for leaf in leaves(backbone) if not leaf.trainable and _has_training(leaf)]
    for leaf in quiet:
        # In the instance only, past Keras's attribute tracking; removing it brings the class's own `call` back.
        leaf.__dict__["call"] = functools.partial(_call_in_inference, leaf.call)
    try:
        yield
    finally:
        for leaf in quiet:
            del leaf.__dict__["call"]


def moves(leaf: Any) -> bool:
    """Whether its answer for a picture may change in training: its weights train, or it acts otherwise there."""
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
    """Counted on the whole model's weights, which is what `fit` moves: a parent's flag can overrule a layer's own.

    And `backbone.trainable_weights` can be empty while its layers train (keras 3.15.1).
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
        (block.name for block in blocks(backbone) for layer in block.layers if leaf in leaves(layer)), str(leaf.name)
    )


def _size(weights: list[Any]) -> int:
    total = 0
    for weight in weights:
        count = 1
        for side in weight.shape:
            count *= int(side)
        total += count
    return total
