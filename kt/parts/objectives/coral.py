"""Deep CORAL: trains the model's outputs to have the same covariance in two domains, one of which has no labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kt.errors import RecipeError
from kt.recipe import Answers, check_types


@dataclass(frozen=True)
class Coral:
    """Adds to the loss the distance between the covariances of training pictures and of another domain's pictures.

    (Sun and Saenko, Deep CORAL: Correlation Alignment for Deep Domain Adaptation, ECCV workshops 2016.) weight: the
    factor of this distance, above 0; the head's loss has the factor 1. stream: the name of the other domain's pictures
    in the data; they need no labels. on: "logits", the last layer's outputs before its softmax, as in the paper, or
    "features", its inputs. The best epoch is the one with the lowest loss on validation, which is of the labelled
    domain.
    """

    weight: float = 1.0
    stream: str = "target"
    on: str = "logits"

    judged_by = "val_loss"

    def __post_init__(self) -> None:
        check_types(self)
        if self.weight <= 0:
            raise RecipeError(f"Coral: weight must be above 0, such as 1.0, not {self.weight}.")
        if self.on not in ("logits", "features"):
            raise RecipeError(f"Coral: on must be 'logits' or 'features', not {self.on!r}.")

    @property
    def streams(self) -> tuple[str, ...]:
        """The names of the streams that it needs besides the training split."""
        return (self.stream,)

    def loss(self, answers: Mapping[str, Answers]) -> Any:
        """The term that is added to a batch's loss. answers: the model's outputs by stream, "train" among them."""
        source, target = (getattr(answers[name], self.on) for name in ("train", self.stream))
        return self.weight * coral(source, target)


def coral(one: Any, other: Any) -> Any:
    """The squared distance of the covariances of tensors `[N, d]` and `[M, d]`, divided by `4 d²`.

    It is 0 for equal covariances. A single example has no covariance, so N and M should be 2 or more; the covariance of
    a single example is taken as 0.
    """
    from keras import ops

    width = int(one.shape[-1])
    difference = _covariance(one) - _covariance(other)
    return ops.sum(ops.square(difference)) / (4.0 * width * width)


def _covariance(rows: Any) -> Any:
    """The covariance `[d, d]` of the columns of `[N, d]`, divided by N - 1."""
    from keras import ops

    rows = ops.cast(rows, "float32")
    centred = rows - ops.mean(rows, axis=0, keepdims=True)
    count = ops.cast(ops.shape(rows)[0], "float32")
    return ops.matmul(ops.transpose(centred), centred) / ops.maximum(count - 1.0, 1.0)
