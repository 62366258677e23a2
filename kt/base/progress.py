"""Progress of a phase while it trains: a line an epoch, with figures on validation and the time that is left."""

import time
from collections.abc import Mapping
from typing import Any

from kt.base.console import console, say
from kt.base.numbers import duration, figure, known

SHORTEST = 1.0
"""The least seconds between two lines: of shorter epochs only some get a line."""

LONGEST = 30.0
"""The most seconds without a line, where no bar is shown."""


class EpochLines:
    """Prints how far a phase is: not too often to read, and not so seldom that it seems to hang."""

    def __init__(self, phase: str, epochs: int, *, done: int = 0, many: str = "pictures") -> None:
        """done: how many epochs an earlier process has done. many: what a person calls the examples."""
        self._many = many
        self.phase, self.epochs, self.epoch, self._done = phase, epochs, 0, done
        self._begun = self._said = self._epoch_begun = time.perf_counter()
        self._first = 0.0

    def begin(self, epoch: int) -> None:
        """An epoch begins; the first is 1."""
        self.epoch, self._epoch_begun = epoch, time.perf_counter()

    def batch(self, done: int, pictures: int, *, loss: float) -> None:
        """Print how many of the epoch's pictures are done, in a long epoch where no bar is shown."""
        now = time.perf_counter()
        if console.is_terminal or now - self._said < LONGEST or not done:
            return
        self._said = now
        left = (now - self._epoch_begun) / done * (pictures - done)
        so_far = f"{done:,} of {pictures:,} {self._many}"
        say(f"{self._place()}: {so_far}, loss {loss:.4f}; about {duration(left)} left of it")

    def end(self, figures: Mapping[str, Any]) -> None:
        """An epoch has ended. figures: Keras's logs."""
        now = time.perf_counter()
        took = now - self._epoch_begun
        self._first = self._first or took
        if now - self._said < SHORTEST:
            return
        self._said = now
        # The first epoch is longer than the others: the model is compiled in it.
        own = self.epoch - self._done  # epochs of this process
        each = (now - self._begun - self._first) / (own - 1) if own > 1 else took
        left = each * (self.epochs - self.epoch)
        accuracy = figures.get("val_accuracy")
        seen = f"validation accuracy {figure(accuracy)}, loss" if known(accuracy) else "validation loss"
        more = f", about {duration(left)} left" if self.epoch < self.epochs else ""
        say(f"{self._place()}: {seen} {float(figures['val_loss']):.4f}; {duration(took)}{more}")

    def _place(self) -> str:
        return f"phase {self.phase}, epoch {self.epoch}/{self.epochs}"
