"""How trained models stand on validation, for what chooses between several; the test split is never looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kt import freeze
from kt.console import warn
from kt.data.splits import Splits
from kt.errors import DataError
from kt.evaluate import CONFIDENCE, evaluate
from kt.goal import LOWER, Goal
from kt.graph import is_functional
from kt.model import Built, build, predict
from kt.recipe import Phase, Recipe
from kt.report.closing import HEADLINES
from kt.train import seed_everything

FEW = 20
"""Things of a class in validation below which its figures are called rough."""


@dataclass(frozen=True)
class Standing:
    """A figure on validation and its 95% interval."""

    figure: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.figure:.3f} ({low:.3f} to {high:.3f})"


def check_validation(splits: Splits) -> list[str]:
    """Notes on a validation split that is small; DataError where it lacks a class, for what it lacks it can't judge."""
    counts = np.bincount(splits.validation.labels, minlength=len(splits.classes))
    if not counts.all():
        lacking = splits.classes[int(counts.argmin())]
        raise DataError(
            f"Validation has no picture of {lacking!r}, so nothing can be chosen by it; add pictures of that class, "
            "or take a larger share, such as --set data.validation=0.2."
        )
    notes = [note for note in [caution(splits)] if note]
    for note in notes:
        warn(note)
    return notes


def caution(splits: Splits) -> str | None:
    """A word where validation shows so few things that its intervals promise too much; None where it will do."""
    things = splits.validation.things(len(splits.classes))
    fewest = min(things)
    if fewest >= FEW:
        return None
    # Clopper and Pearson's lower end where all of n are right.
    proven = ((1 - CONFIDENCE) / 2) ** (1 / fewest)
    return (
        f"validation is small: it shows {fewest} thing{'s' if fewest != 1 else ''} of "
        f"{splits.classes[things.index(fewest)]!r}, so even with all of them right that class's true recall may be as "
        f"low as {proven:.2f}; take its intervals with care"
    )


def new_model(recipe: Recipe, splits: Splits) -> Built:
    """The recipe's model before any training, the same for the same seed."""
    seed_everything(recipe.seed)
    return build(recipe, image_size=splits.image_size, num_classes=len(splits.classes))


def standing(built: Built, splits: Splits, goal: Goal, *, seed: int) -> Standing:
    """How a model stands on validation by the goal's metric."""
    part = splits.validation
    scores = predict(built.model, part.pixels)
    found = evaluate(scores, part.labels, splits.classes, groups=part.groups, seed=seed)
    low, high = found["intervals"][goal.metric]
    return Standing(found[goal.metric], (low, high))


def told_of(
    way: str,
    rows: Sequence[dict[str, Any]],
    goal: Goal,
    *,
    won: str,
    best: Standing,
    ended: str,
    notes: Sequence[str],
) -> dict[str, Any]:
    """What is told in `report.json` of several ways that were tried, the rows under the key `way`.

    won, best: the row that won, by its name, and how it stands. ended: why nothing further was tried. notes: those of
    before.
    """
    return {
        "goal": _told_goal(goal, best, ended),
        way: _judged(rows, won, goal),
        "notes": [_closing(goal, won, best, ended), *notes],
    }


def _told_goal(goal: Goal, best: Standing, ended: str) -> dict[str, Any]:
    """The goal and what became of it."""
    return {
        "metric": goal.metric,
        "target": goal.value,
        "budget_seconds": goal.seconds,
        "reached": None if goal.value is None else goal.reached(best.interval),
        "ended": ended,
    }


def _closing(goal: Goal, name: str, best: Standing, ended: str) -> str:
    """Which won and whether that is the target, in one line."""
    metric = HEADLINES[goal.metric]
    line = f"{name} won, {metric} {best} on validation, where it was chosen; {ended}"
    if goal.value is None or goal.reached(best.interval):
        return line
    end, bound = ("upper", best.interval[1]) if goal.metric in LOWER else ("lower", best.interval[0])
    return f"target not reached: {metric} {goal.value:g} was asked for, and its {end} end is {bound:.3f}; {line}"


def _judged(rows: Sequence[dict[str, Any]], won: str, goal: Goal) -> list[dict[str, Any]]:
    """The rows with a verdict in words for each way that was tried, held against the one that won."""
    best = next(row for row in rows if row["name"] == won)
    return [
        {**row, "won": row is best, "verdict": row["verdict"] or _verdict(row, best, rows, goal=goal)} for row in rows
    ]


def _verdict(row: dict[str, Any], best: dict[str, Any], rows: Sequence[dict[str, Any]], *, goal: Goal) -> str:
    if row is best:
        others = [other for other in rows if other["figure"] is not None and other is not best]
        if not others:
            return "won: the only one that was tried"
        ahead, name = min((goal.ahead(best["figure"], other["figure"]), other["name"]) for other in others)
        return f"won: {ahead:.3f} ahead of {name}" if ahead > 0 else f"won: as good as {name} and sooner there"
    behind = goal.ahead(best["figure"], row["figure"])
    low, high = row["interval"]
    chance = ", which may be chance" if low <= best["figure"] <= high else ""
    return (
        f"{behind:.3f} behind {best['name']}{chance}"
        if behind > 0
        else f"no better than {best['name']}, which came first"
    )


def fine_tuning(recipe: Recipe, built: Built) -> Phase:
    """The recipe's last phase in which the backbone trains; where there is none, 5 epochs of everything at 1e-4."""
    for phase in reversed(recipe.phases):
        if isinstance(phase, Phase):
            phase.trainable(built.backbone)
            if freeze.count_trainable(built.model, built.backbone).first != "head":
                return phase
    return Phase("fine_tune", trainable=freeze.everything, epochs=5, lr=1e-4, patience=3)


def blocks_of(built: Built) -> tuple[str, ...]:
    """The names of the backbone's blocks, the stem first; none where the backbone can't be read as a graph."""
    backbone = built.backbone
    return tuple(block.name for block in freeze.blocks(backbone)) if is_functional(backbone) else ()
