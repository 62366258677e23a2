"""Batches for training: the same on every backend, in an order that follows from the seed and the epoch alone."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kt.frozen.engine import Inputs, Work
from kt.parts.augment import plan_of, seed_of
from kt.recipe import Recipe

Labels = npt.NDArray[np.int64]


@dataclass
class Order:
    """Batches of indices in an order that follows from the seed and the epoch alone.

    tf.data's own shuffle does not serve: Keras's JAX and torch trainers begin an extra pass, which would advance it.
    """

    pictures: int
    batch_size: int
    seed: tuple[int, ...]
    views: int = 1
    epoch: int = 0

    def __call__(self) -> Iterator[npt.NDArray[np.int64]]:
        """One epoch, as int64 `[batch_size]` arrays, the last one shorter.

        With views, an index is that of the picture's view for this epoch, among `[views * pictures]`, view after view.
        """
        order = np.random.default_rng([*self.seed, self.epoch]).permutation(self.pictures)
        if self.views > 1:
            order = order + self.pictures * self._views_of_epoch()[order]
        for start in range(0, self.pictures, self.batch_size):
            yield order[start : start + self.batch_size]

    def seeded(self) -> Iterator[tuple[npt.NDArray[np.int64], tuple[int, int]]]:
        """The batches of an epoch, each with its own seed for random augmentation: two numbers of int32."""
        for number, chosen in enumerate(self()):
            yield chosen, seed_of(*self.seed, self.epoch, number)

    def beside(self, count: int, name: str) -> Iterator[npt.NDArray[np.int64]]:
        """For each batch of an epoch, the indices of equally many examples of the stream `name`, which has `count`.

        The order follows from the seed, the epoch and the name. After the last example the stream begins again in
        another order.
        """
        turn, left = 0, np.empty(0, np.int64)
        for batch in self():
            while len(left) < len(batch):
                random = np.random.default_rng([*self.seed, self.epoch, zlib.crc32(name.encode()), turn])
                turn, left = turn + 1, np.concatenate([left, random.permutation(count)])
            yield left[: len(batch)]
            left = left[len(batch) :]

    def _views_of_epoch(self) -> npt.NDArray[np.int64]:
        """The index of each picture's view for this epoch. In `views` epochs a picture shows each view once."""
        again, now = divmod(self.epoch, self.views)
        random = np.random.default_rng([*self.seed, again, self.views])
        turns = random.permuted(np.tile(np.arange(self.views), (self.pictures, 1)), axis=1)
        return np.asarray(turns[:, now], np.int64)


def training_batches(order: Order, work: Work, labels: Labels, *, recipe: Recipe, classes: int) -> Any:
    """Batches of a training phase in the given order, augmented, each with its sample weights.

    Augmentation is seeded by the phase, the epoch and the number of the batch, because JAX and torch draw batches ahead
    that they don't use. Where the phase has further streams, the inputs are a mapping from "train" and the streams'
    names to equally many examples of each; labels and weights are those of train.
    """
    balanced = recipe.class_weight == "balanced"
    weights = class_weights(labels, classes) if balanced else np.ones(classes, np.float32)
    signature = tf.TensorSpec((None,), tf.int64), tf.TensorSpec((2,), tf.int32)
    indices = tf.data.Dataset.from_generator(order.seeded, output_signature=signature)
    fetch, plan = _fetch(work.train, np.tile(labels, order.views), weights, work.augment), plan_of(recipe.augment)
    pictures = indices.map(lambda chosen, seed: (*fetch(chosen, seed), seed))
    pictures = pictures.map(plan.on_batch if plan.each_epoch else lambda x, y, w, _: (x, y, w))
    if work.streams:
        others = {name: _stream(order, inputs, name) for name, inputs in work.streams.items()}
        both = tf.data.Dataset.zip(pictures, others)
        pictures = both.map(lambda own, more: ({"train": own[0], **more}, own[1], own[2]))
    steps = -(-order.pictures // order.batch_size)
    return pictures.prefetch(2).apply(tf.data.experimental.assert_cardinality(steps))


def _stream(order: Order, inputs: Inputs, name: str) -> Any:
    """Batches of a stream without labels, as large as those of the order."""
    signature = tf.TensorSpec((None,), tf.int64)
    indices = tf.data.Dataset.from_generator(partial(order.beside, len(inputs), name), output_signature=signature)

    def fetch(chosen: Any) -> Any:
        batch = tf.numpy_function(lambda places: inputs[places], [chosen], inputs.dtype, stateful=False)
        return tf.ensure_shape(batch, (None, *inputs.shape[1:]))

    return indices.map(fetch)


def batches(inputs: Inputs, labels: Labels, *, classes: int, batch_size: int) -> Any:
    """Batches in the given order, with equal weights."""
    order = tf.data.Dataset.range(len(labels)).batch(batch_size)
    fetch = _fetch(inputs, labels, np.ones(classes, np.float32), None)
    return order.map(lambda chosen: fetch(chosen, (0, 0))).prefetch(2)


def _fetch(inputs: Inputs, labels: Labels, weights: npt.NDArray[np.float32], augment: Callable[..., Any] | None) -> Any:
    """A tf.data function from indices and a seed to inputs, one-hot labels and sample weights.

    Inputs are read when they are needed. augment: changes the inputs, given `seed=`.
    """
    one_hot = np.eye(len(weights), dtype=np.float32)

    def batch(indices: npt.NDArray[np.int64], seed: npt.NDArray[np.int32]) -> tuple[npt.NDArray[Any], ...]:
        classes, examples = labels[indices], inputs[indices]
        if augment is not None:
            examples = augment(examples, seed=seed.view(np.uint32).tolist())
        return examples, one_hot[classes], weights[classes]

    def fetch(indices: Any, seed: Any) -> Any:
        shapes = ((None, *inputs.shape[1:]), (None, len(weights)), (None,))
        parts = tf.numpy_function(batch, [indices, seed], [inputs.dtype, tf.float32, tf.float32], stateful=False)
        return tuple(tf.ensure_shape(part, shape) for part, shape in zip(parts, shapes, strict=True))

    return fetch


def class_weights(labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float32]:
    """Weights float32 `[C]`: pictures / (classes * pictures of the class), so that their mean over pictures is 1."""
    counts = np.bincount(labels, minlength=classes)
    return np.asarray(len(labels) / (classes * np.maximum(counts, 1)), np.float32)
