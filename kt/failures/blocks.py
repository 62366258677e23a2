"""How far training moved each block of the backbone from its pretrained weights."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kt.failures.results import MovedBlock
from kt.freeze import known_blocks
from kt.graph import leaves


def moved_blocks(before: Any, after: Any) -> tuple[MovedBlock, ...]:
    """The blocks from the stem to the top; none if the backbone's blocks are unknown.

    before, after: the backbone with the weights of before and after training, built alike.
    """
    pairs = zip(known_blocks(before), known_blocks(after), strict=True)
    return tuple(MovedBlock(now.name, *_moved(was.layers, now.layers)) for was, now in pairs if _weights(now.layers))


def _weights(layers: Sequence[Any]) -> list[Any]:
    return [weight for layer in layers for leaf in leaves(layer) for weight in leaf.weights]


def _moved(before: Sequence[Any], after: Sequence[Any]) -> tuple[float | None, float | None]:
    changes: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for was, now in zip(_weights(before), _weights(after), strict=True):
        one, other = (np.asarray(keras.ops.convert_to_numpy(weight), np.float64) for weight in (was, now))
        if _is_number(was):
            changes[one.ndim > 1].append((float(((other - one) ** 2).sum()), float((one**2).sum())))
    kernels, others = (_share(changes[kind]) for kind in (True, False))
    return kernels, others


def _is_number(weight: Any) -> bool:
    """Whether a weight is a floating-point number, and not the state of a random generator."""
    return str(weight.dtype).startswith(("float", "bfloat"))


def _share(changes: Sequence[tuple[float, float]]) -> float | None:
    moved, whole = (sum(column) for column in zip(*changes, strict=True)) if changes else (0.0, 0.0)
    return float(np.sqrt(moved / whole)) if whole > 0 else None
