"""Keeps a comparison within its budget: what was planned, how long it really takes, and what still fits."""

import dataclasses
import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kt.console import say
from kt.data.splits import Splits
from kt.recipe import Phase, Recipe
from kt.report.numbers import duration
from kt.strategy.compare import plan as planning
from kt.strategy.compare.comparison import BASELINE, Comparison
from kt.strategy.compare.cost import Cost, Sizes, measure
from kt.strategy.compare.plan import Plan

SPENT = "the budget was spent"

MEASURING = 0.2
"""Of the budget, for timing a few steps of each way; what is not timed by then is taken for as dear as the dearest."""

RESERVE = 0.03
"""Of the budget, in which the last answers are given and the page is written."""


@dataclass
class Schedule:
    """What is to be trained until when.

    until: when training stops, on the clock of `time.perf_counter`. real: seconds that the last training of each way on
    all pictures took. pace: how far off the estimates were, of those that were trained.
    """

    plan: Plan
    costs: Mapping[str, Cost]
    budget: float | None
    until: float
    measured_in: float
    real: dict[str, float] = field(default_factory=dict)
    count: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """What `compare.json` tells of it."""
        return planning.as_json(
            self.plan, self.costs, budget_seconds=self.budget, measuring_seconds=round(self.measured_in, 1)
        )

    def notes(self) -> list[str]:
        """What was cut, in a line; none where nothing was."""
        if not self.plan.cut:
            return []
        return [f"cut to fit the budget of {duration(self.budget)}: {'; '.join(self.plan.cut)}. --budget gives it more"]

    @property
    def left(self) -> float:
        """Seconds until training stops."""
        return self.until - time.perf_counter()

    def fits(self, seconds: float) -> bool:
        """Whether so many seconds are left."""
        return seconds <= self.left

    def one(self, name: str) -> float:
        """Seconds that one training of a way will take, as far as is known by now."""
        if name in self.real:
            return self.real[name]
        estimate = planning.each(name, self.plan, self.costs)
        return self._pace() * (estimate + planning.first(name, self.plan, self.costs))

    def _pace(self) -> float:
        estimated = sum(planning.each(name, self.plan, self.costs) for name in self.real)
        return sum(self.real.values()) / estimated if estimated > 0 else 1.0

    def round(self, gone: Collection[str]) -> float:
        """Seconds that each way once will take."""
        return sum(self.one(name) for name in self.plan.names if name not in gone)

    def allows(self, done: Comparison, name: str, *, turn: int) -> bool:
        """Whether a way may be trained now.

        Every way needs two seeds to be told of: where the time for these runs out, the dearest ways are left out for
        the others' sake, scratch last.
        """
        if turn > 1:
            return self.fits(self.one(name))
        while not self.fits(sum(self._missing(done).values())) and (gone := self._dearest(done)):
            done.failed[gone] = f"left out: {SPENT}"
            done.notes.append(f"{done.title(gone)} was left out: {SPENT}")
        return name not in done.failed

    def _missing(self, done: Comparison) -> dict[str, float]:
        """Seconds until each way that is not left out has been trained with two seeds, where it has not been."""
        lacking = {
            name: 2 - len(done.on_all_pictures(name)) for name in self.plan.names if name not in done.failed
        }  # fmt: skip
        return {name: self.one(name) * number for name, number in lacking.items() if number > 0}

    def _dearest(self, done: Comparison) -> str | None:
        """What is to be left out next; None for the last one."""
        missing, there = self._missing(done), [name for name in self.plan.names if name not in done.failed]
        others = [name for name in missing if name != BASELINE]
        if len(there) < 2 or not missing:
            return None
        if others and len([name for name in there if name != BASELINE]) > 1:
            return max(others, key=missing.__getitem__)
        return BASELINE if BASELINE in missing else None

    def took(self, name: str, seconds: float, *, share: float) -> None:
        """Note how long a training took."""
        if share == 1:
            self.real[name] = seconds
            self.count[name] = self.count.get(name, 0) + 1

    def left_to_do(self, gone: Collection[str]) -> float:
        """Seconds that what is planned will still take."""
        names = [name for name in self.plan.names if name not in gone]
        trainings = sum(self.one(name) * max(0, self.plan.seeds - self.count.get(name, 0)) for name in names)
        return trainings + planning.curves(self.plan, self.costs) * self._pace()

    def curve(self, names: Sequence[str]) -> list[float]:
        """The shares of the learning curves that still fit, the cheapest first."""
        chosen: list[float] = []
        for share in sorted(self.plan.shares):
            seconds = sum(
                planning.point(name, one, self.plan, self.costs) for name in names for one in (*chosen, share)
            )
            if self.fits(self._pace() * seconds):
                chosen.append(share)
        return chosen


def scheduled(
    named: Mapping[str, Recipe],
    splits: Splits,
    titles: Mapping[str, str],
    *,
    seeds: int,
    shares: Sequence[float],
    budget: float | None,
    started: float,
) -> Schedule:
    """Time a few steps of each way, plan, and say what will be trained and how long that takes.

    started: when the budget began, on the clock of `time.perf_counter`. Raises RecipeError where it is too small.
    """
    say(f"timing a few steps of {len(named)} way{'s' if len(named) != 1 else ''} on real pictures")
    began, whole = time.perf_counter(), math.inf if budget is None else budget
    costs = measure(named, splits, until=began + MEASURING * whole)
    now = time.perf_counter()
    plan = planning.make(
        costs,
        Sizes.of(splits),
        classes=len(splits.classes),
        seeds=seeds,
        shares=[share for share in shares if share < 1],
        budget=whole,
        spent=now - started,
    )
    found = Schedule(plan, costs, budget, started + (1 - RESERVE) * whole, now - began)
    _say(found, titles)
    return found


def _say(found: Schedule, titles: Mapping[str, str]) -> None:
    plan = found.plan
    for row in found.as_json()["strategies"]:
        epochs = f"{row['epochs']} epochs, {row['steps']:,} steps" if row["epochs"] else "solved"
        say(f"  {titles.get(row['name'], row['name'])}: {epochs}, about {duration(row['seconds'])} a training")
    curve = f", and learning curves at {', '.join(f'{share:.0%}' for share in plan.shares)}" if plan.shares else ""
    of = "" if found.budget is None else f" of the budget of {duration(found.budget)}"
    say(
        f"to train: {len(plan.names)} way{'s' if len(plan.names) != 1 else ''} x {plan.seeds} seeds on "
        f"{plan.sizes.train:,} pictures{curve}: about {duration(planning.seconds(plan, found.costs))}{of}"
    )
    for note in found.notes():
        say(note)


def with_epochs(recipe: Recipe, name: str, plan: Plan) -> Recipe:
    """A way's recipe with the epochs that the plan allows."""
    if name != BASELINE or plan.scratch_epochs is None:
        return recipe
    phases = [
        dataclasses.replace(one, epochs=plan.scratch_epochs) if isinstance(one, Phase) else one for one in recipe.phases
    ]
    return dataclasses.replace(recipe, phases=phases)
