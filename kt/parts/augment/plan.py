"""The parts of a recipe's `augment`: copies made once, changes in every epoch, changes of cached activations."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kt.errors import RecipeError
from kt.parts.augment.asking import MIXES, SEED, asks, name_of
from kt.parts.augment.seeds import part_of, seed_of
from kt.parts.augment.stored import FeatureAugmentation, Views

if TYPE_CHECKING:  # recipes import this package, and are read before anything heavy is imported
    import numpy as np
    import numpy.typing as npt

    Pictures = npt.NDArray[np.uint8]

Augment = Callable[..., Any] | Sequence[Callable[..., Any]] | None
"""The type of `Recipe.augment`."""


@dataclass(frozen=True)
class Augmentation:
    """The parts of a recipe's `augment` by what they do. The rest of kt uses this and no part's type.

    views: copies that are made once. each_epoch: functions that change batches of pictures in every epoch, in this
    order; with any of them, frozen layers can't be computed only once. features: changes cached activations.
    """

    views: Views | None = None
    each_epoch: tuple[Callable[..., Any], ...] = ()
    features: FeatureAugmentation | None = None

    @property
    def names(self) -> str:
        """The names of the functions that are called in every epoch, for a person."""
        return " and ".join(map(name_of, self.each_epoch))

    def on_batch(self, pixels: Any, labels: Any, weights: Any, seed: Any) -> tuple[Any, Any, Any]:
        """A batch changed by all functions that are called in every epoch, as TensorFlow operations for tf.data.

        pixels: uint8 `[B, H, W, 3]`. labels: float32 `[B, C]`, one-hot before. weights: float32 `[B]`. seed: int32
        `[2]`, the batch's own.
        """
        return in_graph(self.each_epoch, pixels, labels, weights, seed=seed)

    def copies(
        self, batches: "Callable[[], Iterable[Pictures]]", *, shape: Sequence[int], seed: int
    ) -> "Iterator[Pictures]":
        """Batches of pictures uint8 `[B, *shape]` augmented by `views`, in tf.data whichever backend trains."""
        import tensorflow as tf

        def seeded() -> Iterator[tuple[Any, tuple[int, int]]]:
            for number, pixels in enumerate(batches()):
                yield pixels, seed_of(seed, number)

        signature = tf.TensorSpec((None, *shape), tf.uint8), tf.TensorSpec((2,), tf.int32)
        pictures = tf.data.Dataset.from_generator(seeded, output_signature=signature)
        changed = pictures.map(lambda pixels, own: in_graph([self.views], pixels, None, None, seed=own)[0])
        return iter(changed.prefetch(2).as_numpy_iterator())


def plan_of(augment: Augment) -> Augmentation:
    """The parts of `Recipe.augment`. Raises RecipeError for parts that can't go together."""
    parts = list(augment) if isinstance(augment, Sequence) else [] if augment is None else [augment]
    views = [part for part in parts if isinstance(part, Views)]
    features = [part for part in parts if isinstance(part, FeatureAugmentation)]
    each_epoch = [part for part in parts if not isinstance(part, Views | FeatureAugmentation)]
    if views and (len(views) > 1 or parts[0] is not views[0]):
        raise RecipeError("augment: Views makes its copies before training, so it comes first in the list, and once.")
    if len(features) > 1:
        raise RecipeError("augment: FeatureAugmentation stands in the list twice; write it once.")
    if features and each_epoch:
        raise RecipeError(
            f"augment: FeatureAugmentation changes frozen layers' stored outputs, and none are stored of pictures that "
            f"{name_of(each_epoch[0])} changes in every epoch; leave out one of the two, or write Views(...) around "
            "what changes pictures."
        )
    return Augmentation(views[0] if views else None, tuple(each_epoch), features[0] if features else None)


def copies_of(augment: Augment) -> int:
    """How many copies of each picture are made; 1 without views."""
    views = plan_of(augment).views
    return 1 if views is None else views.views


def in_graph(functions: Sequence[Any], pixels: Any, labels: Any, weights: Any, *, seed: Any) -> tuple[Any, Any, Any]:
    """Pictures uint8 `[B, H, W, 3]`, labels and weights after all functions; each gets the arguments that it takes."""
    import tensorflow as tf

    images = tf.cast(pixels, tf.float32)
    for place, function in enumerate(functions):
        own = part_of(seed, place)
        if asks(function) == MIXES:
            images, labels, weights = function(images, labels, weights, own)
        else:
            images = function(images, own) if asks(function) == SEED else function(images)
        images = tf.clip_by_value(tf.cast(images, tf.float32), 0.0, 255.0)
        images = tf.ensure_shape(images, pixels.shape)
    return tf.cast(tf.round(images), tf.uint8), labels, weights
