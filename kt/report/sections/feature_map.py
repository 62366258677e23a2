"""The map of features before and after training, how far each block moved, and what a probe at each depth can tell."""

from dataclasses import dataclass, replace

from markupsafe import Markup

from kt.base.numbers import percent
from kt.kinds.kind import Nouns
from kt.report.entry import Entry, Interval
from kt.report.mapped import Look, Spot, features_map, look, sprite_of
from kt.report.reported import ReportedRun
from kt.report.shown import Sprite
from kt.report.templates import filled

_KEYBOARD = 30
_LINE = 18
_WHEN = {
    "before": "Before training: the pretrained features",
    "after": "After training: the features that the answers are made from",
    "frozen": "The backbone's features, which training did not change",
}


@dataclass(frozen=True)
class View:
    """A map. title: when, in words. alike: of each class, the share whose nearest training picture is of the class."""

    title: str
    features: int
    kept: float
    spots: tuple[Spot, ...]
    alike: tuple[float | None, ...]

    @property
    def mean(self) -> float | None:
        """The mean of `alike` over the classes with test pictures."""
        known = [share for share in self.alike if share is not None]
        return sum(known) / len(known) if known else None


@dataclass(frozen=True)
class ReportedBlock:
    """A block and how far its weights moved, as shares of their length. width: of its bar, from 0 to 1."""

    name: str
    kernels: float | None
    others: float | None
    width: float


@dataclass(frozen=True)
class ReportedProbe:
    """A probe at a depth."""

    depth: str
    features: int
    balanced_accuracy: float
    interval: Interval


@dataclass(frozen=True)
class FeatureMapSection:
    """All that features show. sentence: what became of the classes, in words. legend: each class with its look."""

    sentence: str
    views: tuple[View, ...]
    legend: tuple[tuple[str, Look], ...]
    classes: tuple[str, ...]
    sprite: Sprite | None
    test: int
    train: int
    blocks: tuple[ReportedBlock, ...]
    probes: tuple[ReportedProbe, ...]
    nouns: Nouns


def gather(run: ReportedRun) -> FeatureMapSection | None:
    """The maps, blocks and probes; None if there are none."""
    report, classes = run.report, run.shown.classes
    examples = tuple(report["map"]["examples"])
    spots = tuple(_spot(entry, number, run) for number, entry in enumerate(examples))
    views = tuple(_view(entry, spots, classes) for entry in report["map"]["views"])
    blocks, probes = _blocks(report["blocks"]), tuple(_probe(entry) for entry in report["depth_probes"])
    if not (views or blocks or probes):
        return None
    present = sorted({spot.label for spot in spots if spot.label is not None})
    return FeatureMapSection(
        sentence=_sentence(views, run.nouns),
        views=views,
        legend=tuple((classes[label], look(label)) for label in present),
        classes=classes,
        sprite=run.shown.map,
        test=sum(not spot.faint for spot in spots),
        train=sum(spot.faint for spot in spots),
        blocks=blocks,
        probes=probes,
        nouns=run.nouns,
    )


def _spot(entry: Entry, number: int, run: ReportedRun) -> Spot:
    """A spot without its place, which each view has its own of."""
    label, predicted, split = entry["label"].name(), entry["predicted"].text(), entry["split"].name()
    classes = run.shown.classes
    if label not in classes:
        raise entry["label"].damaged("a class")
    taken = f", taken for {predicted}" if predicted and predicted != label else ""
    words = f"{split}: {label}{taken}, {entry['name'].name()}"
    caption = [split, label, *([f"said {predicted}"] if taken else [])]
    return Spot(
        0, 0, classes.index(label), words, caption=tuple(map(_short, caption)),
        faint=split == "train", wrong=bool(taken), tile=number,
    )  # fmt: skip


def _short(line: str) -> str:
    return line if len(line) <= _LINE else f"{line[: _LINE - 1]}…"


def _view(entry: Entry, spots: tuple[Spot, ...], classes: tuple[str, ...]) -> View:
    when = entry["when"].name()
    placed = []
    for spot, place in zip(spots, entry["spots"].row(len(spots)), strict=True):
        x, y = (side.number() for side in place.row(2))
        if max(abs(x), abs(y)) > 1:
            raise place.damaged("two numbers from -1 to 1")
        placed.append(replace(spot, x=x, y=y))
    return View(
        title=_WHEN.get(when, when),
        features=entry["features"].count(),
        kept=entry["kept"].share(),
        spots=tuple(placed),
        alike=tuple(share.share_or_none() for share in entry["alike"].row(len(classes))),
    )


def _blocks(entry: Entry) -> tuple[ReportedBlock, ...]:
    rows = [(each["name"].name(), each["kernels"].number_or_none(), each["others"].number_or_none()) for each in entry]
    most = max((kernels or 0.0 for _, kernels, _ in rows), default=0.0)
    return tuple(ReportedBlock(*row, width=max(0.0, (row[1] or 0.0) / most) if most > 0 else 0.0) for row in rows)


def _probe(entry: Entry) -> ReportedProbe:
    return ReportedProbe(
        entry["depth"].name(),
        entry["features"].count(),
        entry["balanced_accuracy"].share(),
        entry["interval"].interval(),
    )


def _sentence(views: tuple[View, ...], nouns: Nouns) -> str:
    """How many test pictures lie next to their own class."""
    means = [view.mean for view in views]
    if not means or means[-1] is None:
        return ""
    told = f"{percent(means[-1])} of the test {nouns.many} on the map, as a mean over the classes, have a training "
    told += f"{nouns.one} of their own class as the nearest by all features"
    before = f"; before training it was {percent(means[0])}" if len(means) > 1 and means[0] is not None else ""
    return f"{told}{before}."


def html(data: FeatureMapSection) -> Markup:
    """The maps side by side, then the blocks and the probes."""
    charts = [
        features_map(
            view.spots,
            label=f"Map of features. {view.title}, {data.train} training and {data.test} test {data.nouns.many}",
            sprite=data.sprite,
            keyboard=_KEYBOARD if view is data.views[-1] else 0,
        )
        for view in data.views
    ]
    return filled("sections/feature_map", data, charts=[sprite_of(data.sprite) if data.sprite else Markup(), *charts])
