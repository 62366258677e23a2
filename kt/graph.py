"""The graph of a functional Keras model: its calls in order, its borders, and the blocks between them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

TAP = "tap_"
"""How the names of layers begin that only take something out of a backbone for the head (`kt.model.tapped`)."""

_BLOCK = re.compile(r"(expanded_conv(?:_\d+)?|block(?:8|17|35)_\d+|.*?block_?\d+[a-z]?|conv_(?:pad|dw|pw)_\d+)(?=_|$)")


@dataclass(frozen=True, eq=False)
class Node:
    """One call of an operation (a layer, or a plain function of tensors) with the symbolic tensors in and out.

    arguments: all it was called with, positional and by name, tensors among them.
    """

    operation: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    arguments: tuple[Any, ...] = ()


def is_functional(model: Any) -> bool:
    """Whether the model is a graph that can be read: functional, or sequential with a known input."""
    return bool(getattr(model, "outputs", None))


def nodes(inputs: Sequence[Any], outputs: Sequence[Any]) -> tuple[Node, ...]:
    """The calls that lead from the input tensors to the output tensors, each behind those that it needs.

    Read from the tensors' own history and not from `model.operations`, in which a layer that is called twice is there
    once, and which a Sequential lacks (keras 3.15.1 has no public way).
    """
    found: dict[int, Node] = {}
    known = {id(tensor) for tensor in inputs}
    stack = [(tensor, False) for tensor in reversed(outputs)]
    while stack:
        tensor, ready = stack.pop()
        history = tensor._keras_history
        made = history.operation._inbound_nodes[history.node_index]
        if id(tensor) in known or id(made) in found:
            continue
        if ready:
            arguments = (made.arguments.args, made.arguments.kwargs)
            found[id(made)] = Node(history.operation, tuple(made.input_tensors), tuple(made.output_tensors), arguments)
        else:
            stack.append((tensor, True))
            stack += [(needed, False) for needed in reversed(made.input_tensors)]
    return tuple(found.values())


def frontier(first: Sequence[Node], rest: Sequence[Node], outputs: Sequence[Any]) -> tuple[Any, ...]:
    """The tensors that cross from the first nodes to the rest: made by the former, used by the latter or put out."""
    used = {id(tensor) for node in rest for tensor in node.inputs} | {id(tensor) for tensor in outputs}
    return tuple(tensor for node in first for tensor in node.outputs if id(tensor) in used)


@dataclass(frozen=True)
class Block:
    """A stretch of layers between two borders; over a border goes one tensor only, and names don't change inside."""

    name: str
    layers: tuple[Any, ...]


def blocks(model: Any) -> tuple[Block, ...]:
    """The blocks of a functional model in order, the stem first; what follows the last block belongs to it.

    Found from the graph (a border is where a single tensor crosses) and the names that Keras gives to blocks.
    """
    found: list[tuple[str, list[Any]]] = []
    for stretch in stretches(model):
        name = block_name(stretch)
        layers = [node.operation for node in stretch]
        if found and name in (None, found[-1][0]):
            found[-1][1].extend(layers)
        else:
            found.append((name or "stem", layers))
    return tuple(Block(name, tuple(dict.fromkeys(layers))) for name, layers in found)


def stretches(model: Any) -> Iterator[tuple[Node, ...]]:
    """The nodes of a functional model in the smallest stretches between which one tensor alone crosses.

    What a tap takes to the head does not count: the network is the same without it.
    """
    order = [*(_input_nodes(model)), *nodes(model.inputs, model.outputs)]
    last_use = {id(tensor): len(order) for tensor in model.outputs}
    for index, node in enumerate(order):
        for tensor in () if _is_tap(node) else node.inputs:
            last_use[id(tensor)] = max(last_use.get(id(tensor), 0), index)
    stretch: list[Node] = []
    alive: set[int] = set()
    for index, node in enumerate(order):
        stretch.append(node)
        alive |= {id(tensor) for tensor in node.outputs}
        alive = {tensor for tensor in alive if last_use.get(tensor, -1) > index}
        if len(alive) == 1:
            yield tuple(stretch)
            stretch = []
    if stretch:
        yield tuple(stretch)


def _input_nodes(model: Any) -> list[Node]:
    return [Node(tensor._keras_history.operation, (), (tensor,)) for tensor in model.inputs]


def block_name(stretch: Sequence[Node]) -> str | None:
    """By the names in it, else, for branches that meet again, by where they meet; None for a plain single layer."""
    own = [node for node in stretch if not _is_tap(node)]
    for node in reversed(own):
        if match := _BLOCK.match(node.operation.name):
            return re.sub(r"^conv_(pad|dw|pw)_", "conv_dw_", match[1])
    return str(own[-1].operation.name) if len(own) > 1 else None


def _is_tap(node: Node) -> bool:
    return str(node.operation.name).startswith(TAP)


def leaves(layer: Any) -> list[Any]:
    """The layers in `layer` that hold no other layers, itself if it is one; operations without flags are left out."""
    inner = getattr(layer, "layers", None)
    if inner is None:
        return [layer] if hasattr(layer, "trainable") else []
    return [leaf for part in inner for leaf in leaves(part)]
