"""The goal of `kt run`: --goal and --budget, parsed before anything heavy is loaded."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kt.base.metrics import HEADLINES, TARGETS
from kt.errors import RecipeError, did_you_mean

_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Goal:
    """The target on validation, and the time for it.

    metric: a headline of `kt.base.metrics`. value: the target; None for as good as possible. seconds: None for no
    limit.
    """

    metric: str = "balanced_accuracy"
    value: float | None = None
    seconds: float | None = None

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower figure is better, as for a loss."""
        return not HEADLINES[self.metric].higher_is_better

    def better(self, figure: float, other: float) -> bool:
        """Whether a figure is better than another one."""
        return figure < other if self.lower_is_better else figure > other

    def ahead(self, figure: float, other: float) -> float:
        """How much better a figure is than another one; negative if it is worse."""
        return other - figure if self.lower_is_better else figure - other

    def reached(self, interval: Sequence[float]) -> bool:
        """Whether even the worse end of an interval reaches the target; False without a target."""
        if self.value is None:
            return False
        low, high = interval
        return high <= self.value if self.lower_is_better else low >= self.value


def goal(target: str | None, budget: str | None) -> Goal:
    """The goal from the command line, such as `balanced_accuracy=0.95` and `30m`; either may be missing.

    Raises RecipeError for a target or budget that can't be parsed.
    """
    seconds = None if budget is None else _seconds(budget)
    return Goal(seconds=seconds) if target is None else Goal(*_target(target), seconds)


def is_goal(text: str) -> bool:
    """Whether a text names a metric and a value, such as `balanced_accuracy=0.95`."""
    metric, equals, _ = text.partition("=")
    return bool(equals) and metric.strip() in HEADLINES


def _target(text: str) -> tuple[str, float]:
    metric, equals, figure = (part.strip() for part in text.partition("="))
    if not equals:
        raise RecipeError(f"--goal {text!r}: write it as METRIC=VALUE, such as balanced_accuracy=0.95.")
    if metric in HEADLINES and metric not in TARGETS:
        raise RecipeError(
            f"--goal {metric}: a model that knows nothing can be well calibrated, so this can't tell which "
            "is best; take log_loss, which counts calibration too."
        )
    if metric not in TARGETS:
        raise RecipeError(f"--goal: there is no metric {metric!r}. {did_you_mean(metric, TARGETS)}")
    try:
        value = float(figure)
    except ValueError:
        raise RecipeError(f"--goal {metric}: {figure!r} is no number; write it as {metric}=0.95.") from None
    higher_is_better = HEADLINES[metric].higher_is_better
    if not higher_is_better and not 0 < value < 100:
        raise RecipeError(f"--goal {metric}: it must be above 0, such as 0.2, not {figure}.")
    if higher_is_better and not 0 < value <= 1:
        raise RecipeError(f"--goal {metric}: it is a share from 0 to 1, such as 0.95, not {figure}.")
    return metric, value


def _seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip())
    if match is None:
        raise RecipeError(f"--budget {text!r}: write a time with its unit, such as 90s, 30m or 2h.")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if not seconds:
        raise RecipeError(f"--budget {text!r}: nothing can be done in no time; give it some, such as 90s, 30m or 2h.")
    return seconds
