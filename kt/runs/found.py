"""What is wrong with a run's data: `findings.json`, and what the report shows of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kt.base.console import warn
from kt.base.run_folder import FINDINGS
from kt.checkup.apart import told_apart, unaccepted
from kt.checkup.features import Features
from kt.checkup.labels import label_errors
from kt.data.splits import Splits
from kt.errors import DataError
from kt.findings import KINDS, Finding, worst_first, write_findings
from kt.kinds.pictures.images import read_rgb
from kt.kinds.pictures.kind import Pictures
from kt.learnability import ProbedSample
from kt.report.findings import IN_A_RUN, for_report, shown_kinds


@dataclass(frozen=True)
class FoundInRun:
    """What a report has of the findings. told: entries of `report.json`. pictures: names and `data:` addresses."""

    told: Mapping[str, Any]
    pictures: tuple[tuple[str, str], ...]


def keep_findings(out: Path, splits: Splits, more: Sequence[Finding] = ()) -> FoundInRun:
    """Write `findings.json` of a run: what reading the data found, and what was found later."""
    findings = worst_first([*splits.findings, *more])
    write_findings(out / FINDINGS, findings)
    if summary := _summary(findings):
        warn(summary)
    places = {name: (part, row) for part in splits.parts().values() for row, name in enumerate(part.names)}
    shown: dict[str, str] = {}

    def show(name: str) -> str:
        if name not in shown:
            if name in places:
                part, row = places[name]
                shown[name] = splits.kind.shown(part.examples[row])
            else:
                shown[name] = _of_file(splits.aside.get(name))
        return shown[name]

    shown_kinds(findings, show, most=IN_A_RUN)
    return FoundInRun(for_report(findings), tuple((name, address) for name, address in shown.items() if address))


def _summary(findings: Sequence[Finding]) -> str:
    """One line on what is more than worth knowing; empty if nothing is."""
    named = [finding for finding in findings if finding.severity != "note"]
    if not named:
        return ""
    counts = Counter(finding.kind for finding in named)
    told = ", ".join(f"{KINDS[kind]} ({count:,})" for kind, count in counts.items())
    fixed = any(finding.fixes for finding in named)
    rest = ", and kt check DATA --fix fixes.csv proposes what to do" if fixed else ""
    return f"something may be wrong with the data: {told}; the report shows it{rest}"


def find_by_features(sample: ProbedSample | None, splits: Splits, *, seed: int) -> tuple[Finding, ...]:
    """What the frozen features of the examples that a run probes say of its data: likely wrong labels, and groups.

    Pictures that seem to show things several times under names that do not tell are warned of, with the figure that is
    left for things not seen. It was measured on pictures alone, so other kinds of examples are not judged by it.
    Nothing is said if nothing was probed.
    """
    if sample is None:
        return ()
    known = sample.known
    groups, classes = known.groups.tolist(), len(splits.classes)
    several = None
    if isinstance(splits.kind, Pictures):
        several = told_apart(
            known.features, known.labels, groups, sample.names, classes=classes, nouns=splits.kind, seed=seed
        )
    if warning := unaccepted(several):
        warn(warning)
    features = Features(known.features, sample.depths)
    errors = label_errors(features, known.labels, groups, sample.names, classes=splits.classes, seed=seed)
    return (*errors, *([several] if several else []))


def _of_file(file: Path | None) -> str:
    """The `data:` address of a picture in no split; empty if it can't be read."""
    if file is None:
        return ""
    try:
        pixels = read_rgb(file)
    except DataError:
        return ""
    return Pictures((pixels.shape[0], pixels.shape[1])).shown(pixels)
