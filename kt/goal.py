"""What `kt run` is to reach, and in what time: --target and --budget, understood before anything heavy is loaded."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kt.errors import RecipeError, did_you_mean

HIGHER = ("accuracy", "balanced_accuracy", "roc_auc")
"""Headlines of `kt.evaluate` that can be a target, from 0 to 1, the more the better."""

LOWER = ("log_loss",)
"""Headlines that can be a target, above 0, the less the better."""

_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Goal:
    """What is to be reached on validation, and in what time.

    metric: a headline of `kt.evaluate`. value: the target; None for as good as it gets. seconds: None for no limit.
    """

    metric: str = "balanced_accuracy"
    value: float | None = None
    seconds: float | None = None

    def better(self, figure: float, other: float) -> bool:
        """Whether a figure beats another one."""
        return figure < other if self.metric in LOWER else figure > other

    def ahead(self, figure: float, other: float) -> float:
        """By how much a figure beats another one; negative where it is behind."""
        return other - figure if self.metric in LOWER else figure - other

    def reached(self, interval: Sequence[float]) -> bool:
        """Whether the worse end of an interval is at the target or past it; False where there is no target."""
        if self.value is None:
            return False
        low, high = interval
        return high <= self.value if self.metric in LOWER else low >= self.value


def goal(target: str | None, budget: str | None) -> Goal:
    """The goal in the words of the command line, such as `balanced_accuracy=0.95` and `30m`; either may be missing.

    Raises RecipeError for what can't be understood.
    """
    seconds = None if budget is None else _seconds(budget)
    return Goal(seconds=seconds) if target is None else Goal(*_target(target), seconds)


def _target(text: str) -> tuple[str, float]:
    metric, equals, figure = (part.strip() for part in text.partition("="))
    if not equals:
        raise RecipeError(f"--target {text!r}: write it as METRIC=VALUE, such as balanced_accuracy=0.95.")
    if metric == "calibration_error":
        raise RecipeError(
            "--target calibration_error: a model that knows nothing can be well calibrated, so this can't tell which "
            "is best; take log_loss, which counts calibration too."
        )
    if metric not in (*HIGHER, *LOWER):
        raise RecipeError(f"--target: there is no metric {metric!r}. {did_you_mean(metric, [*HIGHER, *LOWER])}")
    try:
        value = float(figure)
    except ValueError:
        raise RecipeError(f"--target {metric}: {figure!r} is no number; write it as {metric}=0.95.") from None
    if metric in LOWER and not 0 < value < 100:
        raise RecipeError(f"--target {metric}: it must be above 0, such as 0.2, not {figure}.")
    if metric in HIGHER and not 0 < value <= 1:
        raise RecipeError(f"--target {metric}: it is a share from 0 to 1, such as 0.95, not {figure}.")
    return metric, value


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip())
    if match is None:
        raise RecipeError(f"--budget {text!r}: write a time with its unit, such as 90s, 30m or 2h.")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if not seconds:
        raise RecipeError(f"--budget {text!r}: nothing can be done in no time; give it some, such as 90s, 30m or 2h.")
    return seconds
