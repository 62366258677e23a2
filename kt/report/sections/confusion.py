"""The confusion matrix: with numbers, or as a heatmap for many classes."""

from dataclasses import dataclass

from markupsafe import Markup

from kt.report import charts
from kt.report.layout import BESIDE, is_many
from kt.report.reported import ReportedRun
from kt.report.templates import filled

Matrix = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix. classes: their names. matrix: a row for each true class, a column for each predicted one."""

    classes: tuple[str, ...]
    matrix: Matrix

    @property
    def wrong(self) -> int:
        """How many pictures were misclassified."""
        return sum(map(sum, self.matrix)) - sum(row[i] for i, row in enumerate(self.matrix))

    @property
    def wide(self) -> bool:
        """Whether the matrix leaves no room for another column beside it."""
        return len(self.classes) > BESIDE

    @property
    def shares(self) -> list[list[tuple[int, float]]]:
        """Each count with its share of the row."""
        return [[(cell, cell / max(sum(row), 1)) for cell in row] for row in self.matrix]


def gather(run: ReportedRun) -> Confusion | None:
    """The matrix of the test pictures; None if the report lacks it."""
    entry, classes = run.report["test"]["confusion_matrix"], run.shown.classes
    if not entry:
        return None
    rows = entry.row(len(classes))
    return Confusion(classes, tuple(tuple(cell.count() for cell in row.row(len(classes))) for row in rows))


def html(data: Confusion) -> Markup:
    """A table with numbers, or a heatmap."""
    if not is_many(data.classes):
        return filled("sections/confusion", data)
    return filled("sections/confusion_heatmap", data, charts=[charts.heatmap(data.matrix, data.classes)])
