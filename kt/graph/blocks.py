"""The blocks of a backbone: parts of its graph joined by a single tensor, named by its family's rule."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kt.graph.nodes import Node, leaves, nodes

TAP = "tap_"
"""The prefix of layers that only take features out of a backbone for the head (`kt.network.model.tapped`)."""

BlockOf = Callable[[str], str | None]
"""A family's rule: from the name of a layer to the name of its block; None where the layer's name doesn't say."""


def _by(pattern: str) -> BlockOf:
    names = re.compile(rf"({pattern})(?=_|$)")

    def rule(layer: str) -> str | None:
        match = names.match(layer)
        return match[1] if match else None

    return rule


def _depthwise_pair(layer: str) -> str | None:
    """A MobileNet block is a depthwise and a pointwise convolution; it has the name of the first."""
    match = re.match(r"conv_(?:pad|dw|pw)_(\d+)(?=_|$)", layer)
    return f"conv_dw_{match[1]}" if match else None


numbered = _by(r".*?block_?\d+[a-z]?")
"""The rule of most families: `block_3_expand` is of `block_3`, `conv2_block1_out` of `conv2_block1`."""

_FAMILIES = {
    "mobilenetv2": _by(r"expanded_conv|block_\d+"),
    "mobilenetv3": _by(r"expanded_conv(?:_\d+)?"),
    "mobilenet": _depthwise_pair,
    "inceptionresnetv2": _by(r"block(?:8|17|35)_\d+|.*?block_?\d+[a-z]?"),
}


def family(name: str) -> BlockOf:
    """The rule by which a backbone of `keras.applications` or `kt.backbones` names its blocks.

    name: of a constructor or of its model. A family without a rule of its own, or an unknown one, has `numbered`.
    """
    plain = name.lower().replace("_", "")
    return next((rule for begins, rule in _FAMILIES.items() if plain.startswith(begins)), numbered)


@dataclass(frozen=True)
class Block:
    """Consecutive layers of a backbone with one block name; a single tensor goes in and a single one comes out."""

    name: str
    layers: tuple[Any, ...]


def tell_blocks(model: Any, block_of: BlockOf) -> None:
    """Give a backbone its own rule for blocks, which goes before its family's."""
    model.block_of = block_of


def block_of(model: Any) -> BlockOf:
    """The rule by which the backbone names its blocks: its own, or its family's."""
    rule: BlockOf = getattr(model, "block_of", None) or family(str(model.name))
    return rule


def blocks(model: Any) -> tuple[Block, ...]:
    """The blocks of a functional model in order, the stem first; what follows the last block belongs to it.

    A block ends where a single tensor crosses the graph and the name changes by its family's rule. A model without such
    places has one block, the stem.
    """
    order: list[tuple[str, list[Any]]] = []
    rule = block_of(model)
    for stretch in stretches(model):
        name = block_name(stretch, rule)
        layers = [node.operation for node in stretch]
        if order and name in (None, order[-1][0]):
            order[-1][1].extend(layers)
        else:
            order.append((name or "stem", layers))
    return tuple(Block(name, tuple(dict.fromkeys(layers))) for name, layers in order)


def stretches(model: Any) -> Iterator[tuple[Node, ...]]:
    """The nodes of a functional model in the smallest stretches that a single tensor joins.

    Two kinds of tensors don't count: one that follows from the inputs without weights, such as a mask that each layer
    is given, if another crosses beside it; and one that only a tap takes to the head, since the backbone is the same
    without the tap.
    """
    order = [*(_input_nodes(model)), *nodes(model.inputs, model.outputs)]
    last_use = {id(tensor): len(order) for tensor in model.outputs}
    for index, node in enumerate(order):
        for tensor in () if _is_tap(node) else node.inputs:
            last_use[id(tensor)] = max(last_use.get(id(tensor), 0), index)
    stretch: list[Node] = []
    alive: set[int] = set()
    given = _weightless(order)
    for index, node in enumerate(order):
        stretch.append(node)
        alive |= {id(tensor) for tensor in node.outputs}
        alive = {tensor for tensor in alive if last_use.get(tensor, -1) > index}
        if len(alive) == 1 or len(alive - given) == 1:
            yield tuple(stretch)
            stretch = []
    if stretch:
        yield tuple(stretch)


def _weightless(order: Sequence[Node]) -> set[int]:
    """The tensors that follow from the inputs through no layer with weights."""
    given: set[int] = set()
    for node in order:
        weights = any(leaf.weights for leaf in leaves(node.operation))
        if not weights and all(id(tensor) in given for tensor in node.inputs):
            given |= {id(tensor) for tensor in node.outputs}
    return given


def _input_nodes(model: Any) -> list[Node]:
    return [Node(tensor._keras_history.operation, (), (tensor,)) for tensor in model.inputs]


def block_name(stretch: Sequence[Node], rule: BlockOf) -> str | None:
    """The block that a stretch belongs to, by the family's rule for the names of its layers.

    Branches that meet again, and have no name by the rule, are named after the layer where they meet. None for a single
    layer without a name by the rule.
    """
    own = [node for node in stretch if node.inputs and not _is_tap(node)]
    for node in reversed(own):
        if name := rule(str(node.operation.name)):
            return name
    return str(own[-1].operation.name) if len(own) > 1 else None


def _is_tap(node: Node) -> bool:
    return str(node.operation.name).startswith(TAP)
