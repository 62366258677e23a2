"""Where the model fails: slices of the test pictures, such as dark ones, that are answered worse than the others."""

from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from kt.base.numbers import figure
from kt.kinds.kind import Nouns
from kt.report.entry import Entry, Interval
from kt.report.reported import ReportedRun
from kt.report.templates import filled

_MOST = 5


@dataclass(frozen=True)
class ReportedSlice:
    """A slice. words: what it holds, after the noun. elsewhere, p: None if unknown. differs: beyond chance."""

    words: str
    pictures: int
    groups: int
    accuracy: float
    interval: Interval
    elsewhere: float | None
    p: float | None
    differs: bool


@dataclass(frozen=True)
class ReportedProperty:
    """The slices of a property. trend: the correlation with right answers. differs: whether it is beyond chance."""

    name: str
    trend: float | None
    p: float | None
    differs: bool
    slices: tuple[ReportedSlice, ...]


@dataclass(frozen=True)
class ReportedGroup:
    """A group of pictures that is answered badly. labels: its classes."""

    name: str
    labels: tuple[str, ...]
    pictures: int
    accuracy: float
    interval: Interval


@dataclass(frozen=True)
class SlicesSection:
    """All slices. sentences: what they show, in words, the most important first. untold: why no p is known, or ""."""

    sentences: tuple[str, ...]
    properties: tuple[ReportedProperty, ...]
    groups: tuple[ReportedGroup, ...]
    grouped: bool
    tests: int
    untold: str
    nouns: Nouns


def gather(run: ReportedRun) -> SlicesSection | None:
    """The slices; None if there are none, and no groups either."""
    entry = run.report["slices"]
    if not entry:
        return None
    alarm = entry["alarm"].share()
    properties = tuple(_property(each, alarm) for each in entry["properties"])
    groups = tuple(_group(each) for each in entry["groups"])
    if not properties and not groups:
        return None
    untold = entry["untold"].text()
    return SlicesSection(
        sentences=tuple(_sentences(properties, untold, run.nouns)),
        properties=properties,
        groups=groups,
        grouped=any(each.groups < each.pictures for prop in properties for each in prop.slices),
        tests=entry["tests"].count(),
        untold=untold,
        nouns=run.nouns,
    )


def _property(entry: Entry, alarm: float) -> ReportedProperty:
    p = entry["p"].share_or_none()
    return ReportedProperty(
        name=entry["name"].name(),
        trend=entry["trend"].number_or_none(),
        p=p,
        differs=p is not None and p <= alarm,
        slices=tuple(_slice(each, alarm) for each in entry["slices"]),
    )


def _slice(entry: Entry, alarm: float) -> ReportedSlice:
    p = entry["p"].share_or_none()
    return ReportedSlice(
        words=entry["words"].name(),
        pictures=entry["examples"].count(),
        groups=entry["groups"].count(),
        accuracy=entry["accuracy"].share(),
        interval=entry["interval"].interval(),
        elsewhere=entry["elsewhere"].share_or_none(),
        p=p,
        differs=p is not None and p <= alarm,
    )


def _group(entry: Entry) -> ReportedGroup:
    return ReportedGroup(
        name=entry["name"].name(),
        labels=entry["labels"].texts(),
        pictures=entry["examples"].count(),
        accuracy=entry["accuracy"].share(),
        interval=entry["interval"].interval(),
    )


def _sentences(properties: tuple[ReportedProperty, ...], untold: str, nouns: Nouns) -> Iterator[str]:
    if untold:
        yield f"Whether a slice differs beyond chance can't be told: {untold}."
        return
    found = [(each, prop) for prop in properties if (each := _worst(prop)) is not None]
    found.sort(key=lambda pair: _gap(pair[0]))
    for each, _ in found[:_MOST]:
        how = "worse" if _gap(each) < 0 else "better"
        yield (
            f"{nouns.many.capitalize()} {each.words} are answered {how}: {figure(each.accuracy, 2)} against "
            f"{figure(each.elsewhere, 2)} of other {nouns.many} of the same classes."
        )
    for prop in properties:
        if prop.differs and prop not in [other for _, other in found]:
            yield f"The more {prop.name}, the {'better' if (prop.trend or 0) > 0 else 'worse'} the answers."
    if not found and not any(prop.differs for prop in properties):
        yield "No slice differs beyond chance."


def _worst(prop: ReportedProperty) -> ReportedSlice | None:
    """The slice of a property that is surest answered worse than others, or else better; None if none differs."""
    different = [each for each in prop.slices if each.differs and each.elsewhere is not None]
    return min(different, key=lambda each: (_gap(each) > 0, each.p, -abs(_gap(each)))) if different else None


def _gap(each: ReportedSlice) -> float:
    return each.accuracy - each.elsewhere if each.elsewhere is not None else 0.0


def html(data: SlicesSection) -> Markup:
    """Sentences, then a table of slices and one of groups."""
    return filled("sections/slices", data)
