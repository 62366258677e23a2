"""The main figures on the test pictures, each with its interval."""

from dataclasses import dataclass

from markupsafe import Markup

from kt.base.metrics import HEADLINES
from kt.base.numbers import count, known
from kt.kinds.kind import Nouns
from kt.report.entry import Entry, Interval
from kt.report.reported import ReportedRun
from kt.report.templates import filled


@dataclass(frozen=True)
class Figure:
    """A headline. name: its name in a sentence. value: None if the test pictures leave it undefined."""

    name: str
    value: float | None
    interval: Interval | None

    @property
    def title(self) -> str:
        """The name at the beginning of a line."""
        return self.name[0].upper() + self.name[1:]


@dataclass(frozen=True)
class Headlines:
    """The main figures. measured_on: the test pictures, in words. caution: a warning, or ""."""

    figures: tuple[Figure, ...]
    measured_on: str
    caution: str


def gather(run: ReportedRun) -> Headlines | None:
    """The headlines of the test split; None if there are none."""
    test = run.report["test"]
    figures = tuple(
        Figure(headline.words, test[key].number_or_none(), test["intervals"][key].interval_or_none())
        for key, headline in HEADLINES.items()
        if key in test
    )
    return Headlines(figures, _measured_on(test, run.nouns), run.shown.caution) if figures else None


def _measured_on(test: Entry, nouns: Nouns) -> str:
    """The basis of the figures and intervals: `800 test pictures of 8 things, 95% bootstrap intervals`."""
    images, groups = test["images"].count_or_none(), test["groups"].count_or_none()
    level = test["confidence"].share_or_none()
    of = f" of {count(groups)} thing{'s' if groups != 1 else ''}" if known(groups) and groups != images else ""
    what = nouns.many if images != 1 else nouns.one
    return f"{count(images)} test {what}{of}" + (f", {level:.0%} bootstrap intervals" if known(level) else "")


def html(data: Headlines) -> Markup:
    """One box a figure."""
    return filled("sections/headlines", data)
