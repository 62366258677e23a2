"""The ways to train that --goal, --budget or --search tried: the ladder and the search."""

from dataclasses import dataclass

from markupsafe import Markup

from kt.base.metrics import HEADLINES
from kt.base.numbers import duration
from kt.kinds.kind import Nouns
from kt.report.entry import Entry, Interval
from kt.report.reported import ReportedRun
from kt.report.templates import filled


@dataclass(frozen=True)
class ClimbedRung:
    """A rung of the ladder. figure, interval, seconds: None if it was not begun."""

    name: str
    backbone: str
    figure: float | None
    interval: Interval | None
    seconds: float | None
    verdict: str


@dataclass(frozen=True)
class Trial:
    """A trial of the search. lr, blocks, dropout: None for the recipe's own."""

    name: str
    lr: float | None
    blocks: int | None
    dropout: float | None
    figure: float | None
    interval: Interval | None
    seconds: float | None
    verdict: str


@dataclass(frozen=True)
class ProbedDepth:
    """A depth that was probed, and its log loss, cross-validated on train; None if there was no choice."""

    features: str
    log_loss: float | None


@dataclass(frozen=True)
class Tried:
    """The ways that were tried.

    goal: the metric, the target and whether it was reached, in words. depths: the chosen one first.
    """

    goal: str
    ladder: tuple[ClimbedRung, ...]
    depths: tuple[ProbedDepth, ...]
    search: tuple[Trial, ...]
    nouns: Nouns


def gather(run: ReportedRun) -> Tried | None:
    """The ways that were tried; None unless there were several."""
    report = run.report
    if not report["ladder"] and not report["search"]:
        return None
    return Tried(
        goal=_goal(report["goal"]) if report["goal"] else "",
        ladder=tuple(_rung(entry) for entry in report["ladder"]),
        depths=tuple(
            ProbedDepth(entry["features"].name(), entry["log_loss"].number_or_none()) for entry in report["depths"]
        ),
        search=tuple(_trial(entry) for entry in report["search"]),
        nouns=run.nouns,
    )


def _goal(goal: Entry) -> str:
    key, target, budget = goal["metric"].name(), goal["target"].number_or_none(), goal["budget_seconds"]
    words = [f"Judged by {HEADLINES[key].words if key in HEADLINES else key} on validation."]
    if target is not None:
        reached = "was reached" if goal["reached"].flag() else "was not reached"
        words.append(f"The target of {target:g} {reached}: the worse end of the interval counts.")
    if budget.number_or_none() is not None:
        words.append(f"Budget: {duration(budget.number())}.")
    if goal["ended"]:
        words.append(f"It ended there because {goal['ended'].name()}.")
    return " ".join(words)


def _rung(entry: Entry) -> ClimbedRung:
    return ClimbedRung(
        name=entry["name"].name(),
        backbone=entry["backbone"].text(),
        figure=entry["figure"].number_or_none(),
        interval=entry["interval"].interval_or_none(),
        seconds=entry["seconds"].number_or_none() or None,
        verdict=entry["verdict"].text(),
    )


def _trial(entry: Entry) -> Trial:
    return Trial(
        name=entry["name"].name(),
        lr=entry["lr"].number_or_none(),
        blocks=entry["blocks"].count_or_none(),
        dropout=entry["dropout"].number_or_none(),
        figure=entry["figure"].number_or_none(),
        interval=entry["interval"].interval_or_none(),
        seconds=entry["seconds"].number_or_none(),
        verdict=entry["verdict"].text(),
    )


def html(data: Tried) -> Markup:
    """A table of rungs, a table of trials."""
    return filled("sections/tried", data)
