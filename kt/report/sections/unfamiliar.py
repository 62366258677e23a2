"""What the model does not know: whether it can tell what is unlike anything it learned from."""

from dataclasses import dataclass

from markupsafe import Markup

from kt.kinds.kind import Nouns
from kt.report.entry import Entry, Interval
from kt.report.reported import ReportedRun
from kt.report.templates import filled


@dataclass(frozen=True)
class FalseAlarms:
    """How many of the test examples, which are familiar, are called unfamiliar."""

    examples: int
    called: int
    share: float
    interval: Interval


@dataclass(frozen=True)
class Unfamiliar:
    """What the model's answers say.

    why: why none of them is called unfamiliar, or "". known: how many known examples are compared with. rate: the
    promised share of familiar ones above the threshold. alarms: None if there were no test examples. own: whether the
    features are the trained model's own, since nothing was frozen.
    """

    why: str
    known: int
    threshold: float | None
    rate: float | None
    alarms: FalseAlarms | None
    own: bool
    nouns: Nouns


def gather(run: ReportedRun) -> Unfamiliar | None:
    """What the run recorded; None for a run of an earlier kt."""
    told = run.report["unfamiliar"]
    if not told:
        return None
    return Unfamiliar(
        why=told["why"].text(),
        known=told["known"].count(),
        threshold=told["threshold"].number_or_none(),
        rate=told["rate"].share_or_none(),
        alarms=_alarms(told["test"]) if told["test"] else None,
        own=told["features"]["part"].text() == "own",
        nouns=run.nouns,
    )


def _alarms(told: Entry) -> FalseAlarms:
    return FalseAlarms(
        told["examples"].count(), told["called"].count(), told["share"].share(), told["interval"].interval()
    )


def html(data: Unfamiliar) -> Markup:
    """What is called unfamiliar, and how often wrongly."""
    return filled("sections/unfamiliar", data)
