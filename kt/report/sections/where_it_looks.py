"""Where the model looks: maps of some test pictures, right and wrong, and whether the maps tell the truth."""

from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup

from kt.kinds.kind import Nouns
from kt.report.entry import Entry, Interval
from kt.report.reported import ReportedRun
from kt.report.templates import filled

Verdict = Literal["yes", "no", "unknown"]


_METHODS = {"grad_cam": "Grad-CAM", "layer_cam": "LayerCAM"}


@dataclass(frozen=True)
class ShownMap:
    """A picture of the gallery. address, with_map: its `data:` addresses. in_words: what the map shows."""

    name: str
    predicted: str
    score: float
    right: bool
    in_words: str
    address: str
    with_map: str


@dataclass(frozen=True)
class Faithful:
    """Deletion or insertion: by how much the area under its curve is better by the maps than at random."""

    gain: float
    interval: Interval | None
    pictures: int

    @property
    def verdict(self) -> Verdict:
        """Whether the maps are better than random ones."""
        if self.interval is None or self.interval[0] <= 0 <= self.interval[1]:
            return "unknown"
        return "yes" if self.interval[0] > 0 else "no"


@dataclass(frozen=True)
class WhereItLooks:
    """The section. why: why there are no maps, or "". classes: each with its pictures. depths: of the model's features,
    those with most of the evidence and their share of it, 0 to 1.
    """

    why: str
    method: str
    classes: tuple[tuple[str, tuple[ShownMap, ...]], ...]
    depths: tuple[tuple[str, float], ...]
    deletion: Faithful | None
    insertion: Faithful | None
    nouns: Nouns


def gather(run: ReportedRun) -> WhereItLooks | None:
    """The maps of the run; None if it has none, such as a run of an earlier kt or of rows."""
    told = run.report["explained"]
    if not told:
        return None
    entries = tuple(told["pictures"])
    looks = run.shown.looks or (("", ""),) * len(entries)
    if len(looks) != len(entries):
        raise told["pictures"].damaged(f"a list of {len(looks)}, as many as shown.json has maps of")
    classes: dict[str, list[ShownMap]] = {}
    for entry, (address, with_map) in zip(entries, looks, strict=True):
        label, predicted = entry["label"].name(), entry["predicted"].name()
        classes.setdefault(label, []).append(
            ShownMap(
                name=entry["name"].name(),
                predicted=predicted,
                score=entry["score"].share(),
                right=label == predicted,
                in_words=entry["in_words"].text(),
                address=address,
                with_map=with_map,
            )
        )
    depths = [(depth["features"].name(), depth["share"].share()) for depth in told["depths"]]
    faithful = told["faithful"]
    return WhereItLooks(
        why=told["why"].text(),
        method=_METHODS.get(told["method"].text(), told["method"].text()),
        classes=tuple((label, tuple(pictures)) for label, pictures in classes.items()),
        depths=tuple(sorted(depths, key=lambda depth: -depth[1])[:4]),
        deletion=_faithful(faithful["deletion"]) if faithful else None,
        insertion=_faithful(faithful["insertion"]) if faithful else None,
        nouns=run.nouns,
    )


def _faithful(entry: Entry) -> Faithful:
    return Faithful(entry["gain"].number(), entry["interval"].interval_or_none(), entry["pictures"].count())


def html(data: WhereItLooks) -> Markup:
    """A gallery by class, each picture beside its map."""
    return filled("sections/where_it_looks", data)
