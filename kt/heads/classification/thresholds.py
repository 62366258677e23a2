"""Score thresholds of a class that reach a wanted precision or recall, shown by held-out examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from kt.base.chance import fewest_to_show, least_share, share_and_interval
from kt.base.metrics import CONFIDENCE

Figure = Literal["precision", "recall"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Threshold:
    """A threshold for the score of a class, or why there is none.

    score: examples whose score of the class is at least this one count as of the class; None if there is no such
    threshold. bound: the lower end of the figure on the held-out examples, with 95% confidence. examples, groups: those
    that it rests on: with precision those that reach the threshold, with recall those of the class. reason: why there
    is none; "" otherwise.
    """

    figure: Figure
    label: str
    wanted: float
    score: float | None
    bound: float | None
    examples: int
    groups: int
    reason: str = ""


def threshold_for(
    figure: Figure,
    wanted: float,
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    groups: Sequence[str],
    *,
    classes: Sequence[str],
    label: str,
    many: str,
) -> Threshold:
    """The lowest threshold that reaches a precision, or the highest that reaches a recall, shown with 95% confidence.

    scores: `[N, C]` of held-out examples. labels: `[N]`. wanted: above 0 and below 1. label: one of `classes`. many:
    what a person calls the examples.

    The bound is Clopper and Pearson's, with groups counted as examples. For precision, thresholds are tried in one
    order, from the surest examples on, beginning where there are enough to show anything, and it ends at the first that
    fails: so trying many costs no confidence (fixed sequence testing, as in Angelopoulos et al., Learn then Test,
    2021). A recall falls as the threshold rises, so the same holds there.
    """
    column = [*classes].index(label)
    own = np.asarray(scores, np.float64)[:, column]
    truth = np.asarray(labels, np.int64) == column
    names = np.asarray(groups, dtype=str)
    if figure == "recall":
        own, names, hits = own[truth], names[truth], np.ones(int(truth.sum()))
        order = np.argsort(own, kind="stable")
    else:
        order, hits = np.argsort(-own, kind="stable"), truth.astype(np.float64)
    own, names, hits = own[order], names[order], hits[order]
    steps = _recalls(own, names) if figure == "recall" else _precisions(own, names, hits)
    fewest = fewest_to_show(wanted)
    passed: tuple[float, float, int, int] | None = None
    failed: float | None = None
    for score, share, examples, number in steps:
        if number < fewest:
            continue
        bound = least_share(share, number)
        if bound < wanted:
            failed = bound
            break
        passed = score, bound, examples, number
    if passed is None:
        groups_there = len(set(names.tolist()))
        what = f"{many} of {label!r}" if figure == "recall" else many
        reason = (
            f"validation has {groups_there:,} independent {what}, and {fewest:,} are needed to show a {figure} of "
            f"{wanted:g} even without a mistake"
            if failed is None
            else f"the {fewest:,} surest of validation are right too seldom: they show a {figure} of {failed:.2f} "
            f"only, with {CONFIDENCE:.0%} confidence"
        )
        return Threshold(figure, label, wanted, None, None, len(own), groups_there, reason)
    score, bound, examples, number = passed
    below = own[own < score]
    return Threshold(figure, label, wanted, _short(score, float(below.max()) if len(below) else -1.0), bound, examples,
                     number)  # fmt: skip


def measured_threshold(
    score: float, scores: npt.ArrayLike, labels: npt.ArrayLike, groups: Sequence[str], *, column: int
) -> dict[str, Any]:
    """What a threshold of a class gives on other examples: `precision`, `recall`, each with an interval, and `reached`.

    reached: how many examples reach it, of `examples`. A figure of no example is None.
    """
    above = np.asarray(scores, np.float64)[:, column] >= score
    truth = np.asarray(labels, np.int64) == column
    names = np.asarray(groups, dtype=str)
    figures: dict[str, Any] = {"examples": len(above), "reached": int(above.sum()), "intervals": {}}
    for name, hits, among in (("precision", truth, above), ("recall", above, truth)):
        measured = share_and_interval(hits[among], names[among].tolist())
        figures[name], figures["intervals"][name] = measured or (None, None)
    return figures


def _precisions(own: Floats, names: npt.NDArray[np.str_], hits: Floats) -> list[tuple[float, float, int, int]]:
    """For each distinct score, falling: it, the share of hits among those that reach it, their number and groups."""
    ends = np.flatnonzero(np.append(np.diff(own) != 0, True)) if len(own) else np.zeros(0, np.int64)
    first = np.zeros(len(own), np.int64)
    first[np.unique(names, return_index=True)[1]] = 1
    right, number = np.cumsum(hits), np.cumsum(first)
    return [(float(own[end]), float(right[end] / (end + 1)), int(end) + 1, int(number[end])) for end in ends]


def _recalls(own: Floats, names: npt.NDArray[np.str_]) -> list[tuple[float, float, int, int]]:
    """For each distinct score of the class's examples, rising: it, the share that reaches it, their number, groups."""
    starts = np.flatnonzero(np.append(True, np.diff(own) != 0)) if len(own) else np.zeros(0, np.int64)
    number = len(set(names.tolist()))
    return [(float(own[start]), float(1 - start / len(own)), len(own), number) for start in starts]


def _short(score: float, below: float) -> float:
    """The number with the fewest decimals that separates the same examples: above `below` and 0, at most `score`."""
    for digits in range(2, 7):
        short: float = floor(score * 10**digits) / 10**digits
        if short > max(below, 0.0):
            return short
    return score
