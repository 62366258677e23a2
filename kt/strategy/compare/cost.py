"""The cost of each strategy in seconds, estimated from a few real training steps."""

import dataclasses
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kt.base.console import hushed
from kt.data.splits import Split, Splits
from kt.errors import DataError, TrainingError
from kt.frozen.engine import Engine
from kt.network.model import build, predict
from kt.parts.augment import copies_of
from kt.recipe import LinearProbe, Phase, Recipe
from kt.strategy.compare.comparison import BASELINE
from kt.strategy.compare.training import forget
from kt.training import seed_everything, train
from kt.training.probe import fit_probe

BATCHES = 3
"""The batches of a timed epoch; its first step does not count, since it may be traced."""

EPOCHS = 8
"""The most epochs that are timed."""

SLOW = 0.3
"""Seconds of a step above which a single epoch is timed."""

ENOUGH = 1.0
"""Seconds of timed epochs after which no further epoch is timed."""

PROBED = 128
"""The fewest pictures that a timed probe learns from: with fewer, the estimate for more is poor."""

ANSWERS = 1 / 3
"""The time of a validation batch, as a share of a training step: it has no backward pass."""


@dataclass(frozen=True)
class Sizes:
    """The numbers of pictures of train, validation and test, and of a training step."""

    train: int
    validation: int
    test: int
    batch_size: int

    @classmethod
    def of(cls, splits: Splits) -> "Sizes":
        """The sizes of splits."""
        return cls(len(splits.train), len(splits.validation), len(splits.test), splits.batch_size)

    def with_train(self, pictures: int) -> "Sizes":
        """The same with another number of training pictures."""
        return dataclasses.replace(self, train=pictures)

    def steps(self, epochs: int) -> int:
        """Training steps in these epochs."""
        return -(-self.train // self.batch_size) * epochs


@dataclass(frozen=True)
class Fitting:
    """A phase that is fitted: its epochs, the seconds of a step, and the other seconds of an epoch."""

    epochs: int
    step: float
    besides: float = 0.0


@dataclass(frozen=True)
class Cost:
    """Seconds of one training of a strategy.

    begin: building and tracing. Per picture: solve is the time of a probe; encode that of frozen layers, 0 if an
    earlier training has computed them; answer that of the whole network. views: how many augmented copies of a picture
    are encoded.
    """

    begin: float
    phases: tuple[Fitting, ...] = ()
    solve: float = 0.0
    encode: float = 0.0
    answer: float = 0.0
    views: int = 1

    def first(self, sizes: Sizes) -> float:
        """Seconds that only the first training takes, for the activations of frozen layers."""
        return self.encode * (self.views * sizes.train + sizes.validation)

    def each(self, sizes: Sizes, *, longer: float = 1.0) -> float:
        """Seconds of one training and of its model's scores. longer: a factor for the epochs."""
        steps = sizes.steps(1) + ANSWERS * -(-sizes.validation // sizes.batch_size)
        fitted = sum(math.ceil(phase.epochs * longer) * (phase.step * steps + phase.besides) for phase in self.phases)
        solved, answered = self.solve * sizes.train * self.views, self.answer * (sizes.validation + sizes.test)
        return self.begin + fitted + solved + answered

    @property
    def epochs(self) -> int:
        """Epochs in total; 0 for a probe."""
        return sum(phase.epochs for phase in self.phases)

    def with_epochs(self, epochs: int) -> "Cost":
        """The cost with another number of epochs in each phase."""
        phases = tuple(dataclasses.replace(phase, epochs=epochs) for phase in self.phases)
        return dataclasses.replace(self, phases=phases)


class _Clock(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """Times the steps and epochs of each phase, from end to end, data included."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[list[float]] = []
        self.ends: list[list[float]] = []
        self.tracing: list[float] = []
        self.fitting: list[float] = []
        self._last = self._began = 0.0

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        self.steps.append([])
        self.ends.append([])
        self._began = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        self._last = 0.0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        now = time.perf_counter()
        if self._last:
            self.steps[-1].append(now - self._last)
        self._last = now

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        steps, ends = self.steps[-1], self.ends[-1]
        ends.append(time.perf_counter())
        slow = bool(steps) and float(np.mean(steps)) > SLOW
        if slow or ends[-1] - ends[0] > ENOUGH:
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002
        self.tracing.append(self.ends[-1][0] - self._began)
        self.fitting.append(self.ends[-1][-1] - self._began)

    def fitted(self, phase: int, *, epochs: int, steps: int) -> Fitting:
        """The times of a phase. epochs: those of the recipe. steps: those of a timed epoch."""
        lasted = np.diff(self.ends[phase])
        epoch = float(np.median(lasted)) if len(lasted) else 0.0
        step = float(np.median(self.steps[phase])) if self.steps[phase] else epoch / steps
        return Fitting(epochs, step, max(0.0, epoch - steps * step))


def measure(named: Mapping[str, Recipe], splits: Splits, *, until: float) -> dict[str, Cost]:
    """Time a few steps of each strategy, on real pictures.

    until: the value of `time.perf_counter` after which no further strategy is timed; the first one always is. The
    quickest are timed first, then scratch, which a verdict needs. A strategy for which no time is left gets the highest
    cost of those that were timed.
    """
    known, answer = set[str](), 0.0
    costs: dict[str, Cost] = {}
    for name in sorted(named, key=lambda name: _dearness(name, named[name])):
        if costs and time.perf_counter() > until:
            costs[name] = max(costs.values(), key=lambda cost: cost.each(Sizes.of(splits)))
            continue
        cost, cuts = Cost(0.0), set[str]()
        try:
            with hushed():
                few = _few(splits, probed=_dearness(name, named[name]) == 0)
                if not answer:  # before the first is timed, so that loading libraries is not counted in it
                    answer = _answering(named[name], few)
                cost, cuts = _measured(named[name], few)
        except (TrainingError, DataError):
            pass  # the training itself will report it
        costs[name] = dataclasses.replace(cost, encode=answer if cuts - known else 0.0)
        known |= cuts
        forget()
    return {name: dataclasses.replace(costs[name], answer=answer) for name in named}


def _dearness(name: str, recipe: Recipe) -> int:
    """The rank by which strategies are timed: probes, one phase, scratch, several phases."""
    fitted = [step for step in recipe.phases if isinstance(step, Phase)]
    return 0 if not fitted else 2 if name == BASELINE else 1 if len(fitted) == 1 else 3


def _answering(recipe: Recipe, few: Splits) -> float:
    """Seconds that the whole network takes for a picture's scores."""
    built = build(recipe, kind=few.kind, num_classes=len(few.classes))
    batch = few.train.examples[: few.batch_size]
    more = np.concatenate([batch] * 3)
    predict(built.model, batch)
    started = time.perf_counter()
    predict(built.model, batch)
    between = time.perf_counter()
    predict(built.model, more)
    return max(0.0, (time.perf_counter() - between) - (between - started)) / (len(more) - len(batch))


def _measured(recipe: Recipe, few: Splits) -> tuple[Cost, set[str]]:
    """The cost of a strategy, and the names of the cuts that its phases train behind."""
    fitted = [step for step in recipe.phases if isinstance(step, Phase)]
    short = dataclasses.replace(
        recipe,
        phases=[
            dataclasses.replace(step, epochs=EPOCHS) if isinstance(step, Phase) else step for step in recipe.phases
        ],
    )
    clock, started = _Clock(), time.perf_counter()
    seed_everything(recipe.seed)
    built = build(short, kind=few.kind, num_classes=len(few.classes))
    results, _ = train(built, short, few, callbacks=[clock])
    predict(built.model, few.validation.examples)
    seconds = time.perf_counter() - started
    steps = Sizes.of(few).steps(1)
    phases = tuple(clock.fitted(index, epochs=phase.epochs, steps=steps) for index, phase in enumerate(fitted))
    tracing = sum(max(0.0, took - steps * phase.step) for took, phase in zip(clock.tracing, phases, strict=True))
    solving = _solving(built, short, few)
    cost = Cost(
        begin=max(0.0, seconds - sum(clock.fitting) + tracing - solving),
        phases=phases,
        solve=solving / len(few.train),
        views=copies_of(recipe.augment),
    )
    return cost, {result.inputs for result in results if result.inputs != "pixels"}


def _solving(built: Any, recipe: Recipe, few: Splits) -> float:
    """Seconds that the recipe's first linear probe takes, without those for its features; 0 if there is no probe."""
    for index, step in enumerate(recipe.phases):
        if isinstance(step, LinearProbe):
            work = Engine(built, recipe, few).work(index)
            started = time.perf_counter()
            fit_probe(built, recipe, step, work, few)
            return time.perf_counter() - started
    return 0.0


def _few(splits: Splits, *, probed: bool) -> Splits:
    """Splits with pictures of every class for a few steps or for a probe, and a batch of validation."""
    size = splits.batch_size
    pictures = max(PROBED, BATCHES * size) if probed else BATCHES * size
    return dataclasses.replace(
        splits,
        train=_some(splits.train, pictures, classes=len(splits.classes)),
        validation=_some(splits.validation, size, classes=len(splits.classes)),
    )


def _some(part: Split, pictures: int, *, classes: int) -> Split:
    """This number of pictures of a split, taking turns by class, at least two of each class that has them."""
    turns = np.empty(len(part), np.int64)
    for label in range(classes):
        members = np.flatnonzero(part.labels == label)
        turns[members] = np.arange(len(members))
    order = np.lexsort((part.labels, turns))
    return part.take(np.sort(order[: max(pictures, 2 * classes)]))
