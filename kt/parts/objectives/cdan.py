"""Conditional domain-adversarial training: the domain classifier sees features together with the classes' scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kt.errors import RecipeError
from kt.parts.objectives.adversary import domain_classifier, domain_loss, reversed_gradient, rising
from kt.parts.objectives.sureness import sureness
from kt.recipe import Answers, check_types

WIDEST = 4096
"""The widest outer product that the domain classifier takes as it is; a wider one is projected at random."""

PROJECTED = 1024
"""The width of a random projection."""


@dataclass(frozen=True)
class Cdan:
    """Trains a classifier to tell two domains apart by features and scores together, and the model to mislead it.

    (Long et al., Conditional Adversarial Domain Adaptation, NeurIPS 2018.) The classifier's inputs are the products of
    each feature with each class's score, or a random projection of these where they are more than 4,096; weight, stream
    and hidden are those of `kt.Dann`, and so is the rise of the reversed gradient. entropy: whether an example counts
    more the surer its scores are, by 1 + exp(-entropy), which is taken as a constant. The value in the history is the
    domain classifier's loss: ln 2 = 0.69 if it can't tell the domains apart. The best epoch is the one with the lowest
    loss on validation, which is of the labelled domain.
    """

    weight: float = 1.0
    stream: str = "target"
    hidden: int = 256
    entropy: bool = True

    judged_by = "val_loss"

    def __post_init__(self) -> None:
        check_types(self)
        if self.weight <= 0:
            raise RecipeError(f"Cdan: weight must be above 0, such as 1.0, not {self.weight}.")
        if self.hidden < 1:
            raise RecipeError(f"Cdan: hidden must be 1 or more units, such as 256, not {self.hidden}.")

    @property
    def streams(self) -> tuple[str, ...]:
        """The names of the streams that it needs besides the training split."""
        return (self.stream,)

    def layers(self, width: int, classes: int) -> Any:
        """The domain classifier, from features `[B, width]` and scores `[B, classes]` to a logit `[B, 1]`."""
        import keras

        features = keras.Input((width,), dtype="float32")
        scores = keras.Input((classes,), dtype="float32")
        logit = domain_classifier(_product(features, scores), self.hidden)
        return keras.Model([features, scores], logit, name="domains")

    def loss(self, answers: Mapping[str, Answers], layers: Any, progress: Any) -> Any:
        """The domain classifier's loss. answers: by stream. layers: the classifier. progress: of the phase, 0 to 1."""
        from keras import ops

        scale = self.weight * rising(progress)
        both = [
            [ops.cast(part, "float32") for part in (answers[name].features, answers[name].scores)]
            for name in ("train", self.stream)
        ]
        here, away = (layers([reversed_gradient(part, scale) for part in parts], training=True) for parts in both)
        if not self.entropy:
            return domain_loss(here, away)
        return domain_loss(here, away, weights=(sureness(both[0][1]), sureness(both[1][1])))


def _product(features: Any, scores: Any) -> Any:
    """The outer products `[B, D * C]` of symbolic features `[B, D]` and scores `[B, C]`, or a projection of them.

    The projection is the product of two random ones, of the features and of the scores, whose weights never train.
    """
    from keras import initializers, layers, ops

    width, classes = int(features.shape[-1]), int(scores.shape[-1])
    if width * classes <= WIDEST:
        return ops.reshape(features[:, :, None] * scores[:, None, :], (-1, width * classes))
    of_features, of_scores = (
        layers.Dense(
            PROJECTED, use_bias=False, kernel_initializer=initializers.RandomNormal(stddev=1.0), trainable=False,
            dtype="float32", name=f"domain_projected_{name}",
        )(part)
        for name, part in (("features", features), ("scores", scores))
    )  # fmt: skip
    return of_features * of_scores / PROJECTED**0.5
