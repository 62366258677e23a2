"""What is wrong with the data, or may be: the findings of the run, with their pictures."""

from dataclasses import dataclass

from markupsafe import Markup

from kt.findings import Finding
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
    if "findings" not in run.report:
        return None
    addresses = {picture.name: picture.address for picture in run.shown.found}
    others = {kind: more.count() for kind, more in run.report["findings_more"].items()}
    found = [_finding(entry) for entry in run.report["findings"]]
    kinds = shown_kinds(found, lambda name: addresses.get(name, ""), most=IN_A_RUN, others=others)
    return Findings(kinds, run.nouns.many)


def _finding(entry: Entry) -> Finding:
    try:
        return Finding.from_json(entry.value)
    except (KeyError, TypeError, ValueError):
        raise entry.damaged("a finding of kt check") from None


def html(data: Findings) -> Markup:
    """A table of the kinds, and a card for each finding."""
    return filled("sections/findings", data)
