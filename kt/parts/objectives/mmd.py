"""Maximum mean discrepancy: trains the model's outputs to have the same distribution in two domains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from kt.errors import RecipeError
from kt.recipe import Answers, check_types


@dataclass(frozen=True)
class Mmd:
    """Adds to the loss the squared maximum mean discrepancy between training pictures and another domain's pictures.

    (Long et al., Learning Transferable Features with Deep Adaptation Networks, ICML 2015; its kernels have learned
    weights, these have equal ones.) weight: the factor of this distance, above 0; the head's loss has the factor 1.
    stream: the name of the other domain's pictures in the data; they need no labels. on: "features", the inputs of the
    last layer, or "logits", its outputs before the softmax. multiples: the widths of the Gaussian kernels, each a
    multiple, above 0, of the median squared distance in the batch. The best epoch is the one with the lowest loss on
    validation, which is of the labelled domain.
    """

    weight: float = 1.0
    stream: str = "target"
    on: Literal["features", "logits"] = "features"
    multiples: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0)

    judged_by = "val_loss"

    def __post_init__(self) -> None:
        check_types(self)
        if self.weight <= 0:
            raise RecipeError(f"Mmd: weight must be above 0, such as 1.0, not {self.weight}.")
        if not self.multiples or min(self.multiples) <= 0:
            raise RecipeError(f"Mmd: multiples must be numbers above 0, at least one, not {self.multiples!r}.")

    @property
    def streams(self) -> tuple[str, ...]:
        """The names of the streams that it needs besides the training split."""
        return (self.stream,)

    def loss(self, answers: Mapping[str, Answers]) -> Any:
        """The term that is added to a batch's loss. answers: the model's outputs by stream, "train" among them."""
        source, target = (getattr(answers[name], self.on) for name in ("train", self.stream))
        return self.weight * mmd(source, target, self.multiples)


def mmd(one: Any, other: Any, multiples: Sequence[float]) -> Any:
    """The squared maximum mean discrepancy of tensors `[N, d]` and `[M, d]`, from 0 to 2.

    The kernel is the mean of `exp(-distance² / (multiple * median))` over the multiples; the median is that of the
    squared distances of all pairs in both tensors together, the upper one of two, and taken as a constant. The
    estimator is the biased one, in which an example is a pair with itself: exactly 0 for equal samples.
    """
    from keras import ops

    one, other = ops.cast(one, "float32"), ops.cast(other, "float32")
    # Differences of large numbers are inexact, and distances don't depend on where the middle is.
    middle = ops.stop_gradient(ops.mean(ops.concatenate([one, other]), axis=0))
    one, other = one - middle, other - middle
    within, beyond, between = _squared(one, one), _squared(other, other), _squared(one, other)
    distances = [ops.reshape(part, (-1,)) for part in (within, beyond, between, between)]
    width = ops.maximum(_median(ops.stop_gradient(ops.concatenate(distances)), one, other), 1e-12)
    total: Any = 0.0
    for multiple in multiples:
        means = [ops.mean(ops.exp(-part / (multiple * width))) for part in (within, beyond, between)]
        total = total + means[0] + means[1] - 2.0 * means[2]
    return total / len(multiples)


def _squared(one: Any, other: Any) -> Any:
    """The squared distances `[N, M]` of the rows of `[N, d]` and `[M, d]`."""
    from keras import ops

    lengths = ops.sum(ops.square(one), axis=1)[:, None] + ops.sum(ops.square(other), axis=1)[None, :]
    return ops.maximum(lengths - 2.0 * ops.matmul(one, ops.transpose(other)), 0.0)


def _median(distances: Any, one: Any, other: Any) -> Any:
    """The upper median of the distances of different rows, of which the list holds each twice, and n zeros beside."""
    from keras import ops

    count = ops.shape(one)[0] + ops.shape(other)[0]
    return ops.take(ops.sort(distances), (count * count + count) // 2)
