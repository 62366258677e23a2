"""RandAugment: keras_cv's operations, with numbers that follow from the batch's seed."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

from kt.base.console import quiet
from kt.errors import RecipeError
from kt.parts.augment.seeds import Draws, part_of
from kt.recipe import check_types

SPREAD = 0.15
"""The standard deviation of an operation's strength, as in keras_cv."""

_Operation = Callable[[Any, Any], Any]
"""A function of pictures float32 `[N, H, W, 3]` and of numbers for each picture, `[N, 4]`, drawn by `_numbers`."""


@dataclass(frozen=True)
class RandAugment:
    """Some operations for each picture, drawn from ten: contrast, brightness, colour, solarising, shearing and moving.

    augmentations: how many operations, one after another; one draw in eleven does nothing. magnitude: their strength, 0
    to 1. geometric: whether pictures are sheared and moved too, by up to `magnitude` of their sides; without that there
    are six operations, and one draw in seven does nothing. (Cubuk, Zoph, Shlens and Le, RandAugment: Practical
    Automated Data Augmentation with a Reduced Search Space, NeurIPS 2020, with 2 and 9/30.)

    The operations are keras_cv's, from its `RandAugment.get_standard_policy`. The random numbers are drawn here,
    because keras_cv's own layer gives different pictures each time, even with a seed (keras_cv 0.9 takes the numbers
    from TensorFlow's global generators).
    """

    augmentations: int = 2
    magnitude: float = 0.3
    geometric: bool = True

    def __post_init__(self) -> None:
        check_types(self)
        if not 1 <= self.augmentations <= 10:
            raise RecipeError(
                f"RandAugment: augmentations must be from 1 to 10 operations a picture, not {self.augmentations}."
            )
        if not 0 <= self.magnitude <= 1:
            raise RecipeError(f"RandAugment: magnitude is a strength from 0 to 1, not {self.magnitude}.")

    def __call__(self, images: Any, seed: Any) -> Any:
        """Images float32 `[B, H, W, 3]` in 0 to 255 changed, in a graph of tf.data or eagerly. seed: int32 `[2]`."""
        return _changes(self.magnitude, geometric=self.geometric)(images, seed, self.augmentations)


@cache
def _changes(magnitude: float, *, geometric: bool) -> Any:
    """A function of images, a seed and a number: it applies this number of operations to each picture, one by one.

    It is traced once for each size of pictures. Its graph is a loop that contains the operations once: TensorFlow
    optimises the graph again for each iterator over batches, which took two seconds an epoch without the loop.
    """
    import tensorflow as tf

    def changed(images: Any, seed: Any, times: Any) -> Any:
        for place in tf.range(times):  # a loop within the graph
            images = _each_by_its_own(images, part_of(seed, place), magnitude, geometric=geometric)
        return images

    in_graph = tf.function(changed)
    return lambda images, seed, times: in_graph(tf.cast(images, tf.float32), seed, tf.constant(times))


def _each_by_its_own(images: Any, seed: Any, magnitude: float, *, geometric: bool) -> Any:
    """The images, each changed by one operation or by none. An operation is computed only for its own pictures."""
    import tensorflow as tf

    operations, draws = _operations(geometric=geometric), Draws(images, seed)
    chosen, numbers = draws.whole(len(operations) + 1), _numbers(draws, magnitude)
    parts = tf.dynamic_partition(tf.range(tf.shape(images)[0]), chosen, len(operations) + 1)
    changed = [
        _some(change, tf.gather(images, part), tf.gather(numbers, part))
        for part, change in zip(parts, operations, strict=False)  # the last part stays as it is
    ]
    return tf.ensure_shape(tf.dynamic_stitch(parts, [*changed, tf.gather(images, parts[-1])]), images.shape)


def _some(change: _Operation, images: Any, numbers: Any) -> Any:
    """The images changed by an operation, if there are any: some of keras_cv's operations fail on an empty batch."""
    import tensorflow as tf

    return tf.cond(tf.shape(images)[0] > 0, lambda: change(images, numbers), lambda: images)


EVEN, STRONG, OTHER, SIGNED = range(4)
"""Columns of a picture's numbers: uniform from -magnitude to magnitude; two strengths; the first with a random sign."""


def _numbers(draws: Draws, magnitude: float) -> Any:
    """The numbers, float32 `[B, 4]`, as keras_cv's policy draws them. A picture uses only those of its operation."""
    import tensorflow as tf

    strong, other = (draws.normal(mean=magnitude, spread=SPREAD, low=0.0, high=1.0) for _ in range(2))
    return tf.stack([draws.uniform(-magnitude, magnitude), strong, other, draws.sign() * strong], axis=1)


def _operations(*, geometric: bool) -> list[_Operation]:
    """The operations of keras_cv's policy, in its order."""
    layers = _layers()

    def by(place: int, transformations: Callable[[Any], Any]) -> _Operation:
        return lambda images, numbers: layers[place].augment_images(images, transformations=transformations(numbers))

    operations = [
        by(0, lambda _: None),  # auto contrast
        by(1, lambda _: None),  # equalisation
        by(2, _solarising),
        by(3, lambda numbers: _wide(numbers[:, STRONG])),  # colour towards grey
        by(4, lambda numbers: 1.0 + _wide(numbers[:, EVEN])),  # contrast
        by(5, lambda numbers: 255.0 * _wide(numbers[:, EVEN])),  # brightness
    ]
    if geometric:
        operations += [
            by(6, lambda numbers: {"shear_x": numbers[:, SIGNED, None], "shear_y": None}),
            by(7, lambda numbers: {"shear_x": None, "shear_y": numbers[:, SIGNED, None]}),
            by(8, lambda numbers: _moving(across=numbers[:, EVEN, None], down=0.0)),
            by(9, lambda numbers: _moving(across=0.0, down=numbers[:, EVEN, None])),
        ]
    return operations


def _solarising(numbers: Any) -> dict[str, Any]:
    # The stronger the operation, the more is added, and the lower is the level above which levels are inverted.
    return {"additions": 110.0 * _wide(numbers[:, STRONG]), "thresholds": 255.0 * (1.0 - _wide(numbers[:, OTHER]))}


def _moving(*, across: Any, down: Any) -> dict[str, Any]:
    return {"width_translations": across + 0.0 * down, "height_translations": down + 0.0 * across}


def _wide(numbers: Any) -> Any:
    return numbers[:, None, None, None]


@cache
def _layers() -> list[Any]:
    """The layers of keras_cv's policy; only their functions that change pictures by given numbers are used.

    They are made in their own thread, where TensorFlow works eagerly: they create variables, which fails while a graph
    is traced.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(_new_layers).result()


def _new_layers() -> list[Any]:
    import tensorflow as tf

    try:
        tf.random.get_global_generator()
    except RuntimeError:  # op determinism forbids TensorFlow's generator without a seed, and keras_cv 0.9 needs one
        tf.random.set_global_generator(tf.random.Generator.from_seed(1))
    with quiet():
        from keras_cv.layers import RandAugment as Policy

    layers = Policy.get_standard_policy((0, 255), magnitude=0.5, magnitude_stddev=SPREAD, seed=1)
    for layer in layers:
        layer.dtype_policy = "float32"  # even with mixed precision: bfloat16 is too coarse for 8-bit levels
    return list(layers)
