"""How long each way takes: a few real steps of each are timed before anything is promised."""

import dataclasses
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kt.augment import Views
from kt.console import hushed
from kt.data.splits import Split, Splits
from kt.errors import DataError, TrainingError
from kt.features.engine import Engine
from kt.model import build, predict
from kt.probe import probe
from kt.recipe import LinearProbe, Phase, Recipe
from kt.strategy.compare.comparison import BASELINE
from kt.strategy.compare.training import forget
from kt.train import seed_everything, train

BATCHES = 3
"""Batches of an epoch; its first step, which may be traced, does not count."""

EPOCHS = 8
SLOW = 0.3
ENOUGH = 1.0
"""So many epochs are made; one alone where a step takes `SLOW` seconds, and none after `ENOUGH` seconds of them."""

PROBED = 128
"""Pictures that a probe learns from, at the least, for fewer tell little of how long more take."""

ANSWERS = 1 / 3
"""A batch of validation takes so much of a training step: forward, and not backward."""


@dataclass(frozen=True)
class Sizes:
    """How many pictures of train, validation and test, and how many a training step takes."""

    train: int
    validation: int
    test: int
    batch_size: int

    @classmethod
    def of(cls, splits: Splits) -> "Sizes":
        """Those of splits."""
        return cls(len(splits.train), len(splits.validation), len(splits.test), splits.batch_size)

    def with_train(self, pictures: int) -> "Sizes":
        """The same with so many pictures to learn from."""
        return dataclasses.replace(self, train=pictures)

    def steps(self, epochs: int) -> int:
        """Training steps in so many epochs."""
        return -(-self.train // self.batch_size) * epochs


@dataclass(frozen=True)
class Fitting:
    """A phase that is fitted: its epochs, the seconds of a step, and what an epoch takes besides."""

    epochs: int
    step: float
    besides: float = 0.0


@dataclass(frozen=True)
class Cost:
    """Seconds of one training of a way.

    begin: building and tracing. solve: of a probe, a picture. encode: of frozen layers, a picture that no training
    before has computed them of. answer: of the whole network, a picture. views: how many augmented copies of a picture
    are encoded.
    """

    begin: float
    phases: tuple[Fitting, ...] = ()
    solve: float = 0.0
    encode: float = 0.0
    answer: float = 0.0
    views: int = 1

    def first(self, sizes: Sizes) -> float:
        """What the first training has to do for all: frozen layers' outputs."""
        return self.encode * (self.views * sizes.train + sizes.validation)

    def each(self, sizes: Sizes, *, longer: float = 1.0) -> float:
        """One training, and the answers of its model. longer: times the epochs."""
        steps = sizes.steps(1) + ANSWERS * -(-sizes.validation // sizes.batch_size)
        fitted = sum(math.ceil(one.epochs * longer) * (one.step * steps + one.besides) for one in self.phases)
        solved, answered = self.solve * sizes.train * self.views, self.answer * (sizes.validation + sizes.test)
        return self.begin + fitted + solved + answered

    @property
    def epochs(self) -> int:
        """Epochs in total; 0 for a probe."""
        return sum(one.epochs for one in self.phases)

    def with_epochs(self, epochs: int) -> "Cost":
        """The same way with other epochs, where it has one phase."""
        return dataclasses.replace(self, phases=tuple(dataclasses.replace(one, epochs=epochs) for one in self.phases))


class _Clock(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """Times the steps and the epochs of one phase after another, from end to end, data included."""

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
        """What was found of a phase. epochs: those of the recipe; steps: those of an epoch that was timed."""
        lasted = np.diff(self.ends[phase])
        epoch = float(np.median(lasted)) if len(lasted) else 0.0
        step = float(np.median(self.steps[phase])) if self.steps[phase] else epoch / steps
        return Fitting(epochs, step, max(0.0, epoch - steps * step))


def measure(named: Mapping[str, Recipe], splits: Splits, *, until: float) -> dict[str, Cost]:
    """Time a few steps of each way, on real pictures; no way is begun after `until`, on the clock of `perf_counter`.

    The quickest are timed first, then scratch, which a verdict takes. What was not timed for want of time gets the cost
    of the dearest that was.
    """
    known, answer = set[str](), 0.0
    found: dict[str, Cost] = {}
    for name in sorted(named, key=lambda name: _dearness(name, named[name])):
        if found and time.perf_counter() > until:
            found[name] = max(found.values(), key=lambda cost: cost.each(Sizes.of(splits)))
            continue
        cost, borders = Cost(0.0), set[str]()
        try:
            with hushed():
                few = _few(splits, probed=_dearness(name, named[name]) == 0)
                if not answer:  # the first also pays for what a process loads but once
                    answer = _answering(named[name], few)
                cost, borders = _measured(named[name], few)
        except (TrainingError, DataError):
            pass  # the training itself will say so
        found[name] = dataclasses.replace(cost, encode=answer if borders - known else 0.0)
        known |= borders
        forget()
    return {name: dataclasses.replace(found[name], answer=answer) for name in named}


def _dearness(name: str, recipe: Recipe) -> int:
    """By this ways are timed in turn: probes, one phase, scratch, several phases."""
    fitted = [one for one in recipe.phases if isinstance(one, Phase)]
    return 0 if not fitted else 2 if name == BASELINE else 1 if len(fitted) == 1 else 3


def _answering(recipe: Recipe, few: Splits) -> float:
    """Seconds in which the whole network answers a picture."""
    built = build(recipe, image_size=few.image_size, num_classes=len(few.classes))
    one = few.train.pixels[: few.batch_size]
    more = np.concatenate([one] * 3)
    predict(built.model, one)
    started = time.perf_counter()
    predict(built.model, one)
    between = time.perf_counter()
    predict(built.model, more)
    return max(0.0, (time.perf_counter() - between) - (between - started)) / (len(more) - len(one))


def _measured(recipe: Recipe, few: Splits) -> tuple[Cost, set[str]]:
    """The cost of a way, and what its phases train on where that is not pixels."""
    fitted = [one for one in recipe.phases if isinstance(one, Phase)]
    short = dataclasses.replace(
        recipe,
        phases=[dataclasses.replace(one, epochs=EPOCHS) if isinstance(one, Phase) else one for one in recipe.phases],
    )
    clock, started = _Clock(), time.perf_counter()
    seed_everything(recipe.seed)
    built = build(short, image_size=few.image_size, num_classes=len(few.classes))
    results, _ = train(built, short, few, callbacks=[clock])
    predict(built.model, few.validation.pixels)
    seconds = time.perf_counter() - started
    steps = Sizes.of(few).steps(1)
    phases = tuple(clock.fitted(index, epochs=one.epochs, steps=steps) for index, one in enumerate(fitted))
    tracing = sum(max(0.0, took - steps * one.step) for took, one in zip(clock.tracing, phases, strict=True))
    solving = _solving(built, short, few)
    cost = Cost(
        begin=max(0.0, seconds - sum(clock.fitting) + tracing - solving),
        phases=phases,
        solve=solving / len(few.train),
        views=recipe.augment.views if isinstance(recipe.augment, Views) else 1,
    )
    return cost, {result.inputs for result in results if result.inputs != "pixels"}


def _solving(built: Any, recipe: Recipe, few: Splits) -> float:
    """Seconds that the first linear probe takes, once its features are at hand; 0 where there is none."""
    for index, step in enumerate(recipe.phases):
        if isinstance(step, LinearProbe):
            step.trainable(built.backbone)
            work = Engine(built, recipe, few).work(index)
            started = time.perf_counter()
            probe(built, recipe, step, work, few)
            return time.perf_counter() - started
    return 0.0


def _few(splits: Splits, *, probed: bool) -> Splits:
    """Pictures for a few steps, or for a probe, of every class, and a batch of validation."""
    size = splits.batch_size
    pictures = max(PROBED, BATCHES * size) if probed else BATCHES * size
    return dataclasses.replace(
        splits,
        train=_some(splits.train, pictures, classes=len(splits.classes)),
        validation=_some(splits.validation, size, classes=len(splits.classes)),
    )


def _some(part: Split, pictures: int, *, classes: int) -> Split:
    """So many pictures of a split, class by class in turn, at least two of each class that has them."""
    turns = np.empty(len(part), np.int64)
    for label in range(classes):
        members = np.flatnonzero(part.labels == label)
        turns[members] = np.arange(len(members))
    order = np.lexsort((part.labels, turns))
    return part.take(np.sort(order[: max(pictures, 2 * classes)]))
