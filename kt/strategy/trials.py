"""The time that a trial of a ladder or a search took, kept so that a resumed run counts it."""

from pathlib import Path
from typing import Any

from kt.base.stages import Stage, key_of
from kt.recipe import Recipe, describe


def timed(folder: Path, recipe: Recipe, *, name: str, seconds: float, **besides: float) -> tuple[dict[str, Any], float]:
    """The times of a trial, and the seconds saved by resuming it.

    If an earlier process made the trial, the times are those that it kept. The saved seconds count against a budget
    too. folder: the trial's. seconds: the time in this process. besides: further times to keep.
    """
    stage = Stage(folder / "time", key_of(name, describe(recipe.phases), describe(recipe.head)))
    before = stage.kept()
    times = {"seconds": seconds, **besides} if before is None else before.told
    stage.keep(times)
    return times, max(0.0, times["seconds"] - seconds)
