"""Augmentation that allows cached activations: a few copies of each picture, or changes of the activations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kt.errors import RecipeError
from kt.parts.augment.asking import MIXES, SEED, asks, name_of
from kt.recipe import check_types

if TYPE_CHECKING:  # recipes import this package, and are read before anything heavy is imported
    import numpy as np
    import numpy.typing as npt

    Features = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Views:
    """Augmented copies of each picture, made once. Each epoch uses one; all are used before one is used again.

    augment: a function of images, float `[N, H, W, 3]` in 0 to 255, such as `RandAugment()`. views: how many copies.
    With as many views as epochs this is ordinary augmentation. Frozen layers are computed `views` times a picture.
    """

    augment: Callable[..., Any]
    views: int = 4

    def __post_init__(self) -> None:
        check_types(self)
        if not 1 <= self.views <= 1000:
            raise RecipeError(f"Views: views must be from 1 to 1000 copies of each picture, not {self.views}.")
        if asks(self.augment) == MIXES:
            name = name_of(self.augment)
            raise RecipeError(
                f"Views: {name} mixes the labels of pictures, and a view of a picture has its own label; write it "
                f"behind: augment=[Views(...), {name}(...)]."
            )

    def __call__(self, images: Any, seed: Any) -> Any:
        """The images, augmented. The seed is passed only to a function that takes one."""
        return self.augment(images, seed) if asks(self.augment) == SEED else self.augment(images)


@dataclass(frozen=True)
class FeatureAugmentation:
    """Changes cached activations instead of pictures: nearly free, since frozen layers are computed only once.

    It changes brightness by channel: each channel of a picture's features is moved by up to `brightness` of the range
    from the smallest to the largest of the picture's features, and clipped to that range. (Bär, Houlsby, Dehghani and
    Kumar, Frozen Feature Augmentation for Few-Shot Image Classification, CVPR 2024, whose per-channel brightness it
    follows.)
    """

    brightness: float = 0.1

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 < self.brightness <= 1:
            raise RecipeError(f"FeatureAugmentation: brightness is above 0 and at most 1, not {self.brightness}.")

    def __call__(self, images: Any) -> Any:
        """The pictures unchanged: only activations are changed (`on_rows`)."""
        return images

    def on_rows(
        self, rows: "Features", *, sizes: Sequence[int], channels: Sequence[int], seed: Sequence[int]
    ) -> "Features":
        """Cached activations float32 `[B, D]`, changed.

        D holds several tensors: `sizes` are their numbers of values, `channels` their last sides.
        """
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
