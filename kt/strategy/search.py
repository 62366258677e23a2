"""`kt run --search 20`: Optuna tries values of the rate, the depth and dropout, judged on validation alone."""

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from kt import freeze
from kt.base.console import say, warn
from kt.base.numbers import duration
from kt.base.run_folder import LOGS, STEPS, TRIALS
from kt.data.splits import Splits
from kt.errors import TrainingError
from kt.learnability import scarcity
from kt.recipe import Phase, Recipe
from kt.runs.trained import Trained
from kt.strategy.goal import Goal
from kt.strategy.trials import timed
from kt.strategy.validation import Standing, blocks_of, check_validation, fine_tuning, new_model, standing, told_of
from kt.training import Best, PhaseResult, check_phases, train

FACTOR = 30.0
"""The rate is searched from the recipe's divided by this to the recipe's times this, on a log scale."""

DROPOUT = 0.6
"""The dropout is searched from 0 to this."""


@dataclass(frozen=True)
class Values:
    """What a trial changes: the fine-tuning rate, how many of the last blocks train, and the head's dropout.

    None leaves the recipe's value.
    """

    lr: float | None = None
    blocks: int | None = None
    dropout: float | None = None

    def __str__(self) -> str:
        named = {"lr": self.lr, "blocks": self.blocks, "dropout": self.dropout}
        return ", ".join(f"{name} {value:.3g}" for name, value in named.items() if value is not None) or "no change"


AS_WRITTEN = Values()


def changed_recipe(recipe: Recipe, phase: Phase, values: Values) -> Recipe:
    """The recipe with the values of a trial. phase: the one that fine-tunes; it is added if the recipe lacks it."""
    trainable = phase.trainable if values.blocks is None else freeze.last_blocks(values.blocks)
    tuned = dataclasses.replace(phase, lr=phase.lr if values.lr is None else values.lr, trainable=trainable)
    names = [step.name for step in recipe.phases]
    phases = list(recipe.phases)
    if phase.name in names:
        phases[names.index(phase.name)] = tuned
    else:
        phases.append(tuned)
    head: Any = recipe.head
    if values.dropout is not None:
        head = dataclasses.replace(head, dropout=values.dropout)
    return dataclasses.replace(recipe, head=head, phases=phases)


@dataclass(frozen=True)
class _Tried:
    """A trial: its validation score (`standing`), and all that is needed to restore its model."""

    name: str
    recipe: Recipe
    standing: Standing
    weights: list[npt.NDArray[Any]]
    phases: list[PhaseResult]
    best: Best


def _folder(name: str) -> str:
    return name.replace(" ", "_")


@dataclass
class _Sought:
    """The state of a search: its trials so far, and the best of them."""

    goal: Goal
    splits: Splits
    out: Path
    cached: bool
    started: float = field(default_factory=time.perf_counter)
    rows: list[dict[str, Any]] = field(default_factory=list)
    won: _Tried | None = None
    longest: float = 0.0

    def why_stop(self) -> str | None:
        """The reason to stop before the next trial, if there is one."""
        if self.won and self.goal.reached(self.won.standing.interval):
            return "the target was reached"
        left = (self.goal.seconds or float("inf")) - (time.perf_counter() - self.started)
        return "the budget was spent" if self.longest > left else None

    def try_recipe(self, recipe: Recipe, *, name: str, values: Values = AS_WRITTEN) -> float | None:
        """Train a recipe and give its figure on validation; None if its loss diverged."""
        started, figure = time.perf_counter(), None
        row: dict[str, Any] = {"name": name, **dataclasses.asdict(values)}
        try:
            tried = self._trained(recipe, name=name)
        except TrainingError as error:
            if self.won is None:  # the recipe as written
                raise
            warn(f"{name}: {error}")
            row |= {"figure": None, "interval": None, "verdict": f"failed: {error}"}
        else:
            figure = tried.standing.figure
            row |= {"figure": figure, "interval": list(tried.standing.interval), "verdict": ""}
            if self.won is None or self.goal.better(figure, self.won.standing.figure):
                self.won = tried
        seconds = time.perf_counter() - started
        times, saved = timed(self.out / TRIALS / _folder(name), recipe, name=name, seconds=seconds)
        self.started -= saved
        seconds = times["seconds"]
        self.longest = max(self.longest, seconds)
        self.rows.append({**row, "seconds": round(seconds, 1)})
        if figure is not None:
            say(f"{name} ({values}): {self.goal.metric} {tried.standing} on validation, {duration(seconds)}")
        return figure

    def _trained(self, recipe: Recipe, *, name: str) -> _Tried:
        built = new_model(recipe, self.splits)
        check_phases(recipe, built)
        folder = _folder(name)
        phases, best = train(
            built, recipe, self.splits, logs=self.out / LOGS / folder, steps=self.out / TRIALS / folder / STEPS,
            cached=self.cached,
        )  # fmt: skip
        score = standing(built, self.splits, self.goal, seed=recipe.seed)
        return _Tried(name, recipe, score, built.model.get_weights(), phases, best)


@dataclass(frozen=True)
class Search:
    """A run's training that tries the recipe as written, then `trials` changes of it, and gives the best."""

    trials: int
    goal: Goal

    def __call__(self, recipe: Recipe, splits: Splits, *, out: Path, cached: bool) -> Trained:
        """Search on train and validation alone. The same seed makes the same trials, unless a budget ends it."""
        notes = check_validation(splits)
        built = new_model(recipe, splits)
        say(f"weights: {built.pretrained.source.in_words()}")
        check_phases(recipe, built)
        scarce = scarcity(built, recipe, splits, cached=cached)
        phase, blocks = fine_tuning(recipe, built), len(blocks_of(built))
        sought = _Sought(self.goal, splits, out, cached)
        sought.try_recipe(recipe, name="as written")
        ended = self._seek(sought, recipe, phase, blocks=blocks)
        won = sought.won
        assert won is not None
        built = new_model(won.recipe, splits)
        built.model.set_weights(won.weights)
        told = told_of("search", sought.rows, self.goal, won=won.name, best=won.standing, ended=ended, notes=notes)
        return Trained(won.recipe, built, won.phases, won.best, scarce, told)

    def _seek(self, sought: _Sought, recipe: Recipe, phase: Phase, *, blocks: int) -> str:
        """Make the trials, and give the reason why there are no more."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            direction="minimize" if self.goal.lower_is_better else "maximize",
            sampler=optuna.samplers.TPESampler(seed=recipe.seed),
        )
        for number in range(1, self.trials + 1):
            if reason := sought.why_stop():
                return f"{reason} after {number - 1} of {self.trials} trials"
            trial = study.ask()
            values = _suggested(trial, recipe, phase, blocks=blocks)
            figure = sought.try_recipe(changed_recipe(recipe, phase, values), name=f"trial {number}", values=values)
            study.tell(trial, figure, state=None if figure is not None else optuna.trial.TrialState.FAIL)
        return "all trials were made"


def _suggested(trial: Any, recipe: Recipe, phase: Phase, *, blocks: int) -> Values:
    return Values(
        lr=trial.suggest_float("lr", phase.lr / FACTOR, min(phase.lr * FACTOR, 10.0), log=True),
        blocks=trial.suggest_int("blocks", 1, blocks, log=True) if blocks > 1 else None,
        dropout=trial.suggest_float("dropout", 0.0, DROPOUT) if _has_dropout(recipe.head) else None,
    )


def _has_dropout(head: Any) -> bool:
    """Whether the head is a dataclass with a field `dropout`, as `kt.Classifier` is."""
    return dataclasses.is_dataclass(head) and any(field.name == "dropout" for field in dataclasses.fields(head))
