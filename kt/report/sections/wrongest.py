"""The test pictures that the model got most wrong."""

from dataclasses import dataclass

from markupsafe import Markup

from kt.kinds.kind import Nouns
from kt.report.reported import ReportedRun
from kt.report.sections import confusion
from kt.report.templates import filled


@dataclass(frozen=True)
class Mistaken:
    """A misclassified picture. score: of the predicted class. address: its `data:` address, or ""."""

    name: str
    label: str
    predicted: str
    score: float
    score_of_label: float
    address: str


@dataclass(frozen=True)
class Wrongest:
    """The worst mistakes. pictures: by the score of their true class, lowest first. wrong: the number of mistakes."""

    pictures: tuple[Mistaken, ...]
    wrong: int
    nouns: Nouns


def gather(run: ReportedRun) -> Wrongest | None:
    """The worst mistakes, of which there may be none; None if the report lacks them."""
    if not run.report["test"] or "wrongest" not in run.report:
        return None
    entries = tuple(run.report["wrongest"])
    addresses = run.shown.wrongest or ("",) * len(entries)
    if len(addresses) != len(entries):
        raise run.report["wrongest"].damaged(
            f"a list of {len(addresses)}, as many as shown.json has {run.nouns.many} of"
        )
    pictures = tuple(
        Mistaken(
            name=entry["name"].name(),
            label=entry["label"].name(),
            predicted=entry["predicted"].name(),
            score=entry["score"].number(),
            score_of_label=entry["score_of_label"].number(),
            address=address,
        )
        for entry, address in zip(entries, addresses, strict=True)
    )
    matrix = confusion.gather(run)
    return Wrongest(pictures, max(matrix.wrong if matrix else 0, len(pictures)), run.nouns)


def html(data: Wrongest) -> Markup:
    """Each picture with its true and its predicted class."""
    return filled("sections/wrongest", data)
