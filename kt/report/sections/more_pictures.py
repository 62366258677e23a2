"""Whether more pictures would help: a probe's learning curve, and its cross-validated figure if pictures are few."""

from dataclasses import dataclass

from markupsafe import Markup

from kt.base.numbers import count
from kt.kinds.kind import Nouns
from kt.report import charts
from kt.report.entry import Entry, Interval
from kt.report.reported import ReportedRun
from kt.report.templates import filled


@dataclass(frozen=True)
class FigureWithInterval:
    """A balanced accuracy and its interval."""

    balanced_accuracy: float
    interval: Interval | None


@dataclass(frozen=True)
class CrossValidated:
    """A probe's cross-validated figure on train and validation. measured_on: the pictures, in words."""

    figure: FigureWithInterval
    measured_on: str


@dataclass(frozen=True)
class MorePictures:
    """Whether more pictures would help.

    curve: by rising number of pictures. outlook: what more pictures would bring, or "". test: the trained model's
    figure.
    """

    curve: tuple[charts.CurvePoint, ...]
    outlook: str
    cross_validated: CrossValidated | None
    test: FigureWithInterval | None
    nouns: Nouns


def gather(run: ReportedRun) -> MorePictures | None:
    """The results of the probes; None if there were none."""
    report = run.report
    outlook, crossed = report["outlook"].text(), cross_validated_of(run)
    curve = tuple(_point(entry) for entry in report["learning_curve"])
    if not (len(curve) > 1 or outlook or crossed):
        return None
    return MorePictures(curve, outlook, crossed, _measured(report["test"]), run.nouns)


def cross_validated_of(run: ReportedRun) -> CrossValidated | None:
    """The probe's cross-validated figure; None unless validation was small."""
    entry = run.report["cross_validation"]
    figure = _measured(entry)
    if figure is None:
        return None
    known = f"{count(entry['images'].count_or_none())} {run.nouns.many}"
    return CrossValidated(figure, f"balanced accuracy of a linear probe on {known} of train and validation")


def _measured(entry: Entry) -> FigureWithInterval | None:
    figure = entry["balanced_accuracy"].number_or_none()
    return (
        None
        if figure is None
        else FigureWithInterval(figure, entry["intervals"]["balanced_accuracy"].interval_or_none())
    )


def _point(entry: Entry) -> charts.CurvePoint:
    if entry["images_per_class"].number() <= 0:  # the axis is logarithmic
        raise entry["images_per_class"].damaged("a number above 0")
    return charts.CurvePoint(
        images_per_class=entry["images_per_class"].number(),
        balanced_accuracy=entry["balanced_accuracy"].share(),
        low=entry["low"].share(),
        high=entry["high"].share(),
    )


def html(data: MorePictures) -> Markup:
    """The curve on the left, what it means on the right."""
    return filled("sections/more_pictures", data, charts=[charts.learning_curve_chart(data.curve, data.nouns)])
