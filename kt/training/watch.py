"""The callback of a phase that is fitted: keeps the best weights and checkpoints, and stops the phase early."""

import time
from typing import Any

import keras
import numpy as np

from kt.base.console import Bar, say
from kt.base.progress import EpochLines
from kt.errors import TrainingError
from kt.recipe import Phase
from kt.training.batches import Order
from kt.training.checkpoints import Checkpoint, Reached
from kt.training.layer_rates import highest_rate
from kt.training.results import JUDGED_BY, Best


class Watch(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """Keeps the best weights and checkpoints, moves the progress bar, and stops the phase when its patience is over."""

    bar: Bar

    def __init__(
        self, phase: Phase, best: Best, *, whole: Any, order: Order, checkpoint: Checkpoint, started: float, many: str
    ) -> None:
        super().__init__()
        self.phase, self.best, self.whole, self.order = phase, best, whole, order
        self.checkpoint = checkpoint
        self.history: dict[str, list[float]] = {}
        self.epoch = 0
        self.many = many
        self.lines = EpochLines(phase.name, phase.epochs, many=many)
        self._started, self._before = started, 0.0

    def go_on(self, reached: Reached, model: Any) -> None:
        """Go on where an earlier process stopped. model: the compiled one that is fitted."""
        self.history = {name: list(values) for name, values in reached.history.items()}
        self._before = reached.seconds
        self.best.take(reached)
        self.whole.set_weights(reached.weights)
        self.checkpoint.go_on(model)
        self.lines = EpochLines(self.phase.name, self.phase.epochs, done=self.epochs, many=self.many)
        say(f"phase {self.phase.name}: goes on after epoch {self.epochs} of {self.phase.epochs}")

    @property
    def judged_by(self) -> str:
        """The figure that epochs are compared by; lower is better."""
        return JUDGED_BY if self.phase.objective is None else str(self.phase.objective.judged_by)

    @property
    def epochs(self) -> int:
        """How many epochs are done."""
        return len(self.history.get("loss", ()))

    @property
    def seconds(self) -> float:
        """Seconds that the phase has taken, in all processes."""
        return round(self._before + time.perf_counter() - self._started, 2)

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or the last `patience` of them brought no improvement."""
        if self.epochs >= self.phase.epochs:
            return True
        judged, patience = self.history.get(self.judged_by, ()), self.phase.patience
        return bool(patience and judged) and len(judged) - 1 - int(np.argmin(judged)) >= (patience or 0)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Set the order of batches to that of this epoch."""
        self.epoch, self.order.epoch = epoch + 1, epoch
        self.lines.begin(self.epoch)
        self.bar.restart(f"{self.phase.name} {self.epoch}/{self.phase.epochs}", self.order.pictures)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move the bar. Raises TrainingError if the loss is not finite."""
        loss = float(logs["loss"])
        if not np.isfinite(loss):
            raise self._diverged(f"loss became {loss}", f"epoch {self.epoch}, batch {batch + 1}")
        left = self.order.pictures - batch * self.order.batch_size
        self.bar.advance(min(self.order.batch_size, left), note=f"loss {loss:.3f}")
        self.lines.batch(self.order.pictures - max(0, left - self.order.batch_size), self.order.pictures, loss=loss)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Keep the epoch's figures, its weights if they are the best so far, and a checkpoint if one is due."""
        # Reading self.model also copies JAX's state back into the weights, which the whole model shares.
        model = self.model
        logs = {name: value for name, value in logs.items() if name not in getattr(model, "trained_only", ())}
        for name, value in {**logs, "lr": highest_rate(model.optimizer)}.items():
            self.history.setdefault(name, []).append(float(value))
        if not np.isfinite(logs["val_loss"]):
            raise self._diverged(f"validation loss became {logs['val_loss']}", f"epoch {self.epoch}")
        self.best.offer(self.phase.name, self.epoch, figures=logs, judged_by=self.judged_by, model=self.whole)
        self.lines.end(logs)
        if self.is_over:  # the checkpoint of a phase that has ended also needs its gain, so `main` writes it
            model.stop_training = True
        elif self.checkpoint.due:
            own = self.best.phase == self.phase.name
            self.checkpoint.keep(
                Reached(
                    history=self.history, best=self.best.as_kept(), weights=self.whole.get_weights(),
                    best_weights=self.best.weights if own else None, seconds=self.seconds,
                ),
                model,
            )  # fmt: skip

    def _diverged(self, what: str, when: str) -> TrainingError:
        lower = f"--set {self.phase.name}.lr={self.phase.lr / 10:g}"
        return TrainingError(f"The {what} in phase {self.phase.name!r}, {when}; a lower lr usually mends it: {lower}.")
