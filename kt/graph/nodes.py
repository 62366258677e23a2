"""The graph of a functional Keras model: its calls in order, and the tensors that cross between two groups of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Node:
    """One call of an operation (a layer, or a plain function of tensors) with its symbolic input and output tensors.

    arguments: all arguments of the call, positional and by name, tensors among them.
    """

    operation: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    arguments: tuple[Any, ...] = ()


def is_functional(model: Any) -> bool:
    """Whether the model is a graph that can be read: functional, or sequential with a known input."""
    return bool(getattr(model, "outputs", None))


def nodes(inputs: Sequence[Any], outputs: Sequence[Any]) -> tuple[Node, ...]:
    """The calls that lead from the input tensors to the output tensors, each after those that it needs.

    They are read from the tensors' own history and not from `model.operations`, which lists a layer that is called
    twice only once, and which a Sequential lacks (keras 3.15.1 has no public way).
    """
    calls: dict[int, Node] = {}
    known = {id(tensor) for tensor in inputs}
    stack = [(tensor, False) for tensor in reversed(outputs)]
    while stack:
        tensor, ready = stack.pop()
        history = tensor._keras_history
        made = history.operation._inbound_nodes[history.node_index]
        if id(tensor) in known or id(made) in calls:
            continue
        if ready:
            arguments = (made.arguments.args, made.arguments.kwargs)
            calls[id(made)] = Node(history.operation, tuple(made.input_tensors), tuple(made.output_tensors), arguments)
        else:
            stack.append((tensor, True))
            stack += [(needed, False) for needed in reversed(made.input_tensors)]
    return tuple(calls.values())


def frontier(first: Sequence[Node], rest: Sequence[Node], outputs: Sequence[Any]) -> tuple[Any, ...]:
    """The tensors that the first nodes make and that the rest uses, or that are outputs."""
    used = {id(tensor) for node in rest for tensor in node.inputs} | {id(tensor) for tensor in outputs}
    return tuple(tensor for node in first for tensor in node.outputs if id(tensor) in used)


def last_input(model: Any) -> Any | None:
    """The input of the model's last layer with weights; None if that is the model's own input, or none can be read."""
    if not is_functional(model):
        return None
    weighted = [node for node in nodes(model.inputs, model.outputs) if getattr(node.operation, "weights", None)]
    if not weighted or len(weighted[-1].inputs) != 1:
        return None
    (tensor,) = weighted[-1].inputs
    return None if any(tensor is given for given in model.inputs) else tensor


def leaves(layer: Any) -> list[Any]:
    """The layers in `layer` that hold no other layers, or itself if it holds none. Operations are left out."""
    inner = getattr(layer, "layers", None)
    if inner is None:
        return [layer] if hasattr(layer, "trainable") else []
    return [leaf for part in inner for leaf in leaves(part)]
