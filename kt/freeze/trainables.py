"""Which layers of a backbone train: values for `Phase.trainable`, by blocks."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kt import graph
from kt.errors import RecipeError, did_you_mean
from kt.graph import Block, leaves
from kt.recipe import Phase, check_types


@dataclass(frozen=True)
class Frozen:
    """A value for `Phase.trainable`: only the head trains, nothing of the backbone."""

    def __call__(self, backbone: Any) -> None:
        """Set the flags of the backbone's layers."""
        backbone.trainable = False


@dataclass(frozen=True)
class Everything:
    """A value for `Phase.trainable`: the whole backbone trains.

    batch_norm: whether BatchNorm layers train too and learn the statistics of the new pictures. momentum: an upper
    limit for the momentum of BatchNorm's moving statistics, above 0 and below 1; None leaves it unchanged.
    """

    batch_norm: bool = False
    momentum: float | None = None

    def __post_init__(self) -> None:
        check_types(self)
        if self.momentum is not None and not 0 < self.momentum < 1:
            raise RecipeError(f"Everything: momentum must be above 0 and below 1, not {self.momentum}.")

    def __call__(self, backbone: Any) -> None:
        """Set the flags of the backbone's layers."""
        backbone.trainable = True  # first: a frozen parent overrules its layers' own flags
        _train(leaves(backbone), batch_norm=self.batch_norm)
        for leaf in leaves(backbone) if self.momentum is not None else ():
            if hasattr(leaf, "moving_mean"):
                leaf.momentum = min(leaf.momentum, self.momentum)


@dataclass(frozen=True)
class FromBlock:
    """A value for `Phase.trainable`: trains from a block on and freezes what is before.

    name: of the block, or of a layer in it. Called with a backbone that has no such block, it raises RecipeError with
    the nearest name.
    """

    name: str
    batch_norm: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise RecipeError(f'from_block: name must be that of a block, such as "block_13", not {self.name!r}.')
        check_types(self)

    def __call__(self, backbone: Any) -> None:
        """Set the flags of the backbone's layers."""
        order = blocks(backbone)
        _train_from(
            order, index=_find(order, self.name, backbone=backbone), backbone=backbone, batch_norm=self.batch_norm
        )


@dataclass(frozen=True)
class LastBlocks:
    """A value for `Phase.trainable`: trains the last `n` blocks and what follows them. No block trains in part.

    Called with a backbone that has fewer blocks, it raises RecipeError.
    """

    n: int
    batch_norm: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, int):
            raise RecipeError(f"last_blocks: n must be how many blocks train, such as 4, not {self.n!r}.")
        if self.n < 1:
            raise RecipeError(f"last_blocks: n must be at least 1, not {self.n}; use frozen to train nothing.")
        check_types(self)

    def __call__(self, backbone: Any) -> None:
        """Set the flags of the backbone's layers."""
        order = blocks(backbone)
        if self.n > len(order):
            raise RecipeError(
                f"last_blocks({self.n}): {backbone.name} has {len(order)} blocks; use everything for all."
            )
        _train_from(order, index=len(order) - self.n, backbone=backbone, batch_norm=self.batch_norm)


@dataclass(frozen=True)
class TopShare:
    """A value for `Phase.trainable`: trains a share of the backbone's blocks, the last ones, at least one.

    share: above 0 and at most 1; the number of blocks is rounded up.
    """

    share: float

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 < self.share <= 1:
            raise RecipeError(f"top_share: share must be above 0 and at most 1, such as 0.25, not {self.share}.")

    def __call__(self, backbone: Any) -> None:
        """Set the flags of the backbone's layers."""
        LastBlocks(math.ceil(round(self.share * len(blocks(backbone)), 6)))(backbone)


frozen = Frozen()
"""Nothing of the backbone trains, only the head."""

everything = Everything()
"""The whole backbone trains, but for its BatchNorm layers."""

everything_with_batch_norm = Everything(batch_norm=True)
"""The whole backbone trains, and its BatchNorm layers learn the statistics of the new pictures."""

MOMENTUM = 0.9
"""The momentum of BatchNorm's moving statistics where a network is trained from scratch.

Keras's applications have up to 0.999, made for ImageNet's hundreds of thousands of steps: after 300 steps three
quarters of the statistics would still be those of the first step, and even a good network would answer nonsense.
"""

from_scratch = Everything(batch_norm=True, momentum=MOMENTUM)
"""The whole backbone trains, and BatchNorm's statistics follow within dozens of steps, not thousands."""


def from_block(name: str, *, batch_norm: bool = False) -> FromBlock:
    """Train from the block `name` on (or the block of the layer `name`), and freeze what is before."""
    return FromBlock(name, batch_norm)


def last_blocks(n: int, *, batch_norm: bool = False) -> LastBlocks:
    """Train the last `n` blocks and what follows them. No block trains in part."""
    return LastBlocks(n, batch_norm)


def top_share(share: float) -> TopShare:
    """Train a share of the blocks, such as 0.25: the last ones, at least one."""
    return TopShare(share)


from_block.call_first = 'from_block("block_13")'  # type: ignore[attr-defined]  # shown where a recipe forgets the call
last_blocks.call_first = "last_blocks(4)"  # type: ignore[attr-defined]
top_share.call_first = "top_share(0.25)"  # type: ignore[attr-defined]

NAMED: Mapping[str, Callable[..., Any]] = {
    "frozen": frozen,
    "everything": everything,
    "everything_with_batch_norm": everything_with_batch_norm,
    "from_scratch": from_scratch,
    "from_block": from_block,
    "last_blocks": last_blocks,
    "top_share": top_share,
}
"""The values that `--set fine_tune.trainable=...` takes, by the names that a recipe uses."""


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
    """Phases that unfreeze more and more of the backbone from its end on. In `Recipe.phases` they follow the head's.

    (Howard and Ruder, Universal Language Model Fine-tuning for Text Classification, ACL 2018.) blocks: how many of the
    last blocks train in each phase, rising; "all", as the last, is the whole backbone. A phase is named after its
    blocks, such as `unfreeze_2`. The other arguments are those of `Phase` and the same for each phase; epochs is the
    number for one phase.
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
    """The blocks of a backbone in order, the stem first; what follows the last block belongs to it.

    Raises RecipeError where the blocks are unknown: the model is not functional, or nothing separates one block from
    the next, neither its family's rule, nor the names of its layers, nor branches that meet again.
    """
    if not graph.is_functional(backbone):
        raise RecipeError(
            f"{backbone.name} is not a functional model, so its blocks are unknown; use frozen or everything."
        )
    order = graph.blocks(backbone)
    if len(order) < 2:
        raise RecipeError(
            f"The blocks of {backbone.name} are unknown: nothing in it tells one from the next. Use frozen or "
            f"everything, name its layers block_1_..., block_2_..., or give the function that builds it an attribute "
            f"block_of: a function from the name of a layer to that of its block, or None."
        )
    return order


def known_blocks(backbone: Any) -> tuple[Block, ...]:
    """The blocks of a backbone as `blocks` gives them; none where they are unknown."""
    try:
        return blocks(backbone)
    except RecipeError:
        return ()


def _find(order: tuple[Block, ...], name: str, *, backbone: Any) -> int:
    for index, block in enumerate(order):
        if block.name == name or any(layer.name == name for layer in block.layers):
            return index
    hint = did_you_mean(name, [block.name for block in order])
    raise RecipeError(f"from_block: {backbone.name} has no block or layer {name!r}. {hint}")


def _train_from(order: tuple[Block, ...], *, index: int, backbone: Any, batch_norm: bool) -> None:
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
