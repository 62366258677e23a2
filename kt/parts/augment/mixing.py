"""MixUp and CutMix: each picture of a batch is mixed with another one, and their labels in the same shares.

keras_cv has layers of these names, but kt has its own. Those of keras_cv draw from generators that live over epochs,
and its CutMix counts the whole rectangle where only a part of it lies inside the picture. These mix class weights too.
"""

from dataclasses import dataclass
from typing import Any

from kt.errors import RecipeError
from kt.parts.augment.seeds import Draws
from kt.recipe import check_types


@dataclass(frozen=True)
class MixUp:
    """Two pictures laid over each other, and their labels in the same shares.

    alpha: each picture's share is drawn from Beta(alpha, alpha). A smaller alpha gives shares nearer to 0 or 1; with 1
    all shares are equally likely. (Zhang, Cisse, Dauphin and Lopez-Paz, mixup: Beyond Empirical Risk Minimization, ICLR
    2018.)
    """

    alpha: float = 0.2

    def __post_init__(self) -> None:
        _check(self)

    def __call__(self, images: Any, labels: Any, weights: Any, seed: Any) -> tuple[Any, Any, Any]:
        """A batch mixed: images float32 `[B, H, W, 3]`, labels `[B, C]` whose rows sum to 1, sample weights `[B]`."""
        import tensorflow as tf

        draws = Draws(images, seed)
        partners, share = draws.partners(), draws.beta(self.alpha)
        of_each = share[:, tf.newaxis, tf.newaxis, tf.newaxis]
        mixed = of_each * images + (1.0 - of_each) * tf.gather(images, partners)
        return mixed, *_labels(labels, weights, partners=partners, share=share)


@dataclass(frozen=True)
class CutMix:
    """A rectangle of another picture pasted in, and the labels in the shares of the two areas.

    alpha: the share of each picture that stays is drawn from Beta(alpha, alpha). The rectangle has the picture's
    proportions, and its centre may be anywhere. The part outside the picture is cut off, and labels are mixed by the
    pixels that are visible. (Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
    Features, ICCV 2019.)
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        _check(self)

    def __call__(self, images: Any, labels: Any, weights: Any, seed: Any) -> tuple[Any, Any, Any]:
        """A batch mixed: images float32 `[B, H, W, 3]`, labels `[B, C]` whose rows sum to 1, sample weights `[B]`."""
        import tensorflow as tf

        draws = Draws(images, seed)
        partners, ratio = draws.partners(), tf.sqrt(1.0 - draws.beta(self.alpha))
        height, width = tf.shape(images)[1], tf.shape(images)[2]
        rows, columns = (_stretch(ratio, side, middle=draws.whole(side)) for side in (height, width))
        pasted = rows[:, :, tf.newaxis] & columns[:, tf.newaxis, :]
        mixed = tf.where(pasted[..., tf.newaxis], tf.gather(images, partners), images)
        share = 1.0 - tf.reduce_mean(tf.cast(pasted, tf.float32), axis=[1, 2])
        return mixed, *_labels(labels, weights, partners=partners, share=share)


def _check(part: MixUp | CutMix) -> None:
    check_types(part)
    if part.alpha <= 0:
        raise RecipeError(f"{type(part).__name__}: alpha must be above 0, such as 0.2, not {part.alpha}.")


def _stretch(ratio: Any, side: Any, *, middle: Any) -> Any:
    """The mask, bool `[B, side]`, of an interval on a side: `ratio` of its length, around the middle, int32 `[B]`."""
    import tensorflow as tf

    length = tf.cast(ratio * tf.cast(side, tf.float32), tf.int32)
    first = (middle - length // 2)[:, tf.newaxis]
    places = tf.range(side)[tf.newaxis]
    return (places >= first) & (places < first + length[:, tf.newaxis])


def _labels(labels: Any, weights: Any, *, partners: Any, share: Any) -> tuple[Any, Any]:
    """Labels and sample weights for which the loss of a mixed picture is the weighted sum of the two losses.

    A cross-entropy is linear in the labels, also with smoothing. So the pictures' weights are multiplied into the
    shares of the labels, and the sum of these shares is the weight of the mixed picture.
    """
    import tensorflow as tf

    kept = (share * weights)[:, tf.newaxis] * labels
    added = ((1.0 - share) * tf.gather(weights, partners))[:, tf.newaxis] * tf.gather(labels, partners)
    total = tf.reduce_sum(kept + added, axis=1)
    return tf.math.divide_no_nan(kept + added, total[:, tf.newaxis]), total
