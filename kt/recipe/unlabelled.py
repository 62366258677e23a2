"""Steps that learn from one domain's examples alone, without their labels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kt.errors import RecipeError
from kt.recipe.field_types import check_step_name, check_takes, check_types, check_unfinished


@dataclass(frozen=True)
class AdaptiveBatchNorm:
    """A step that computes the statistics of every BatchNormalization of the backbone anew, from one domain's examples.

    (Li et al., Revisiting Batch Normalization For Practical Domain Adaptation, 2016.) Each layer gets the mean and the
    variance of its inputs over all examples of the stream, the first layer first, so that a later layer sees what the
    earlier ones give with their new statistics. No weight trains and no label is used. stream: "target", or another
    name of `Splits.streams`, or "train".

    Nothing that is known without labels can compare its weights with those of earlier steps, so they replace them. What
    learned on the old statistics, such as a probe's classifier, is not fitted again.
    """

    stream: str = "target"
    name: str = "statistics"

    def __post_init__(self) -> None:
        check_types(self)
        check_step_name(self.name, f"AdaptiveBatchNorm {self.name!r}")
        if self.stream in ("validation", "test"):
            raise RecipeError(
                f"AdaptiveBatchNorm {self.name!r}: stream is {self.stream!r}, which is there to judge the model; take "
                '"train" or a stream of the data, such as "target".'
            )

    @property
    def streams(self) -> tuple[str, ...]:
        """The names of the parts of the data that it takes beside the training split."""
        return () if self.stream == "train" else (self.stream,)

    @property
    def adapted_to(self) -> str | None:
        """The stream that its weights fit, if it is another one than validation is of."""
        return None if self.stream == "train" else self.stream

    def trainable(self, backbone: Any) -> None:
        """Any layer's output may change, so none counts as frozen."""
        backbone.trainable = True


@dataclass(frozen=True)
class Shot:
    """A step that moves the backbone's top towards another domain, while the classifier stays as it is.

    (SHOT: Liang et al., Do We Really Need to Access the Source Data?, ICML 2020.) It trains on the other domain's
    examples alone, without labels: each example's scores are to be sure, all classes are to occur about equally, and
    the scores are to agree with pseudo-labels. These come from the classes' centroids among the features, weighted by
    the scores, and are made anew at the beginning of each epoch.

    trainable: a function of the backbone that sets what trains; the head never does. epochs, lr, optimizer: as for
    `Phase`. stream: the name of the other domain's examples in the data. weight: the factor of the pseudo-labels'
    cross-entropy, 0 or more; 0.3 in the paper. diversity: the factor of the term that wants all classes, 0 or more;
    with 0, all examples may end in one class.

    Nothing that is known without labels can compare its weights with those of earlier steps or epochs. So the last
    epoch's weights are taken and replace the others.
    """

    trainable: Callable[[Any], None]
    epochs: int
    lr: float
    stream: str = "target"
    weight: float = 0.3
    diversity: float = 1.0
    optimizer: Callable[[Any], Any] | None = None
    name: str = "shot"

    def __post_init__(self) -> None:
        check_types(self)
        where = f"Shot {self.name!r}"
        check_step_name(self.name, where)
        if self.epochs < 1:
            raise RecipeError(f"{where}: epochs must be at least 1, not {self.epochs}.")
        if not 0 < self.lr < 100:
            raise RecipeError(f"{where}: lr must be above 0, such as 1e-4, not {self.lr}.")
        for name in ("weight", "diversity"):
            if getattr(self, name) < 0:
                raise RecipeError(f"{where}: {name} must be 0 or more, such as 0.3, not {getattr(self, name)}.")
        if self.stream in ("train", "validation", "test"):
            raise RecipeError(f'{where}: stream is {self.stream!r}, which has labels; name a stream without, "target".')
        check_unfinished(self.trainable, f"{where}: trainable")
        check_takes(self.trainable, ["backbone"], f"{where}: trainable")
        if self.optimizer is not None:
            check_takes(self.optimizer, ["lr"], f"{where}: optimizer")

    @property
    def streams(self) -> tuple[str, ...]:
        """The names of the parts of the data that it takes beside the training split."""
        return (self.stream,)

    @property
    def adapted_to(self) -> str:
        """The stream that its weights fit; validation, which is of the other domain, does not judge them."""
        return self.stream
