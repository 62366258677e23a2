"""Statistics of BatchNormalization layers, computed anew over examples: exactly, layer by layer, on every backend."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt.base.console import progress_bar
from kt.data.splits import allocate
from kt.errors import RecipeError
from kt.freeze import Moving
from kt.frozen.cut import Cut, encoder, extension, find_cut, is_behind, within
from kt.frozen.encode import BATCH, by_backend
from kt.frozen.engine import Inputs
from kt.graph import Node, is_functional, leaves, nodes
from kt.network.model import Built


def batch_norms(backbone: Any) -> list[Node]:
    """The calls of BatchNormalization in a backbone's graph, each after those that it depends on.

    Raises RecipeError for a backbone without any, or one whose layers have no single input that can be seen.
    """
    what = f"AdaptiveBatchNorm can't be used with the backbone {backbone.name}"
    order = nodes(backbone.inputs, backbone.outputs) if is_functional(backbone) else ()
    found = [node for node in order if isinstance(node.operation, keras.layers.BatchNormalization)]
    inside = {id(leaf) for leaf in leaves(backbone) if isinstance(leaf, keras.layers.BatchNormalization)}
    if not inside:
        raise RecipeError(f"{what}, which has no BatchNormalization layer; use AdaptedProbe, or another backbone.")
    if inside != {id(node.operation) for node in found} or len(found) > len(inside):
        raise RecipeError(
            f"{what}: it has BatchNormalization layers inside other models, or calls one twice. It needs a functional "
            "model in which each is called once, as those of keras.applications are."
        )
    return found


def renew_statistics(built: Built, examples: Inputs) -> int:
    """Give each BatchNormalization of the backbone the mean and variance of its inputs over the examples.

    examples: as the whole model takes them. The statistics are those of the model with the new statistics in all
    earlier layers, whatever the batch size: the mean over examples and positions, and the mean of squared deviations
    from it. They are summed in float64; the activations are the backend's, in float32. Outputs of finished layers are
    kept, so that no layer of an earlier block is computed again. Gives the number of layers. Raises RecipeError as
    `batch_norms` does.
    """
    left = batch_norms(built.backbone)
    number, at, rows = len(left), None, examples
    with progress_bar("statistics", number, unit="layers") as bar:
        while left:
            # A layer of another branch is not finished either, so all that are left count as moving.
            ahead = find_cut(built, Moving(layers=frozenset(id(node.operation) for node in left)))
            if isinstance(ahead, Cut) and _is_farther(ahead, at, built):
                rows, at = _computed(built, at, ahead, rows), ahead
            layer = left[0].operation
            mean, variance = _moments(built, at, left[0], rows)
            layer.moving_mean.assign(mean.astype(np.float32))
            layer.moving_variance.assign(variance.astype(np.float32))
            left = left[1:]
            bar.advance(1)
    return number


def _is_farther(ahead: Cut, at: Cut | None, built: Built) -> bool:
    """Whether a cut lies behind the present one and is another one."""
    if at is None:
        return True
    same = [*map(id, ahead.tensors)] == [*map(id, at.tensors)]
    return not same and is_behind(ahead, at, built)


def _computed(built: Built, at: Cut | None, to: Cut, rows: Inputs) -> npt.NDArray[np.float32]:
    """Activations `[N, D]` at a cut, from examples or from activations at an earlier one."""
    compute = by_backend(encoder(built, [to]) if at is None else extension(built, at, [to]))
    activations = allocate(len(rows), (to.width,), "float32")
    for start in range(0, len(rows), BATCH):
        parts = compute(np.asarray(rows[np.arange(start, min(start + BATCH, len(rows)))]))
        activations[start : start + BATCH] = np.concatenate(parts, axis=1)
    return activations


def _moments(
    built: Built, at: Cut | None, node: Node, rows: Inputs
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The mean and the variance `[C]` of the inputs of a BatchNormalization over all examples.

    The backend gives both for each example; that makes the result independent of batches, and the sums short.
    """
    inputs, given = within(built, at, node.inputs[0])
    given = keras.ops.cast(given, "float32")
    channel = node.operation.axis % len(given.shape)
    positions = [axis for axis in range(1, len(given.shape)) if axis != channel]
    mean = keras.ops.mean(given, axis=positions, keepdims=True) if positions else given
    squares = keras.ops.square(given - mean)
    spread = keras.ops.mean(squares, axis=positions) if positions else squares
    compute = by_backend(keras.Model(inputs, [mean, spread]))
    means, spreads = [], []
    for start in range(0, len(rows), BATCH):
        own_means, own_spreads = compute(np.asarray(rows[np.arange(start, min(start + BATCH, len(rows)))]))
        means.append(own_means.astype(np.float64))
        spreads.append(own_spreads.astype(np.float64))
    every = np.concatenate(means)
    return every.mean(axis=0), every.var(axis=0) + np.concatenate(spreads).mean(axis=0)
