"""Augmentation that goes together with frozen layers computed once: of a few copies of each picture, or of features.

A plain function in `Recipe.augment` changes the pictures anew in every epoch, so every epoch computes all layers.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kt.errors import RecipeError
from kt.recipe import check_types

if TYPE_CHECKING:  # recipes import this room, and are read before anything heavy loads
    import numpy as np
    import numpy.typing as npt

    Features = npt.NDArray[np.float32]
    Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Views:
    """Some augmented copies of each picture, made once; each epoch draws one of them, and none twice before all came.

    augment: a function of images, float `[N, H, W, 3]` in 0 to 255. views: how many copies. With as many views as
    epochs it is ordinary augmentation; frozen layers are computed `views` times a picture.
    """

    augment: Callable[[Any], Any]
    views: int = 4

    def __post_init__(self) -> None:
        check_types(self)
        if not 1 <= self.views <= 1000:
            raise RecipeError(f"Views: views must be from 1 to 1000 copies of each picture, not {self.views}.")

    def __call__(self, images: Any) -> Any:
        """The images augmented."""
        return self.augment(images)


@dataclass(frozen=True)
class FeatureAugmentation:
    """Changes what the frozen layers give instead of the pictures: nearly free, since they are computed once only.

    Brightness, channel by channel: each channel of a picture's features is moved by up to `brightness` of the range
    from the smallest to the largest of its features, and held within that range. (Bär, Houlsby, Dehghani and Kumar,
    Frozen Feature Augmentation for Few-Shot Image Classification, CVPR 2024, whose per-channel brightness it follows.)
    """

    brightness: float = 0.1

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 < self.brightness <= 1:
            raise RecipeError(f"FeatureAugmentation: brightness is above 0 and at most 1, not {self.brightness}.")

    def __call__(self, images: Any) -> Any:
        """The pictures as they are: it is not they that are changed."""
        return images

    def on_rows(
        self, rows: "Features", *, sizes: Sequence[int], channels: Sequence[int], seed: Sequence[int]
    ) -> "Features":
        """Rows float32 `[B, D]` changed: D holds tensors of `sizes` numbers, the last side of each in `channels`."""
        import numpy as np

        random = np.random.default_rng(list(seed))
        changed, start = np.empty_like(rows), 0
        for size, width in zip(sizes, channels, strict=True):
            part = rows[:, start : start + size].reshape(len(rows), -1, width)
            low, high = part.min(axis=(1, 2), keepdims=True), part.max(axis=(1, 2), keepdims=True)
            move = random.uniform(-self.brightness, self.brightness, (len(rows), 1, width)).astype(np.float32)
            moved = np.clip(part + move * (high - low), low, high)
            changed[:, start : start + size] = moved.reshape(len(rows), size)
            start += size
        return changed


def augmented(
    augment: Callable[[Any], Any], batches: "Callable[[], Iterable[Pictures]]", *, shape: Sequence[int]
) -> "Iterator[Pictures]":
    """Batches of pictures uint8 `[B, *shape]` augmented, by tf.data whichever backend trains."""
    import tensorflow as tf

    rows = tf.data.Dataset.from_generator(batches, output_signature=tf.TensorSpec((None, *shape), tf.uint8))
    return iter(rows.map(lambda pixels: in_graph(augment, pixels)).prefetch(2).as_numpy_iterator())


def in_graph(augment: Callable[[Any], Any], pixels: Any) -> Any:
    """A batch of pictures uint8 `[B, H, W, 3]` augmented, as TensorFlow operations for tf.data."""
    import tensorflow as tf

    images = tf.convert_to_tensor(augment(tf.cast(pixels, tf.float32)))
    images = tf.cast(tf.clip_by_value(tf.round(images), 0.0, 255.0), tf.uint8)
    return tf.ensure_shape(images, pixels.shape)
