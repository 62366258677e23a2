"""The most frequent mistakes: which class was predicted for which, how often, and a few of the pictures."""

from dataclasses import dataclass

from markupsafe import Markup

from kt.kinds.kind import Nouns
from kt.report.reported import ReportedRun
from kt.report.sections import confusion
from kt.report.shown import Thumbnail
from kt.report.templates import filled

_MOST = 10


@dataclass(frozen=True)
class Mistake:
    """A number of pictures of one class for which another was predicted. share: of the pictures of the true class.

    examples: a few of them, if their pictures were kept.
    """

    true: str
    said: str
    pictures: int
    share: float
    examples: tuple[Thumbnail, ...] = ()


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
    examples = _examples(run)
    mistakes = [
        Mistake(
            matrix.classes[i],
            matrix.classes[j],
            cell,
            cell / sum(row),
            examples.get((matrix.classes[i], matrix.classes[j]), ()),
        )
        for i, row in enumerate(matrix.matrix)
        for j, cell in enumerate(row)
        if i != j and cell
    ]
    commonest = sorted(mistakes, key=lambda mistake: -mistake.pictures)[:_MOST]
    return Mistakes(tuple(commonest), run.nouns) if commonest else None


def _examples(run: ReportedRun) -> dict[tuple[str, str], tuple[Thumbnail, ...]]:
    """A few pictures of each mistake, by the true and the predicted class."""
    confused = run.report["confused"]
    told = {}
    for entry, addresses in zip(confused, run.shown.confused, strict=False):
        names = entry["examples"].texts()
        if len(names) != len(addresses):
            raise entry["examples"].damaged(f"a list of {len(addresses)}, as many as shown.json has pictures of")
        pictures = tuple(Thumbnail(*each) for each in zip(names, addresses, strict=True) if each[1])
        told[entry["label"].name(), entry["predicted"].name()] = pictures
    return told


def html(data: Mistakes) -> Markup:
    """A row a mistake."""
    return filled("sections/mistakes", data)
