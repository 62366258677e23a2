"""What is said of a phase while it trains: a line an epoch, with figures on validation and the time that is left."""

import time
from collections.abc import Mapping
from typing import Any

from kt.console import console, say
from kt.numbers import duration, figure, known

SHORTEST = 1.0
"""Seconds between two lines, at least: shorter epochs are folded, the last one speaks for them."""

LONGEST = 30.0
"""Seconds without a line, at most, where there is no bar to be seen."""


class EpochLines:
    """Says how a phase gets on; not more often than people read, and before they wonder."""

    def __init__(self, phase: str, epochs: int) -> None:
        self.phase, self.epochs, self.epoch = phase, epochs, 0
        self._begun = self._said = self._epoch_begun = time.perf_counter()
        self._first = 0.0

    def begin(self, epoch: int) -> None:
        """An epoch begins; the first is 1."""
        self.epoch, self._epoch_begun = epoch, time.perf_counter()

    def batch(self, done: int, pictures: int, *, loss: float) -> None:
        """So many of the epoch's pictures are done; told in a long epoch, where no bar tells it."""
        now = time.perf_counter()
        if console.is_terminal or now - self._said < LONGEST or not done:
            return
        self._said = now
        left = (now - self._epoch_begun) / done * (pictures - done)
        say(f"{self._place()}: {done:,} of {pictures:,} pictures, loss {loss:.4f}; about {duration(left)} left of it")

    def end(self, figures: Mapping[str, Any]) -> None:
        """An epoch has ended with these figures of Keras's."""
        now = time.perf_counter()
        took = now - self._epoch_begun
        self._first = self._first or took
        if now - self._said < SHORTEST:
            return
        self._said = now
        # The first epoch is longer than the others: the model is compiled in it.
        each = (now - self._begun - self._first) / (self.epoch - 1) if self.epoch > 1 else took
        left = each * (self.epochs - self.epoch)
        accuracy = figures.get("val_accuracy")
        seen = f"validation accuracy {figure(accuracy)}, loss" if known(accuracy) else "validation loss"
        more = f", about {duration(left)} left" if self.epoch < self.epochs else ""
        say(f"{self._place()}: {seen} {float(figures['val_loss']):.4f}; {duration(took)}{more}")

    def _place(self) -> str:
        return f"phase {self.phase}, epoch {self.epoch}/{self.epochs}"
