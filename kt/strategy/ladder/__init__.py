"""`kt run --target, --budget`: from the cheapest way to transfer to the dearest, until one of them is good enough.

Each rung is a recipe, starts from the best weights so far, and is judged on validation alone.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kt.data.splits import Splits
from kt.features.engine import Engine
from kt.goal import Goal
from kt.model import Built
from kt.recipe import Recipe
from kt.run import Trained
from kt.scarcity import scarcity
from kt.strategy.ladder.climb import Climb
from kt.strategy.ladder.depth import first_rung
from kt.strategy.ladder.rungs import Rung, deeper, head_alone, on_another, other_backbones
from kt.strategy.validation import blocks_of, check_validation, fine_tuning, new_model, told_of

__all__ = ["Ladder"]


@dataclass(frozen=True)
class Ladder:
    """The training step that climbs until the goal is reached, gains end, or the time is spent."""

    goal: Goal

    def __call__(self, recipe: Recipe, splits: Splits, *, logs: Path, cached: bool) -> Trained:
        """Climb, and give the best rung's model. Raises DataError where validation can't judge."""
        notes, started = check_validation(splits), time.perf_counter()
        plain = new_model(head_alone(recipe).recipe, splits)
        first, depths = first_rung(recipe, splits, plain)
        own = new_model(first.recipe, splits)
        scarce = scarcity(own, first.recipe, splits, cached=cached)
        rungs = [first, *deeper(first.recipe, fine_tuning(recipe, plain), blocks_of(own))]
        if cached:
            _compute_at_once(rungs, own, splits)
        climb = Climb(self.goal, own, splits, logs, cached, started)
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
    """Store what stays frozen in any of the rungs in one pass over the pictures, so that each finds its own."""
    steps = [step for rung in rungs for step in rung.recipe.phases]
    steps[0].trainable(built.backbone)
    Engine(built, dataclasses.replace(rungs[0].recipe, phases=steps), splits).work(0)
