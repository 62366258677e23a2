"""If the model may leave pictures unanswered: the error among the others, and sets of classes in place of one label."""

from dataclasses import dataclass

from markupsafe import Markup

from kt.kinds.kind import Nouns
from kt.report import charts
from kt.report.entry import Entry, Interval
from kt.report.reported import ReportedRun
from kt.report.templates import filled

SHARES = (1.0, 0.9, 0.8, 0.7, 0.5)
"""The shares of pictures answered that the table shows."""


@dataclass(frozen=True)
class Sets:
    """Sets of one promised coverage. reason: why there are none, or ""; the figures are None then."""

    level: float
    least: float | None
    between: Interval | None
    coverage: float | None
    interval: Interval | None
    mean_size: float | None
    reason: str


@dataclass(frozen=True)
class Unsure:
    """The risk-coverage curve on test, its area, and the sets.

    answered: points of the curve for the table.
    """

    curve: tuple[charts.RiskPoint, ...]
    answered: tuple[charts.RiskPoint, ...]
    aurc: float
    interval: Interval | None
    sets: tuple[Sets, ...]
    nouns: Nouns


def gather(run: ReportedRun) -> Unsure | None:
    """The curve and the sets; None if the report has no curve."""
    told = run.report["abstention"]
    curve = tuple(
        charts.RiskPoint(point["coverage"].share(), point["risk"].share(), point["score"].number())
        for point in told["curve"]
    )
    if not curve:
        return None
    answered = dict.fromkeys(min(curve, key=lambda point: abs(point.coverage - share)) for share in SHARES)
    sets = tuple(_sets(row) for row in run.report["sets"])
    return Unsure(curve, tuple(answered), told["aurc"].number(), told["interval"].interval_or_none(), sets, run.nouns)


def _sets(row: Entry) -> Sets:
    test = row["test"]
    return Sets(
        level=row["level"].share(),
        least=row["least"].number_or_none(),
        between=row["between"].interval_or_none(),
        coverage=test["coverage"].share_or_none(),
        interval=test["interval"].interval_or_none(),
        mean_size=test["mean_size"].number_or_none(),
        reason=row["reason"].text(),
    )


def html(data: Unsure) -> Markup:
    """A chart and a table of the answered shares; a table of sets."""
    return filled("sections/unsure", data, charts=[charts.risk_coverage(data.curve, data.nouns)])
