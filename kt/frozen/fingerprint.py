"""A hash of what a frozen part computes: of its graph, its layers' settings and code, and its weights."""

import hashlib
import inspect
import itertools
import json
from typing import Any

import keras
import numpy as np

from kt.graph import Node, is_functional, leaves, nodes

_IGNORED = ("name", "trainable")
"""Settings of a layer that don't change what it computes: names are numbered in a session, flags change by phase."""


def fingerprint(model: Any) -> str | None:
    """SHA-256 of what a frozen model computes: equal hashes mean equal outputs, in any process and on any backend.

    The hash includes the version of Keras, and the source of layers that are not Keras's own. None for a model that
    can't be described, such as one with a layer whose class has no source or whose settings are not plain data.
    """
    digest = hashlib.sha256(f"keras {keras.__version__}".encode())
    try:
        digest.update(json.dumps(_described(model), sort_keys=True).encode())
    except (TypeError, ValueError, NotImplementedError, OSError):
        return None
    for leaf in leaves(model):
        for weight in leaf.weights:
            value = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
            digest.update(f"{value.dtype} {value.shape}".encode())
            digest.update(value.tobytes())
    return digest.hexdigest()


def _described(operation: Any) -> Any:
    """A model as its calls in order, each with the origin of its inputs; a layer as its class and settings."""
    if not is_functional(operation):
        return [_code_of(type(operation)), _settings(operation)]
    order = nodes(operation.inputs, operation.outputs)
    numbers = {id(tensor): f"input {index}" for index, tensor in enumerate(operation.inputs)}
    for index, node in enumerate(order):
        numbers |= {id(tensor): f"{index}.{place}" for place, tensor in enumerate(node.outputs)}
    # A layer that is called twice has the number of its first call, since its weights are shared.
    first: dict[int, int] = {}
    calls = [[first.setdefault(id(node.operation), index), _call(node, numbers)] for index, node in enumerate(order)]
    shapes = [[list(tensor.shape), str(tensor.dtype)] for tensor in operation.inputs]
    return [shapes, calls, [numbers[id(tensor)] for tensor in operation.outputs]]


def _call(node: Node, numbers: dict[int, str]) -> Any:
    return [_described(node.operation), _plain(node.arguments, numbers)]


def _settings(operation: Any) -> Any:
    return {name: value for name, value in operation.get_config().items() if name not in _IGNORED}


def _code_of(kind: type) -> list[str]:
    """The class's name, and the source of it and of its parents up to the first that is Keras's own."""
    own = itertools.takewhile(lambda parent: not parent.__module__.startswith("keras."), kind.__mro__)
    return [f"{kind.__module__}.{kind.__qualname__}", *map(inspect.getsource, own)]


def _plain(value: Any, numbers: dict[int, str]) -> Any:
    """The arguments of a call as plain data: tensors by their number, arrays by their content."""
    if id(value) in numbers:
        return numbers[id(value)]
    if isinstance(value, list | tuple):
        return [_plain(item, numbers) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item, numbers) for name, item in value.items()}
    if isinstance(value, slice):
        return ["slice", value.start, value.stop, value.step]
    if isinstance(value, str | int | float | bool | None):
        return value
    array = np.asarray(keras.ops.convert_to_numpy(value))
    return [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
