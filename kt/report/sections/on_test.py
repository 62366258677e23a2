"""On the test pictures: the confusion matrix, the classes, the calibration and the frequent mistakes, side by side.

Each of these parts has its own file here, with the functions of a section.
"""

from dataclasses import dataclass

from markupsafe import Markup

from kt.kinds.kind import Nouns
from kt.report.reported import ReportedRun
from kt.report.sections import calibration, confusion, mistakes, per_class
from kt.report.templates import filled


@dataclass(frozen=True)
class OnTest:
    """The parts that the report has figures for."""

    confusion: confusion.Confusion | None
    per_class: per_class.PerClass | None
    calibration: calibration.Calibration | None
    mistakes: mistakes.Mistakes | None
    nouns: Nouns


@dataclass(frozen=True)
class _Columns:
    """The parts as HTML, by their positions; empty where there is none."""

    above: Markup
    left: tuple[Markup, Markup]
    right: tuple[Markup, Markup]
    nouns: Nouns


def gather(run: ReportedRun) -> OnTest | None:
    """The figures of classes and scores on test; None if the report has none."""
    parts = OnTest(
        confusion.gather(run), per_class.gather(run), calibration.gather(run), mistakes.gather(run), run.nouns
    )
    return parts if any((parts.confusion, parts.per_class, parts.calibration)) else None


def html(data: OnTest) -> Markup:
    """Two columns, with a wide matrix above them."""
    nothing = Markup()
    matrix = confusion.html(data.confusion) if data.confusion else nothing
    wide = data.confusion is not None and data.confusion.wide
    classes = per_class.html(data.per_class) if data.per_class else nothing
    sure = calibration.html(data.calibration) if data.calibration else nothing
    common = mistakes.html(data.mistakes) if data.mistakes else nothing
    left = nothing if wide else matrix, classes
    columns = _Columns(matrix if wide else nothing, left, (sure, common), data.nouns)
    return filled("sections/on_test", columns)
