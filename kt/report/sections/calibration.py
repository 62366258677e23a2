"""Calibration: the accuracy of the model against its confidence."""

import math
from dataclasses import dataclass

from markupsafe import Markup

from kt.kinds.kind import Nouns
from kt.report import charts
from kt.report.entry import Entry
from kt.report.reported import ReportedRun
from kt.report.templates import filled


@dataclass(frozen=True)
class Calibration:
    """Test pictures by their top score."""

    bins: tuple[charts.Bin, ...]
    nouns: Nouns


def gather(run: ReportedRun) -> Calibration | None:
    """The bins; None if none has pictures."""
    bins = tuple(_bin(entry) for entry in run.report["test"]["calibration"])
    return Calibration(bins, run.nouns) if any(each.count for each in bins) else None


def _bin(entry: Entry) -> charts.Bin:
    count = entry["count"].count()
    return charts.Bin(
        lower=entry["lower"].share(),
        upper=entry["upper"].share(),
        count=count,
        confidence=entry["confidence"].share() if count else math.nan,
        accuracy=entry["accuracy"].share() if count else math.nan,
    )


def html(data: Calibration) -> Markup:
    """A chart, and how to read it."""
    return filled("sections/calibration", data, charts=[charts.calibration(data.bins, data.nouns)])
