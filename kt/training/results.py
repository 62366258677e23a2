"""The results of training: one for each phase, and the best weights over all phases."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.training.checkpoints import Reached
from kt.training.layer_rates import BlockRate

JUDGED_BY = "val_loss"
"""The figure that picks the best epoch, unless an objective names another: the head's loss on validation."""


@dataclass(frozen=True)
class PhaseResult:
    """The result of a phase.

    inputs: what was trained on, pixels or stored outputs of frozen layers. history: a list for each of loss, val_loss,
    the head's metrics, such as accuracy and val_accuracy, and lr (with layer_rates the highest), one value an epoch.
    probe: what a linear probe chose; a probe counts as one epoch and has no learning rate. layer_rates: the peak rate
    of each block that trains, the head last; empty where all train at `lr`. gain: how much lower the log loss on
    validation is than with the weights that the phase began from, on the same pictures, with an interval; None where
    it began from no trained weights, or where its weights were not kept. objective: what the phase trained for besides
    the head's loss, as plain data; None for nothing. adapted_to: the stream that the weights were fitted to; figures on
    validation do not judge them then. None for a phase that learned for the training split's own domain.
    """

    name: str
    epochs: int
    epochs_run: int
    lr: float | None
    trainable_parameters: int
    total_parameters: int
    trainable_layers: int
    first_trainable: str
    inputs: str
    seconds: float
    history: dict[str, list[float]]
    best_epoch: int
    best_val_loss: float
    probe: dict[str, Any] | None = None
    layer_rates: tuple[BlockRate, ...] = ()
    gain: dict[str, Any] | None = None
    objective: Any = None
    adapted_to: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "PhaseResult":
        """The reverse of `dataclasses.asdict`, after JSON."""
        return cls(**{**data, "layer_rates": tuple(BlockRate(**rate) for rate in data["layer_rates"])})


@dataclass
class Best:
    """The best weights so far, over all phases, by the loss on validation or by an objective's own figure.

    epoch: counts from 1. val_accuracy: None where the head has no metric named `accuracy`. scores: of these weights on
    validation, float32 `[N, C]`, once their phase has ended.
    """

    phase: str = ""
    epoch: int = 0
    val_loss: float = float("inf")
    val_accuracy: float | None = None
    weights: list[npt.NDArray[Any]] | None = None
    scores: npt.NDArray[np.float32] | None = None
    judged_by: str = JUDGED_BY
    judged: float = float("inf")

    def offer(self, phase: str, epoch: int, *, figures: Mapping[str, float], judged_by: str, model: Any) -> None:
        """Take the model's weights if they are better than any before.

        figures: of the epoch, by Keras's names. judged_by: the figure that decides; lower is better. Weights that are
        judged by another figure than the best so far can't be compared with it, and replace it.
        """
        if judged_by == self.judged_by and not figures[judged_by] < self.judged:
            return
        self.phase, self.epoch, self.judged_by, self.judged = phase, epoch, judged_by, float(figures[judged_by])
        self.val_loss, accuracy = float(figures["val_loss"]), figures.get("val_accuracy")
        self.val_accuracy = None if accuracy is None else float(accuracy)
        self.weights = model.get_weights()

    def figures(self) -> dict[str, Any]:
        """The phase and epoch of the best weights, and how good they were, for the report."""
        return {name: getattr(self, name) for name in ("phase", "epoch", "val_loss", "val_accuracy")}

    def as_kept(self) -> dict[str, Any]:
        """The figures and what they were judged by, for a checkpoint."""
        return {**self.figures(), "judged_by": self.judged_by, "judged": self.judged}

    def take(self, reached: Reached) -> None:
        """Restore the best of a phase as it was when its process ended."""
        if reached.best and reached.best != self.as_kept():
            for name, value in reached.best.items():
                setattr(self, name, value)
            self.weights = reached.best_weights
