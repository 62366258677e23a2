"""Calibration: the accuracy of the model against its confidence, and what one temperature has changed."""

import math
from dataclasses import dataclass

from markupsafe import Markup

from kt.base.numbers import count, figure, interval
from kt.kinds.kind import Nouns
from kt.report import charts
from kt.report.entry import Entry
from kt.report.reported import ReportedRun
from kt.report.templates import filled


@dataclass(frozen=True)
class Calibration:
    """Test pictures by their top score.

    before: the same with the scores as training left them; empty if no temperature changed them. in_words: what was
    done to the scores and whether it helped; empty if the report does not say.
    """

    bins: tuple[charts.Bin, ...]
    before: tuple[charts.Bin, ...]
    in_words: tuple[str, ...]
    nouns: Nouns


def gather(run: ReportedRun) -> Calibration | None:
    """The bins; None if none has pictures."""
    bins = tuple(_bin(entry) for entry in run.report["test"]["calibration"])
    told = run.report["calibration"]
    before = tuple(_bin(entry) for entry in told["test"]["bins_before"])
    return (
        Calibration(bins, before, _in_words(told, run.nouns), run.nouns) if any(each.count for each in bins) else None
    )


def _bin(entry: Entry) -> charts.Bin:
    number = entry["count"].count()
    return charts.Bin(
        lower=entry["lower"].share(),
        upper=entry["upper"].share(),
        count=number,
        confidence=entry["confidence"].share() if number else math.nan,
        accuracy=entry["accuracy"].share() if number else math.nan,
    )


def _in_words(told: Entry, nouns: Nouns) -> tuple[str, ...]:
    temperature = told["temperature"].number_or_none()
    if temperature is None:
        return ()
    sentences = [_of_temperature(told, temperature, nouns)]
    if raised := told["raised"].number_or_none():
        sentences += [_RAISED.format(raised, nouns=nouns)] if raised != 1 else []
    if temperature == 1:
        return tuple(sentences)
    for key, name in (("log_loss", "Log loss"), ("brier_score", "The Brier score")):
        sentences.append(_gained(told["test"], key, name))
    return tuple(sentences)


_RAISED = (
    "The temperature was multiplied by {:g}, because the test {nouns.many} look otherwise than those of training, and "
    "models are too sure of such; no label of test was used."
)


def _of_temperature(told: Entry, temperature: float, nouns: Nouns) -> str:
    if reason := told["reason"].text():
        return f"No temperature was fitted: {reason}."
    fitted_on = f"fitted on {count(told['examples'].count())} validation {nouns.many}"
    if temperature == 1:
        return f"Temperature 1, {fitted_on}: the scores stay as training left them."
    return f"The top scores are lower than training left them, by one temperature of {temperature:.2f}, {fitted_on}."


def _gained(test: Entry, key: str, name: str) -> str:
    """What the temperature did to a figure on test, in a sentence."""
    before, after = test["before"][key].number(), test["after"][key].number()
    gain, ends = test["gain"][key].number(), test["intervals"][key].interval_or_none()
    way = "fell" if gain >= 0 else "rose"
    surely = ends is not None and (ends[0] > 0 or ends[1] < 0)
    verdict = ("it helped" if gain >= 0 else "it did harm") if surely else "that may be chance"
    spread = f" (gain {interval(ends)})" if ends else ""
    return f"{name} on test {way} from {figure(before)} to {figure(after)}{spread}: {verdict}."


def html(data: Calibration) -> Markup:
    """A chart, and how to read it."""
    return filled("sections/calibration", data, charts=[charts.calibration(data.bins, data.nouns, before=data.before)])
