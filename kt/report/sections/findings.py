"""What is wrong with the data, or may be: the findings of the run, with their pictures."""

from dataclasses import dataclass

from markupsafe import Markup

from kt.findings import ACTIONS, KINDS, SEVERITIES, Finding, Fix
from kt.report.entry import Entry
from kt.report.findings import IN_A_RUN, ShownKind, shown_kinds
from kt.report.reported import ReportedRun
from kt.report.templates import filled


@dataclass(frozen=True)
class Findings:
    """The findings by kind, the worst first; there may be none. names: of the pictures, for those who look for one."""

    kinds: tuple[ShownKind, ...]
    many: str


def gather(run: ReportedRun) -> Findings | None:
    """The findings; None if an earlier kt, which looked for none, made the run."""
    if run.report["findings"].value is None:
        return None
    addresses = {picture.name: picture.address for picture in run.shown.found}
    others = {kind: more.count() for kind, more in run.report["findings_more"].items()}
    found = [finding for entry in run.report["findings"] if (finding := _known(entry))]
    kinds = shown_kinds(found, lambda name: addresses.get(name, ""), most=IN_A_RUN, others=others)
    return Findings(kinds, run.nouns.many)


def _known(entry: Entry) -> Finding | None:
    """A finding as the report has it; None for one that only another version of kt knows."""
    kind, severity = entry["kind"].name(), entry["severity"].name()
    fixes = [
        (fix["path"].name(), fix["action"].name(), fix["value"].text(), fix["why"].text()) for fix in entry["fixes"]
    ]
    items, beside, words, advice = (entry["items"].texts(), entry["beside"].texts(), entry["words"].text(),
                                    entry["advice"].text())  # fmt: skip
    score = entry["score"].share_or_none()
    figures = {name: number.number() for name, number in entry["figures"].items()}
    if kind not in KINDS or severity not in SEVERITIES or any(action not in ACTIONS for _, action, *_ in fixes):
        return None
    return Finding(kind, severity, items, words, advice, tuple(Fix(*fix) for fix in fixes), score, figures, beside)


def html(data: Findings) -> Markup:
    """A table of the kinds, and a card for each finding."""
    return filled("sections/findings", data)
