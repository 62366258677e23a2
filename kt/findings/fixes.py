"""Writes the fixes of findings as a CSV of decisions, which a person edits and a source applies (`kt.data.fixes`)."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from kt.base.files import replace_text
from kt.base.names import cell_of, text_of
from kt.findings.finding import Finding, Fix

COLUMNS = ("apply", "path", "action", "value", "kind", "why")
"""The columns of the file. apply: yes or no. value: a label or the name of a group. kind, why: for the person alone."""


def write_fixes(file: Path, findings: Iterable[Finding], *, accept: Iterable[str] = ()) -> Counter[str]:
    """Write the fixes of findings as a CSV, and return how many of them count and how many wait: "yes" and "no".

    Proposals (of findings that are not `certain`) wait for a person, unless their kind is in `accept`. A picture that
    is left out has no other line. Two findings that propose the same decision give one line.
    """
    accepted = set(accept)
    lines: dict[tuple[str, str, str], tuple[str, str, str]] = {}
    for finding in findings:
        apply = "yes" if finding.certain or finding.kind in accepted else "no"
        for fix in finding.fixes:
            before = lines.get((fix.path, fix.action, fix.value))
            if before is None or before[0] == "no":
                lines[fix.path, fix.action, fix.value] = (apply, finding.kind, fix.why)
    gone = {path for (path, action, _), (apply, _, _) in lines.items() if action == "leave_out" and apply == "yes"}
    kept = {key: value for key, value in lines.items() if key[0] not in gone or key[1] == "leave_out"}
    rows = [_row(Fix(*key, why), kind, apply) for key, (apply, kind, why) in kept.items()]
    replace_text(file, _csv([COLUMNS, *rows]))
    return Counter(apply for apply, _, _ in kept.values())


def as_lines(finding: Finding) -> str:
    """The lines of a finding's fixes, accepted: what a person pastes into a file of decisions. Empty if it has none."""
    return _csv([_row(fix, finding.kind, "yes") for fix in finding.fixes])


def _row(fix: Fix, kind: str, apply: str) -> tuple[str, ...]:
    value = cell_of(fix.value) if fix.value else ""
    return (apply, text_of(PurePosixPath(fix.path)), fix.action, value, kind, fix.why)


def _csv(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
