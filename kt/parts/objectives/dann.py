"""Domain-adversarial training: features from which a classifier can't tell two domains apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kt.errors import RecipeError
from kt.parts.objectives.adversary import domain_classifier, domain_loss, reversed_gradient, rising
from kt.recipe import Answers, check_types


@dataclass(frozen=True)
class Dann:
    """Trains a classifier to tell two domains apart by the features, and the features to mislead it.

    (Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016.) weight: the factor of the reversed
    gradient, above 0, which is reached at the end of the phase; it begins at 0 and follows 2 / (1 + exp(-10 p)) - 1,
    where p is the share of the phase's steps that are done. stream: the name of the other domain's pictures in the
    data; they need no labels. hidden: units of each of the two hidden layers of the domain classifier, 1 or more. The
    value in the history is the domain classifier's loss: ln 2 = 0.69 if it can't tell the domains apart. The best epoch
    is the one with the lowest loss on validation, which is of the labelled domain.
    """

    weight: float = 1.0
    stream: str = "target"
    hidden: int = 256

    judged_by = "val_loss"

    def __post_init__(self) -> None:
        check_types(self)
        if self.weight <= 0:
            raise RecipeError(f"Dann: weight must be above 0, such as 1.0, not {self.weight}.")
        if self.hidden < 1:
            raise RecipeError(f"Dann: hidden must be 1 or more units, such as 256, not {self.hidden}.")

    @property
    def streams(self) -> tuple[str, ...]:
        """The names of the streams that it needs besides the training split."""
        return (self.stream,)

    def layers(self, width: int, classes: int) -> Any:  # noqa: ARG002 - every objective takes the classes
        """The domain classifier, from features `[B, width]` to the logit `[B, 1]` of the training pictures' domain."""
        import keras

        features = keras.Input((width,), dtype="float32")
        return keras.Model(features, domain_classifier(features, self.hidden), name="domains")

    def loss(self, answers: Mapping[str, Answers], layers: Any, progress: Any) -> Any:
        """The domain classifier's loss. answers: by stream. layers: the classifier. progress: of the phase, 0 to 1."""
        scale = self.weight * rising(progress)
        logits = [layers(_reversed(answers[name].features, scale), training=True) for name in ("train", self.stream)]
        return domain_loss(*logits)


def _reversed(features: Any, scale: Any) -> Any:
    from keras import ops

    return reversed_gradient(ops.cast(features, "float32"), scale)
