"""A step's session: what a step of training works with, and how it gives its result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from kt.data.splits import Splits
from kt.freeze import Trainable
from kt.frozen.engine import Work
from kt.network.model import Built
from kt.recipe import Phase, Recipe, Step, describe
from kt.training.batches import batches
from kt.training.checkpoints import Checkpoint, Reached
from kt.training.fitting import by_xla
from kt.training.layer_rates import BlockRate
from kt.training.results import JUDGED_BY, Best, PhaseResult


@dataclass(frozen=True)
class Session:
    """One step of a training: the model, what it trains on, and the best so far.

    The backbone's flags are as the step's `trainable` sets them. index: the step's place in the recipe. work: the model
    to train, whole or behind a cut, and its inputs. trains: counts of what trains. started: by `time.perf_counter`.
    checkpoint: keeps how far the step is. reached: how far an earlier process had come. callbacks: Keras's, for a step
    that is fitted.
    """

    built: Built
    recipe: Recipe
    splits: Splits
    index: int
    work: Work
    best: Best
    trains: Trainable
    started: float
    checkpoint: Checkpoint
    reached: Reached | None = None
    callbacks: Sequence[Any] = ()

    @property
    def step(self) -> Step:
        """The step of the recipe."""
        return self.recipe.phases[self.index]

    def measured(self) -> dict[str, float]:
        """The loss and metrics of the model as it is, in inference mode.

        Those on train are named `loss` and as the metrics are, those on validation `val_loss` and so on.
        """
        head: Any = self.recipe.head
        model, classes = self.work.model, len(self.splits.classes)
        model.compile(loss=head.loss(), metrics=list(head.metrics()), jit_compile=by_xla())
        figures: dict[str, float] = {}
        parts = (("", self.splits.train, self.work.train), ("val_", self.splits.validation, self.work.validation))
        for prefix, split, inputs in parts:
            pictures = batches(inputs, split.labels, classes=classes, batch_size=self.splits.batch_size)
            measured = model.evaluate(pictures, verbose=0, return_dict=True)
            figures |= {f"{prefix}{name}": float(value) for name, value in measured.items()}
        return figures

    def offer(self, figures: Mapping[str, float], *, epoch: int = 1, judged_by: str = JUDGED_BY) -> None:
        """Keep the model's weights as the best if their loss on validation is lower than any before.

        judged_by: another of the figures that decides; weights that were judged by another one are replaced.
        """
        self.best.offer(self.step.name, epoch, figures=figures, judged_by=judged_by, model=self.built.model)

    def result(
        self,
        history: Mapping[str, Sequence[float]],
        *,
        seconds: float | None = None,
        probe: dict[str, Any] | None = None,
        rates: tuple[BlockRate, ...] = (),
    ) -> PhaseResult:
        """The step's result. history: a list for each figure, `loss` and `val_loss` among them, one value an epoch."""
        step, values = self.step, {name: [*map(float, each)] for name, each in history.items()}
        phase = step if isinstance(step, Phase) else None
        judged = values[phase.objective.judged_by if phase and phase.objective else JUDGED_BY]
        return PhaseResult(
            name=step.name,
            epochs=phase.epochs if phase else len(values["loss"]),
            epochs_run=len(values["loss"]),
            lr=phase.lr if phase else None,
            trainable_parameters=self.trains.parameters,
            total_parameters=self.trains.total_parameters,
            trainable_layers=self.trains.layers,
            first_trainable=self.trains.first,
            inputs=self.work.inputs,
            seconds=round(perf_counter() - self.started, 2) if seconds is None else seconds,
            history=values,
            best_epoch=int(np.argmin(judged)) + 1,
            best_val_loss=values["val_loss"][int(np.argmin(judged))],
            probe=probe,
            layer_rates=rates,
            objective=describe(phase.objective) if phase and phase.objective else None,
            adapted_to=getattr((phase and phase.objective) or step, "adapted_to", None),
        )
