"""Random numbers that follow from a seed alone: no generator keeps a state from one batch to the next.

So a batch does not depend on the batches drawn before it. This matters because Keras's JAX and torch trainers begin one
more pass than its TensorFlow trainer, and because an interrupted training continues in the middle.
"""

from typing import Any


def seed_of(*numbers: int) -> tuple[int, int]:
    """A seed for TensorFlow's stateless functions, two int32 numbers, from integers of 0 or more."""
    import numpy as np

    first, second = np.random.SeedSequence(list(numbers)).generate_state(2).view(np.int32).tolist()
    return first, second


def part_of(seed: Any, part: int) -> Any:
    """A seed, int32 `[2]`, for part number `part` of the work that `seed` is for."""
    import tensorflow as tf

    return tf.random.experimental.stateless_fold_in(seed, part, alg="philox")


class Draws:
    """Random numbers for the pictures of a batch `[B, ...]`, as TensorFlow operations; each call draws new ones.

    They use Philox, because TensorFlow's default algorithm depends on the device.
    """

    def __init__(self, images: Any, seed: Any) -> None:
        import tensorflow as tf

        self._tf, self._seed, self._drawn = tf, seed, 0
        self._count = tf.shape(images)[0]

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Any:
        """Float32 `[B]` from `low` to below `high`."""
        return self._tf.random.stateless_uniform([self._count], self._next(), low, high, alg="philox")

    def normal(self, *, mean: float, spread: float, low: float, high: float) -> Any:
        """Float32 `[B]`, normal, clipped to `low` and `high`."""
        numbers = self._tf.random.stateless_normal([self._count], self._next(), mean, spread, alg="philox")
        return self._tf.clip_by_value(numbers, low, high)

    def sign(self) -> Any:
        """Float32 `[B]`, each 1 or -1."""
        return self._tf.where(self.uniform() < 0.5, -1.0, 1.0)

    def whole(self, below: Any) -> Any:
        """Int32 `[B]` from 0 up to, but not including, `below`."""
        tf = self._tf
        return tf.random.stateless_uniform([self._count], self._next(), 0, below, tf.int32, alg="philox")

    def beta(self, alpha: float) -> Any:
        """Float32 `[B]` from 0 to 1 by the distribution Beta(alpha, alpha)."""
        tf = self._tf
        # In float64: a small alpha gives numbers that are 0 in float32, and 0 / 0 is NaN.
        first, second = (
            tf.random.stateless_gamma([self._count], self._next(), alpha=alpha, dtype=tf.float64) for _ in range(2)
        )
        return tf.cast(tf.math.divide_no_nan(first, first + second), tf.float32)

    def partners(self) -> Any:
        """Int32 `[B]`: the pictures of the batch in another order."""
        return self._tf.random.experimental.stateless_shuffle(self._tf.range(self._count), self._next(), alg="philox")

    def _next(self) -> Any:
        self._drawn += 1
        return part_of(self._seed, self._drawn)
