"""Validation scores of trained models, to choose between them; the test split is never used."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kt import freeze
from kt.base import few
from kt.base.console import warn
from kt.base.metrics import HEADLINES
from kt.data.splits import Splits
from kt.errors import DataError
from kt.heads.classification.measure import evaluate
from kt.network.model import Built, build, predict
from kt.recipe import Phase, Recipe
from kt.strategy.goal import Goal
from kt.training import seed_everything


@dataclass(frozen=True)
class Standing:
    """A model's validation score: a figure and its 95% interval."""

    figure: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.figure:.3f} ({low:.3f} to {high:.3f})"


def check_validation(splits: Splits) -> list[str]:
    """Notes on a small validation split. Raises DataError if it lacks a class, since it can't judge that class."""
    counts = np.bincount(splits.validation.labels, minlength=len(splits.classes))
    if not counts.all():
        lacking = splits.classes[int(counts.argmin())]
        raise DataError(
            f"Validation has no picture of {lacking!r}, so nothing can be chosen by it; add pictures of that class, "
            "or take a larger share, such as --set data.validation=0.2."
        )
    note = few.caution_on_validation(splits.validation.things(len(splits.classes)), splits.classes)
    if note:
        warn(note)
    return [note] if note else []


def new_model(recipe: Recipe, splits: Splits) -> Built:
    """The recipe's untrained model, the same for the same seed."""
    seed_everything(recipe.seed)
    return build(recipe, kind=splits.kind, num_classes=len(splits.classes))


def standing(built: Built, splits: Splits, goal: Goal, *, seed: int) -> Standing:
    """A model's validation score by the goal's metric."""
    part = splits.validation
    scores = predict(built.model, part.examples)
    figures = evaluate(scores, part.labels, splits.classes, groups=part.groups, seed=seed)
    low, high = figures["intervals"][goal.metric]
    return Standing(figures[goal.metric], (low, high))


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
    """The keys of `report.json` about several ways that were tried; their rows have the key `way`.

    won: the name of the row that won. best: its validation score. ended: why nothing further was tried. notes: earlier
    notes, to keep.
    """
    return {
        "goal": _outcome(goal, best, ended),
        way: _judged(rows, won, goal),
        "notes": [_closing(goal, won, best, ended), *notes],
    }


def _outcome(goal: Goal, best: Standing, ended: str) -> dict[str, Any]:
    """The goal, and whether it was reached."""
    return {
        "metric": goal.metric,
        "target": goal.value,
        "budget_seconds": goal.seconds,
        "reached": None if goal.value is None else goal.reached(best.interval),
        "ended": ended,
    }


def _closing(goal: Goal, name: str, best: Standing, ended: str) -> str:
    """Which way won and whether it reached the target, in one line."""
    metric = HEADLINES[goal.metric].words
    line = f"{name} won, {metric} {best} on validation, where it was chosen; {ended}"
    if goal.value is None or goal.reached(best.interval):
        return line
    end, bound = ("upper", best.interval[1]) if goal.lower_is_better else ("lower", best.interval[0])
    return f"target not reached: {metric} {goal.value:g} was asked for, and its {end} end is {bound:.3f}; {line}"


def _judged(rows: Sequence[dict[str, Any]], won: str, goal: Goal) -> list[dict[str, Any]]:
    """The rows, each with a verdict in words, compared with the row that won."""
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
    """The recipe's last phase that trains the backbone; if there is none, 5 epochs of everything at 1e-4."""
    for phase in reversed(recipe.phases):
        if isinstance(phase, Phase):
            with freeze.under(phase.trainable, built.backbone) as moving:
                if moving.weights:
                    return phase
    return Phase("fine_tune", trainable=freeze.everything, epochs=5, lr=1e-4, patience=3)


def blocks_of(built: Built) -> tuple[str, ...]:
    """The names of the backbone's blocks, the stem first; none if they are unknown."""
    return tuple(block.name for block in freeze.known_blocks(built.backbone))
