"""Keeps a comparison within its budget: what is planned, how long trainings really take, and what still fits."""

import dataclasses
import math
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kt.base.console import say
from kt.base.numbers import duration
from kt.base.stages import Stage
from kt.data.splits import Splits
from kt.recipe import Phase, Recipe
from kt.strategy.compare import plan as planning
from kt.strategy.compare.comparison import BASELINE, Comparison
from kt.strategy.compare.cost import Cost, Sizes, measure
from kt.strategy.compare.plan import Plan

SPENT = "the budget was spent"

MEASURING = 0.2
"""The share of the budget for timing a few steps of each strategy."""

RESERVE = 0.03
"""The share of the budget for the last scores and for writing the page."""


@dataclass
class Schedule:
    """The plan and its progress.

    until: when training stops, by `time.perf_counter`. real: seconds that the last training of each strategy on all
    pictures took. count: how many trainings on all pictures each strategy has had.
    """

    plan: Plan
    costs: Mapping[str, Cost]
    budget: float | None
    until: float
    measured_in: float
    real: dict[str, float] = field(default_factory=dict)
    count: dict[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain data for `compare.json`."""
        return planning.as_json(
            self.plan, self.costs, budget_seconds=self.budget, measuring_seconds=round(self.measured_in, 1)
        )

    def notes(self) -> list[str]:
        """A line that says what was cut; empty if nothing was."""
        if not self.plan.cut:
            return []
        return [f"cut to fit the budget of {duration(self.budget)}: {'; '.join(self.plan.cut)}. --budget gives it more"]

    @property
    def left(self) -> float:
        """Seconds until training stops."""
        return self.until - time.perf_counter()

    def fits(self, seconds: float) -> bool:
        """Whether this many seconds are left."""
        return seconds <= self.left

    def one(self, name: str) -> float:
        """Seconds that one training of a strategy will take, as far as is known by now."""
        if name in self.real:
            return self.real[name]
        estimate = planning.each(name, self.plan, self.costs)
        return self._pace() * (estimate + planning.first(name, self.plan, self.costs))

    def _pace(self) -> float:
        estimated = sum(planning.each(name, self.plan, self.costs) for name in self.real)
        return sum(self.real.values()) / estimated if estimated > 0 else 1.0

    def round(self, gone: Collection[str]) -> float:
        """Seconds that one training of each strategy will take, except of those in `gone`."""
        return sum(self.one(name) for name in self.plan.names if name not in gone)

    def allows(self, done: Comparison, name: str, *, turn: int) -> bool:
        """Whether a strategy may be trained now.

        Every strategy needs two seeds to be reported. If the time for these runs out, the most expensive strategies
        are left out for the sake of the others, scratch last.
        """
        if turn > 1:
            return self.fits(self.one(name))
        while not self.fits(sum(self._missing(done).values())) and (gone := self._dearest(done)):
            done.failed[gone] = f"left out: {SPENT}"
            done.notes.append(f"{done.title(gone)} was left out: {SPENT}")
        return name not in done.failed

    def _missing(self, done: Comparison) -> dict[str, float]:
        """Seconds that each remaining strategy still needs to be trained with two seeds; only those that lack one."""
        lacking = {
            name: 2 - len(done.on_all_pictures(name)) for name in self.plan.names if name not in done.failed
        }  # fmt: skip
        return {name: self.one(name) * number for name, number in lacking.items() if number > 0}

    def _dearest(self, done: Comparison) -> str | None:
        """The strategy to leave out next; None if only one remains."""
        missing, remaining = self._missing(done), [name for name in self.plan.names if name not in done.failed]
        others = [name for name in missing if name != BASELINE]
        if len(remaining) < 2 or not missing:
            return None
        if others and len([name for name in remaining if name != BASELINE]) > 1:
            return max(others, key=missing.__getitem__)
        return BASELINE if BASELINE in missing else None

    def took(self, name: str, seconds: float, *, share: float) -> None:
        """Record how long a training took."""
        if share == 1:
            self.real[name] = seconds
            self.count[name] = self.count.get(name, 0) + 1

    def left_to_do(self, gone: Collection[str]) -> float:
        """Seconds that the rest of the plan will take, except strategies in `gone`."""
        names = [name for name in self.plan.names if name not in gone]
        trainings = sum(self.one(name) * max(0, self.plan.seeds - self.count.get(name, 0)) for name in names)
        return trainings + planning.curve_shares(self.plan, self.costs) * self._pace()

    def curve(self, names: Sequence[str]) -> list[float]:
        """The shares of the learning curves that still fit, the smallest first."""
        chosen: list[float] = []
        for share in sorted(self.plan.shares):
            seconds = sum(
                planning.point(name, each, self.plan, self.costs) for name in names for each in (*chosen, share)
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
    kept: Stage,
) -> Schedule:
    """Time a few steps of each strategy, plan, and print what will be trained and how long that takes.

    started: when the budget began, by `time.perf_counter`. kept: holds the plan of a comparison that is resumed. Raises
    RecipeError if the budget is too small.
    """
    whole = math.inf if budget is None else budget
    before = kept.kept()
    if before is not None:
        plan, costs, measured_in = planning.read_plan(before.told)
        schedule = Schedule(plan, costs, budget, started + (1 - RESERVE) * whole - measured_in, measured_in)
        _say(schedule, titles)
        return schedule
    say(f"timing a few steps of {len(named)} way{'s' if len(named) != 1 else ''} on real pictures")
    began = time.perf_counter()
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
    schedule = Schedule(plan, costs, budget, started + (1 - RESERVE) * whole, now - began)
    kept.keep(planning.plan_as_json(plan, costs, measured_in=now - began))
    _say(schedule, titles)
    return schedule


def _say(schedule: Schedule, titles: Mapping[str, str]) -> None:
    plan = schedule.plan
    for row in schedule.as_json()["strategies"]:
        epochs = f"{row['epochs']} epochs, {row['steps']:,} steps" if row["epochs"] else "solved"
        say(f"  {titles.get(row['name'], row['name'])}: {epochs}, about {duration(row['seconds'])} a training")
    curve = f", and learning curves at {', '.join(f'{share:.0%}' for share in plan.shares)}" if plan.shares else ""
    of = "" if schedule.budget is None else f" of the budget of {duration(schedule.budget)}"
    say(
        f"to train: {len(plan.names)} way{'s' if len(plan.names) != 1 else ''} x {plan.seeds} seeds on "
        f"{plan.sizes.train:,} pictures{curve}: about {duration(planning.seconds(plan, schedule.costs))}{of}"
    )
    for note in schedule.notes():
        say(note)


def with_epochs(recipe: Recipe, name: str, plan: Plan) -> Recipe:
    """A strategy's recipe with the epochs that the plan allows."""
    if name != BASELINE or plan.scratch_epochs is None:
        return recipe
    phases = [
        dataclasses.replace(step, epochs=plan.scratch_epochs) if isinstance(step, Phase) else step
        for step in recipe.phases
    ]
    return dataclasses.replace(recipe, phases=phases)
