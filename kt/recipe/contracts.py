"""What a recipe's own step of training, or its own objective, must have."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class Answers:
    """A model's outputs for a batch, as tensors.

    scores: `[B, C]`. logits: `[B, C]`, the outputs of the last layer before its activation. features: `[B, D]`, the
    inputs of the last layer.
    """

    scores: Any
    logits: Any
    features: Any


class _OnStreams(Protocol):
    """What all objectives have.

    streams: the names of the parts of the data (`kt.data.Splits.streams`) that it takes beside the training split.
    judged_by: the figure that epochs are compared by, such as "val_loss"; lower is better.
    """

    @property
    def streams(self) -> tuple[str, ...]: ...

    @property
    def judged_by(self) -> str: ...


class Objective(_OnStreams, Protocol):
    """What a phase trains for besides the head's loss, such as `kt.Coral()`: streams, judged_by and loss."""

    def loss(self, answers: Mapping[str, Answers]) -> Any:
        """The scalar that is added to a batch's loss. answers: by stream; the training split's is "train"."""
        ...


class Adaptation(Protocol):
    """How a classifier that learned in one domain is made to fit another, such as `kt.adaptation.methods` has.

    name: what the report calls it.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - said above

    def fit(
        self,
        source: Any,
        labels: Any,
        target: Any,
        *,
        classes: int,
        groups: Sequence[str] | None = None,
        balanced: bool = False,
        seed: int = 0,
    ) -> Any:
        """A `kt.linear.Linear` that classifies the target's features.

        source: features `[N, D]` with labels `[N]`, from 0 to below `classes`. target: features `[M, D]` without
        labels. groups: of the source's examples; those of one group are held out together. balanced: weigh each class
        by the inverse of its frequency. Raises DataError if the features or labels can't be used.
        """
        ...


@runtime_checkable
class ObjectiveWithLayers(_OnStreams, Protocol):
    """An objective with layers of its own, such as `kt.Dann()`.

    The layers train in the phase, with its optimizer, and a phase that goes on after a kill has them as they were. They
    are no part of the model that is kept and exported.
    """

    def layers(self, width: int, classes: int) -> Any:
        """A new Keras model or built layer. width: the length D of an example's features. classes: their number C."""
        ...

    def loss(self, answers: Mapping[str, Answers], layers: Any, progress: Any) -> Any:
        """The scalar that is added to a batch's loss.

        answers: by stream; the training split's is "train". layers: what the method `layers` gave, to be called with
        `training=True`. progress: the share of the phase's steps that are done, from 0 to below 1, a scalar tensor.
        """
        ...


@runtime_checkable
class Step(Protocol):
    """A step of a recipe's training: `Phase`, `LinearProbe`, or a class of your own with a method `train`.

    trainable: a function of the backbone that sets which of its layers train in the step. The method `train` gets a
    `kt.training.Session`, trains the model in any way, and returns `session.result(...)`.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - what the report and `--set` call it

    @property
    def trainable(self) -> Callable[[Any], None]: ...  # noqa: D102 - said above
