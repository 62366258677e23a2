"""What the model does not know: whether it can tell what is unlike anything it learned from."""

from collections.abc import Iterator
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
class Saying:
    """An artefact that says it. rate: the share of familiar examples that one that rounds is expected to call so."""

    name: str
    rate: float | None


@dataclass(frozen=True)
class Unfamiliar:
    """What the model's answers say.

    why: why none of them is called unfamiliar, or "". known: how many known examples are compared with. rate: the
    promised share of familiar ones above the threshold. alarms: None if there were no test examples. own: whether the
    features are the trained model's own, since nothing was frozen. said_by: the released artefacts that say it.
    """

    why: str
    known: int
    threshold: float | None
    rate: float | None
    alarms: FalseAlarms | None
    own: bool
    said_by: tuple[Saying, ...]
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
        said_by=tuple(_said_by(run)),
        nouns=run.nouns,
    )


def _said_by(run: ReportedRun) -> Iterator[Saying]:
    for artifact in run.report["artifacts"]:
        if artifact["released"].flag() and artifact["unfamiliarity_difference"].number_or_none() is not None:
            yield Saying(artifact["name"].text(), artifact["unfamiliarity_rate"].share_or_none())


def _alarms(told: Entry) -> FalseAlarms:
    return FalseAlarms(
        told["examples"].count(), told["called"].count(), told["share"].share(), told["interval"].interval()
    )


def html(data: Unfamiliar) -> Markup:
    """What is called unfamiliar, and how often wrongly."""
    return filled("sections/unfamiliar", data)
