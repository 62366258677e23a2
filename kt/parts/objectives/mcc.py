"""Minimum class confusion: trains the model not to waver between classes on pictures of another domain."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kt.errors import RecipeError
from kt.parts.objectives.sureness import sureness
from kt.recipe import Answers, check_types


@dataclass(frozen=True)
class Mcc:
    """Adds to the loss how much the model confuses classes on another domain's pictures.

    (Jin et al., Minimum Class Confusion for Versatile Domain Adaptation, ECCV 2020.) weight: the factor of the
    confusion, above 0; the head's loss has the factor 1. stream: the name of the other domain's pictures in the data;
    they need no labels. temperature: what logits are divided by, above 0; 2.5 in the paper. The best epoch is the one
    with the lowest loss on validation, which is of the labelled domain.
    """

    weight: float = 1.0
    stream: str = "target"
    temperature: float = 2.5

    judged_by = "val_loss"

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("weight", "temperature"):
            if getattr(self, name) <= 0:
                raise RecipeError(f"Mcc: {name} must be above 0, such as 1.0, not {getattr(self, name)}.")

    @property
    def streams(self) -> tuple[str, ...]:
        """The names of the streams that it needs besides the training split."""
        return (self.stream,)

    def loss(self, answers: Mapping[str, Answers]) -> Any:
        """The term that is added to a batch's loss. answers: the model's outputs by stream."""
        return self.weight * confusion(answers[self.stream].logits, self.temperature)


def confusion(logits: Any, temperature: float) -> Any:
    """The mean share of a class's predictions that other classes have too, from logits `[N, C]`: 0 to below 1.

    An example counts more the surer its prediction is: by 1 + exp(-entropy), which is taken as a constant.
    """
    from keras import ops

    scores = ops.softmax(ops.cast(logits, "float32") / temperature)
    together = ops.matmul(ops.transpose(scores), sureness(scores) * scores)
    shares = together / ops.maximum(ops.sum(together, axis=1, keepdims=True), 1e-12)
    return 1.0 - ops.mean(ops.diagonal(shares))
