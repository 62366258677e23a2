"""A recipe of two domains without what takes the target's examples."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from kt.recipe.definition import TOP, LinearProbe, Phase, Recipe, streams_of


def source_steps(recipe: Recipe) -> list[Any]:
    """The steps of a recipe that learn from the source alone; a linear probe if it has no others.

    Steps that take further streams are left out, but for phases, which lose their objective.
    """
    steps: list[Any] = []
    for step in recipe.phases:
        if isinstance(step, Phase):
            steps.append(step if step.objective is None else dataclasses.replace(step, objective=None))
        elif not streams_of(step):
            steps.append(step)
    return steps or [LinearProbe(features=features_of(recipe))]


def features_of(recipe: Recipe) -> str | Sequence[str]:
    """The depths of the backbone that the recipe's head gets: those of its first probe, else the top."""
    return next((step.features for step in recipe.phases if isinstance(step, LinearProbe)), TOP)
