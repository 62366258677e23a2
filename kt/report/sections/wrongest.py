"""The test pictures that the model got most wrong, each with the training pictures nearest to it."""

from dataclasses import dataclass

from markupsafe import Markup

from kt.kinds.kind import Nouns
from kt.report.entry import Entry
from kt.report.reported import ReportedRun
from kt.report.sections import confusion
from kt.report.templates import filled

ALONE = 0.95
"""An error is told to be unlike anything in training if at least this share of training pictures has a nearer one."""


@dataclass(frozen=True)
class NearPicture:
    """A training picture that is near to an error. address: its `data:` address, or ""."""

    name: str
    label: str
    similarity: float
    address: str


@dataclass(frozen=True)
class Mistaken:
    """A misclassified picture. score: of the predicted class. address: its `data:` address, or "".

    nearest: the training pictures nearest to it. seems: what these suggest, or "".
    """

    name: str
    label: str
    predicted: str
    score: float
    score_of_label: float
    address: str
    nearest: tuple[NearPicture, ...]
    seems: str


@dataclass(frozen=True)
class Wrongest:
    """The worst mistakes. pictures: by the score of their true class, lowest first. wrong: the number of mistakes.

    searched: among how many training pictures the nearest were looked for; None if they were not. space: whose features
    these are, in words.
    """

    pictures: tuple[Mistaken, ...]
    wrong: int
    searched: int | None
    space: str
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
    near_addresses = run.shown.nearest or ((),) * len(entries)
    if len(near_addresses) != len(entries):
        raise run.report["wrongest"].damaged(
            f"a list of {len(near_addresses)}, as many as shown.json has neighbours of"
        )
    pictures = tuple(
        Mistaken(
            name=entry["name"].name(),
            label=entry["label"].name(),
            predicted=entry["predicted"].name(),
            score=entry["score"].number(),
            score_of_label=entry["score_of_label"].number(),
            address=address,
            nearest=(near := _nearest(entry["nearest"], shown)),
            seems=_seems(entry, near, run.nouns),
        )
        for entry, address, shown in zip(entries, addresses, near_addresses, strict=True)
    )
    matrix, nearest = confusion.gather(run), run.report["nearest"]
    return Wrongest(
        pictures,
        max(matrix.wrong if matrix else 0, len(pictures)),
        searched=nearest["searched"].count_or_none(),
        space="the trained model's features" if nearest["space"].text() == "trained" else "the pretrained features",
        nouns=run.nouns,
    )


def _nearest(entry: Entry, addresses: tuple[str, ...]) -> tuple[NearPicture, ...]:
    entries = tuple(entry)
    addresses = addresses or ("",) * len(entries)
    if len(addresses) != len(entries):
        raise entry.damaged(f"a list of {len(addresses)}, as many as shown.json has pictures of")
    return tuple(
        NearPicture(each["name"].name(), each["label"].name(), each["similarity"].number(), address)
        for each, address in zip(entries, addresses, strict=True)
    )


def _seems(entry: Entry, nearest: tuple[NearPicture, ...], nouns: Nouns) -> str:
    """What the nearest training pictures suggest: that the label is wrong, or that training lacks such pictures."""
    if not nearest:
        return ""
    if (entry["nearer"].share_or_none() or 0) >= ALONE:
        return f"Training has no {nouns.one} like it."
    labels = {near.label for near in nearest}
    if labels == {entry["predicted"].name()}:
        return f"It looks like {entry['predicted'].name()} in training. Is its label right?"
    if labels == {entry["label"].name()}:
        return "Training has such, and the model is wrong all the same."
    return ""


def html(data: Wrongest) -> Markup:
    """Each picture with its true and its predicted class."""
    return filled("sections/wrongest", data)
