"""The most frequent mistakes of more than two classes: which class was predicted for which, and how often."""

from dataclasses import dataclass

from markupsafe import Markup

from kt.kinds.kind import Nouns
from kt.report.reported import ReportedRun
from kt.report.sections import confusion
from kt.report.templates import filled

_MOST = 10


@dataclass(frozen=True)
class Mistake:
    """A number of pictures of one class for which another was predicted. share: of the pictures of the true class."""

    true: str
    said: str
    pictures: int
    share: float


@dataclass(frozen=True)
class Mistakes:
    """Mistakes, the most frequent first."""

    mistakes: tuple[Mistake, ...]
    nouns: Nouns


def gather(run: ReportedRun) -> Mistakes | None:
    """At most 10 kinds of mistakes; None if there are none, or for two classes, since the matrix shows them."""
    matrix = confusion.gather(run)
    if matrix is None or len(matrix.classes) < 3:
        return None
    mistakes = [
        Mistake(matrix.classes[i], matrix.classes[j], cell, cell / sum(row))
        for i, row in enumerate(matrix.matrix)
        for j, cell in enumerate(row)
        if i != j and cell
    ]
    commonest = sorted(mistakes, key=lambda mistake: -mistake.pictures)[:_MOST]
    return Mistakes(tuple(commonest), run.nouns) if commonest else None


def html(data: Mistakes) -> Markup:
    """A row a mistake."""
    return filled("sections/mistakes", data)
