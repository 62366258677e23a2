"""Batches for training: the same on every backend, in an order that follows from the seed and the epoch alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kt.augment import FeatureAugmentation, Views, in_graph
from kt.features.engine import Inputs, Work
from kt.recipe import Recipe

Labels = npt.NDArray[np.int64]


@dataclass
class Order:
    """Batches of indices in an order that follows from the seed and the epoch alone.

    tf.data's own shuffle won't do: Keras's JAX and torch trainers begin an extra pass, which would move it on.
    """

    pictures: int
    batch_size: int
    seed: tuple[int, ...]
    views: int = 1
    epoch: int = 0

    def __call__(self) -> Iterator[npt.NDArray[np.int64]]:
        """One epoch, as int64 `[batch_size]` arrays, the last one shorter.

        With views, an index is that of the picture's view of this epoch among `[views * pictures]`, view after view.
        """
        order = np.random.default_rng([*self.seed, self.epoch]).permutation(self.pictures)
        if self.views > 1:
            order = order + self.pictures * self._views_of_epoch()[order]
        for start in range(0, self.pictures, self.batch_size):
            yield order[start : start + self.batch_size]

    def _views_of_epoch(self) -> npt.NDArray[np.int64]:
        """A view for each picture; through `views` epochs each picture has another one in each."""
        again, now = divmod(self.epoch, self.views)
        random = np.random.default_rng([*self.seed, again, self.views])
        turns = random.permuted(np.tile(np.arange(self.views), (self.pictures, 1)), axis=1)
        return np.asarray(turns[:, now], np.int64)


def training_batches(order: Order, work: Work, labels: Labels, *, recipe: Recipe, classes: int) -> Any:
    """Batches of a training phase in the given order, augmented, each with its sample weights."""
    balanced = recipe.class_weight == "balanced"
    weights = class_weights(labels, classes) if balanced else np.ones(classes, np.float32)
    indices = tf.data.Dataset.from_generator(order, output_signature=tf.TensorSpec((None,), tf.int64))
    change, seed = work.augment, order.seed
    # Seeded by the batch itself: JAX and torch draw batches ahead that they don't use.
    augment = None if change is None else lambda rows, chosen: change(rows, seed=(*seed, *chosen.tolist()))
    rows = indices.map(_fetch(work.train, np.tile(labels, order.views), weights, augment))
    of_pictures = recipe.augment
    if of_pictures is not None and not isinstance(of_pictures, Views | FeatureAugmentation):
        rows = rows.map(lambda x, y, w: (in_graph(of_pictures, x), y, w))
    steps = -(-order.pictures // order.batch_size)
    return rows.prefetch(2).apply(tf.data.experimental.assert_cardinality(steps))


def batches(inputs: Inputs, labels: Labels, *, classes: int, batch_size: int) -> Any:
    """Batches in the given order, with equal weights."""
    order = tf.data.Dataset.range(len(labels)).batch(batch_size)
    return order.map(_fetch(inputs, labels, np.ones(classes, np.float32), None)).prefetch(2)


def _fetch(
    inputs: Inputs, labels: Labels, weights: npt.NDArray[np.float32], augment: Callable[[Any, Any], Any] | None
) -> Any:
    """A tf.data function from indices to inputs, one-hot labels and sample weights; inputs are read as needed."""
    one_hot = np.eye(len(weights), dtype=np.float32)

    def rows(indices: npt.NDArray[np.int64]) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
        chosen, found = labels[indices], inputs[indices]
        return found if augment is None else augment(found, indices), one_hot[chosen], weights[chosen]

    def fetch(indices: Any) -> Any:
        shapes = ((None, *inputs.shape[1:]), (None, len(weights)), (None,))
        found = tf.numpy_function(rows, [indices], [inputs.dtype, tf.float32, tf.float32], stateful=False)
        return tuple(tf.ensure_shape(part, shape) for part, shape in zip(found, shapes, strict=True))

    return fetch


def class_weights(labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float32]:
    """Weights float32 `[C]`: pictures / (classes * pictures of the class), so that over the pictures they average 1."""
    counts = np.bincount(labels, minlength=classes)
    return np.asarray(len(labels) / (classes * np.maximum(counts, 1)), np.float32)
