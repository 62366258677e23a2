"""Each class by itself: precision, recall, F1 and the number of its test pictures."""

from dataclasses import dataclass

from markupsafe import Markup

from kt.kinds.kind import Nouns
from kt.report.layout import is_many
from kt.report.reported import ReportedRun
from kt.report.templates import filled


@dataclass(frozen=True)
class ClassFigures:
    """A class. precision, recall, f1: None if the test pictures leave them undefined. support: its test pictures."""

    label: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class PerClass:
    """The figures of all classes. many: whether the table scrolls; then the classes with the lowest F1 come first."""

    many: bool
    rows: tuple[ClassFigures, ...]
    nouns: Nouns


def gather(run: ReportedRun) -> PerClass | None:
    """The classes with their figures; None if the report has none."""
    rows = [
        ClassFigures(
            label=entry["label"].name(),
            precision=entry["precision"].share_or_none(),
            recall=entry["recall"].share_or_none(),
            f1=entry["f1"].share_or_none(),
            support=entry["support"].count(),
        )
        for entry in run.report["test"]["per_class"]
    ]
    many = is_many(run.shown.classes)
    if many:
        rows.sort(key=lambda row: 2.0 if row.f1 is None else row.f1)
    return PerClass(many, tuple(rows), run.nouns) if rows else None


def html(data: PerClass) -> Markup:
    """A row a class."""
    return filled("sections/per_class", data)
