"""The climb: rungs are tried in turn, each from the best weights so far, until there is a reason to stop."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from kt.backbones.build import known_name
from kt.base.console import say, warn
from kt.base.numbers import duration
from kt.base.run_folder import LOGS, STEPS, TRIALS
from kt.data.splits import Splits
from kt.errors import RecipeError, TrainingError, WeightsError
from kt.kinds.pictures import Pixels
from kt.network.model import Built, predict
from kt.parts.augment import copies_of
from kt.recipe import Phase, Recipe
from kt.strategy.goal import Goal
from kt.strategy.ladder.rungs import Rung
from kt.strategy.trials import timed
from kt.strategy.validation import Standing, new_model, standing
from kt.training import Best, PhaseResult, train

PATIENCE = 2
"""The climb stops after this many rungs in a row without a gain."""

BACKWARD = 3.0
"""The assumed time of a training step, in forward passes, until one was timed."""


@dataclass(frozen=True)
class Climbed:
    """A rung that was tried: its validation score (`standing`) and its weights.

    recipe, phases: with the phases of the rungs that it began from.
    """

    rung: Rung
    standing: Standing
    built: Built
    weights: list[npt.NDArray[Any]]
    recipe: Recipe
    phases: tuple[PhaseResult, ...]
    best: Best


@dataclass
class Climb:
    """A climb and its results so far.

    own: the model of the first rungs, on the recipe's backbone. rows: of the rungs, for the report. won: the best rung
    so far. forward: seconds of a forward pass, a picture. pace: the factor by which estimates were off.
    """

    goal: Goal
    own: Built
    splits: Splits
    out: Path
    cached: bool
    started: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    won: Climbed | None = None
    forward: float = 0.0
    pace: float = 1.0
    without_gain: int = 0
    ended: str = "no rung was left"

    def go(self, rungs: Sequence[Rung]) -> None:
        """Try rungs in turn, and report the reason for each that is not tried."""
        self.without_gain = 0
        for rung in rungs:
            reason = self._why_not(rung)
            if reason:
                say(f"rung {rung.name}: {reason}")
                self._add(rung, seconds=0.0, verdict=reason)
            else:
                self._try(rung)

    def _why_not(self, rung: Rung) -> str | None:
        if self.won is None:
            return None
        if self.goal.reached(self.won.standing.interval):
            self.ended = "the target was reached"
            return "not needed: the target was reached before"
        if self.without_gain >= PATIENCE:
            self.ended = "gains had ended"
            return f"not begun: {PATIENCE} rungs in a row had brought nothing"
        left, wanted = self._left(), self._estimate(rung)
        if wanted > left:
            self.ended = "the budget was spent"
            return f"not begun: it would take about {duration(wanted)}, and {duration(max(left, 0.0))} was left"
        return None

    def _left(self) -> float:
        return (self.goal.seconds or float("inf")) - (time.perf_counter() - self.started)

    def _estimate(self, rung: Rung) -> float:
        """Seconds that a rung will take: by its number of forward passes, corrected by the earlier estimates' error."""
        train, validation = len(self.splits.train), len(self.splits.validation)
        views = copies_of(rung.recipe.augment)
        passes = float(train * views + validation) if rung.elsewhere else 0.0  # for frozen layers
        for phase in rung.recipe.phases:
            if isinstance(phase, Phase):
                passes += phase.epochs * rung.share * (BACKWARD * train + validation)
        return passes * self.forward * self.pace

    def _try(self, rung: Rung) -> None:
        started, estimate = time.perf_counter() if self.won else self.started, self._estimate(rung)
        say(f"rung {rung.name}")
        try:
            climbed = self._climb(rung)
        except (WeightsError, RecipeError, TrainingError) as error:
            if self.won is None:  # an error of the first rung is one of the recipe
                raise
            warn(f"rung {rung.name}: {error}")
            self._add(rung, seconds=time.perf_counter() - started, verdict=f"failed: {error}")
            self.without_gain += 1
            return
        seconds = time.perf_counter() - started
        folder = self.out / TRIALS / rung.name
        times, saved = timed(folder, rung.recipe, name=rung.name, seconds=seconds, forward=self.forward)
        self.started -= saved
        seconds, self.forward = times["seconds"], times["forward"]
        if rung.share:
            self.pace *= seconds / max(estimate, 1e-9)
        gained = self.won is None or self.goal.better(climbed.standing.figure, self.won.standing.figure)
        say(f"rung {rung.name}: {self.goal.metric} {climbed.standing} on validation, {duration(seconds)}")
        self._add(rung, seconds=seconds, standing=climbed.standing)
        self.without_gain = 0 if gained else self.without_gain + 1
        if gained:
            self.won = climbed

    def _climb(self, rung: Rung) -> Climbed:
        recipe, base = rung.recipe, None if rung.elsewhere else self.won
        built = new_model(recipe, self.splits) if rung.elsewhere else self.own
        if rung.elsewhere or base is None:
            say(f"weights: {built.pretrained.source.in_words()}")
        if base:
            built.model.set_weights(base.weights)
        phases, best = train(
            built, recipe, self.splits, logs=self.out / LOGS / rung.name, steps=self.out / TRIALS / rung.name / STEPS,
            cached=self.cached, trained=base is not None,
        )  # fmt: skip
        self.forward = self.forward or _seconds_a_picture(built, self.splits.validation.examples)
        return Climbed(
            rung=rung,
            standing=standing(built, self.splits, self.goal, seed=recipe.seed),
            built=built,
            weights=built.model.get_weights(),
            recipe=dataclasses.replace(recipe, phases=[*(base.recipe.phases if base else ()), *recipe.phases]),
            phases=(*(base.phases if base else ()), *phases),
            best=best,
        )

    def _add(self, rung: Rung, *, seconds: float, standing: Standing | None = None, verdict: str = "") -> None:
        self.rows.append(
            {
                "name": rung.name,
                "backbone": known_name(rung.recipe.backbone) or "the recipe's own",
                "figure": standing.figure if standing else None,
                "interval": list(standing.interval) if standing else None,
                "seconds": round(seconds, 1),
                "verdict": verdict,
                "won": False,
            }
        )


def _seconds_a_picture(built: Built, pixels: Pixels) -> float:
    """Seconds of a forward pass, a picture."""
    predict(built.model, pixels[:1])  # so that tracing is not timed
    started = time.perf_counter()
    predict(built.model, pixels)
    return (time.perf_counter() - started) / len(pixels)
