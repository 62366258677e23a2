"""Findings as a page shows them: by kind, the worst first, with small pictures of those at the front."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kt.findings import KINDS, Finding, as_lines, worst_first

CARDS = 24
"""The most findings of a kind that have a card; the others are counted."""

_TOGETHER = 6
"""The most pictures on one card; the others are counted."""

PICTURES = 600
"""The most pictures on the page of `kt check`, of about 4 kB each; later cards have names alone."""

IN_A_RUN = 150
"""The same for the page of a run, which shows other pictures too."""

Shower = Callable[[str], str]
"""From a picture's name to its `data:` address; empty if it can't be shown."""


@dataclass(frozen=True)
class ShownPicture:
    """A picture on a card. address: its `data:` address, or ""."""

    name: str
    address: str


@dataclass(frozen=True)
class ShownFinding:
    """A card. more: pictures that are not on it. fix: lines for a file of decisions, or "". first: what it is about."""

    words: str
    advice: str
    pictures: tuple[ShownPicture, ...]
    more: int
    beside: tuple[ShownPicture, ...]
    fix: str
    first: str


@dataclass(frozen=True)
class ShownKind:
    """All findings of a kind. findings: those with a card. more: the others. fixes: of all, as `lines` lines."""

    kind: str
    title: str
    severity: str
    advice: str
    count: int
    pictures: int
    findings: tuple[ShownFinding, ...]
    more: int
    fixes: str
    lines: int


def shown_kinds(
    findings: Iterable[Finding], show: Shower, *, most: int = PICTURES, others: Mapping[str, int] | None = None
) -> tuple[ShownKind, ...]:
    """The findings by kind, the worst kind first. most: the most pictures to show.

    others: for each kind how many more findings there are that are not given.
    """
    ordered, others = worst_first(findings), others or {}
    room = [most]

    def picture(name: str) -> ShownPicture:
        if room[0] <= 0 or name.endswith("/"):
            return ShownPicture(name, "")
        address = show(name)
        room[0] -= bool(address)
        return ShownPicture(name, address)

    return tuple(
        _kind(kind, [finding for finding in ordered if finding.kind == kind], picture, others=others.get(kind, 0))
        for kind in dict.fromkeys(finding.kind for finding in ordered)
    )


def _kind(kind: str, findings: Sequence[Finding], picture: Callable[[str], ShownPicture], *, others: int) -> ShownKind:
    fixes = "" if others else "".join(map(as_lines, findings))
    return ShownKind(
        kind=kind,
        title=KINDS[kind],
        severity=findings[0].severity,
        advice=findings[0].advice,
        count=sum(not finding.sums_up for finding in findings) + others,
        pictures=len({item for finding in findings for item in finding.items}),
        findings=tuple(
            ShownFinding(
                finding.words,
                finding.advice,
                tuple(map(picture, finding.items[:_TOGETHER])),
                max(0, len(finding.items) - _TOGETHER),
                tuple(map(picture, finding.beside[:_TOGETHER])),
                as_lines(finding),
                finding.items[0] if finding.items else KINDS[kind],
            )
            for finding in findings[:CARDS]
        ),
        more=others + max(0, len(findings) - CARDS),
        fixes=fixes,
        lines=sum(len(finding.fixes) for finding in findings),
    )


def for_report(findings: Iterable[Finding]) -> dict[str, Any]:
    """The entries of `report.json`: of each kind at most `CARDS` findings, and how many more there are of it."""
    ordered = worst_first(findings)
    first: list[Finding] = []
    met: Counter[str] = Counter()
    for finding in ordered:
        met[finding.kind] += 1
        if met[finding.kind] <= CARDS:
            first.append(finding)
    return {
        "findings": [finding.to_json() for finding in first],
        "findings_more": {kind: count - CARDS for kind, count in met.items() if count > CARDS},
    }
