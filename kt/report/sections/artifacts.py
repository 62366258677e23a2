"""The exported artefacts, and whether each passed the gate."""

from dataclasses import dataclass

from markupsafe import Markup

from kt.kinds.kind import Nouns
from kt.report.entry import Entry, Interval
from kt.report.reported import ReportedRun
from kt.report.templates import filled


@dataclass(frozen=True)
class Evidence:
    """The counts that an artefact which may round was judged by; docs/report.md explains each."""

    pictures: int
    changed: int
    changed_interval: Interval
    unseen: int
    lost: int
    gained: int
    told: str


@dataclass(frozen=True)
class Attempt:
    """A way in which an artefact was made. pictures, changed: None if it could not be run."""

    way: str
    pictures: int | None
    changed: int | None
    reason: str
    seconds: float


@dataclass(frozen=True)
class ReportedArtifact:
    """An artefact. Figures that were not measured are None; texts may be ""."""

    name: str
    path: str
    released: bool
    reason: str
    note: str
    agreement: float | None
    largest_score_difference: float | None
    balanced_accuracy: float | None
    accuracy_change: float | None
    bytes: int | None
    latency_ms: float | None
    evidence: Evidence | None
    tries: tuple[Attempt, ...]


@dataclass(frozen=True)
class Artifacts:
    """All artefacts of the run, in the recipe's order. test_of: the domain of the test split; "" if there is one."""

    artifacts: tuple[ReportedArtifact, ...]
    nouns: Nouns
    test_of: str


def gather(run: ReportedRun) -> Artifacts | None:
    """The artefacts; None if the recipe exports none."""
    artifacts = tuple(_artifact(entry) for entry in run.report["artifacts"])
    domain = run.report["data"]["test_of"].text()
    return Artifacts(artifacts, run.nouns, domain) if artifacts else None


def _artifact(entry: Entry) -> ReportedArtifact:
    return ReportedArtifact(
        name=entry["name"].text() or entry["format"].text() or "artefact",
        path=entry["path"].text(),
        released=entry["released"].flag(),
        reason=entry["reason"].text(),
        note=entry["note"].text(),
        agreement=entry["agreement"].share_or_none(),
        largest_score_difference=entry["largest_score_difference"].number_or_none(),
        balanced_accuracy=entry["balanced_accuracy"].share_or_none(),
        accuracy_change=entry["accuracy_change"].number_or_none(),
        bytes=entry["bytes"].count_or_none(),
        latency_ms=entry["latency_ms"].number_or_none(),
        evidence=_evidence(entry["evidence"]) if entry["evidence"] else None,
        tries=tuple(_attempt(attempt) for attempt in entry["tries"]),
    )


def _evidence(entry: Entry) -> Evidence:
    return Evidence(
        pictures=entry["pictures"].count(),
        changed=entry["changed"].count(),
        changed_interval=entry["changed_interval"].interval(),
        unseen=entry["unseen"].count(),
        lost=entry["lost"].count(),
        gained=entry["gained"].count(),
        told=entry["told"].text(),
    )


def _attempt(entry: Entry) -> Attempt:
    return Attempt(
        way=entry["way"].name(),
        pictures=entry["pictures"].count_or_none(),
        changed=entry["changed"].count_or_none(),
        reason=entry["reason"].text(),
        seconds=entry["seconds"].number(),
    )


def html(data: Artifacts) -> Markup:
    """A table, and below it the path of each, why it was refused, and what it was judged by."""
    return filled("sections/artifacts", data)
