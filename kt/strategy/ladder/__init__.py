"""`kt run --goal, --budget`: the ladder tries ways to transfer, the cheapest first, until one is good enough.

Each way is a rung. A rung is a recipe, starts from the best weights so far, and is judged on validation alone.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kt.data.splits import Splits
from kt.frozen.engine import Engine
from kt.learnability import scarcity
from kt.network.model import Built
from kt.recipe import Recipe
from kt.runs.trained import Trained
from kt.strategy.goal import Goal
from kt.strategy.ladder.climb import Climb
from kt.strategy.ladder.depth import first_rung
from kt.strategy.ladder.rungs import Rung, deeper, head_alone, on_another, other_backbones
from kt.strategy.validation import blocks_of, check_validation, fine_tuning, new_model, told_of

__all__ = ["Ladder"]


@dataclass(frozen=True)
class Ladder:
    """A run's training that tries rungs until the goal is reached, gains end, or the time is spent."""

    goal: Goal

    def __call__(self, recipe: Recipe, splits: Splits, *, out: Path, cached: bool) -> Trained:
        """Climb, and give the best rung's model. Raises DataError if validation lacks a class."""
        notes, started = check_validation(splits), time.perf_counter()
        plain = new_model(head_alone(recipe).recipe, splits)
        first, depths = first_rung(recipe, splits, plain)
        own = new_model(first.recipe, splits)
        scarce = scarcity(own, first.recipe, splits, cached=cached)
        rungs = [first, *deeper(first.recipe, fine_tuning(recipe, plain), blocks_of(own))]
        if cached:
            _compute_at_once(rungs, own, splits)
        climb = Climb(self.goal, own, splits, out, cached, started)
        climb.go(rungs[:1])
        assert climb.won is not None
        climb.go(rungs[1:])
        climb.go([on_another(first, climb.won.rung, name, made) for name, made in other_backbones(recipe)])
        won = climb.won
        won.built.model.set_weights(won.weights)
        told = told_of(
            "ladder", climb.rows, self.goal, won=won.rung.name, best=won.standing, ended=climb.ended, notes=notes
        )
        told["depths"] = [dataclasses.asdict(depth) for depth in depths]
        return Trained(won.recipe, won.built, won.phases, won.best, scarce, told)


def _compute_at_once(rungs: Sequence[Rung], built: Built, splits: Splits) -> None:
    """Compute the activations of all rungs' frozen layers in one pass over the pictures."""
    steps = [step for rung in rungs for step in rung.recipe.phases]
    Engine(built, rungs[0].recipe, splits, phases=steps).prepare()
