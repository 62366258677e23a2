"""The closing lines of a run in the terminal: the figures, what was released, and the next command."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kt.base.console import shown
from kt.base.names import printable
from kt.base.numbers import change, duration, figure, interval, known, percent, size
from kt.base.run_folder import REPORT
from kt.kinds.kind import Nouns
from kt.report.entry import Entry
from kt.report.reported import ReportedRun
from kt.report.sections import artifacts, headlines, more_pictures, verdicts


def summary(results: Mapping[str, Any], page: Path | None = None) -> str:
    """The most important results of a run, as a few lines of plain text.

    results: as for `write`. page: the report's path, which becomes the last line.
    """
    run = _run_of(results)
    lines = [*_figures(run), *_cross_validated(run)]
    lines += [_row("note", note) for note in run.report["notes"].texts()]
    lines += _last_phase(run)
    if run.report["data"]["rendered"].flag():
        lines.append(_row("note", "rendered pictures, not photos: these figures say nothing about real ones"))
    exported = artifacts.gather(run)
    lines += [_artifact(artifact, run.nouns) for artifact in (exported.artifacts if exported else ())]
    lines.append(_next(run))
    if page is not None:
        lines.append(_row("report", shown(page)))
    return "\n".join(lines)


def figures(test: Mapping[str, Any], *, kind: str = "") -> str:
    """The headlines of an evaluation as a few lines of plain text, each with its interval.

    kind: the name of the kind of examples that it was measured on; pictures unless given.
    """
    return "\n".join(_figures(_run_of({"test": test, "data": {"kind": kind}})))


def _run_of(results: Mapping[str, Any]) -> ReportedRun:
    return ReportedRun(Entry(results, REPORT))


def _row(name: str, text: str) -> str:
    return f"{name:<18} {printable(text)}"


def _figures(run: ReportedRun) -> list[str]:
    """Each headline with its interval, and what they were measured on."""
    section = headlines.gather(run)
    if section is None:
        return []
    lines = []
    for each in section.figures:
        if each.value is not None:
            spread = f"  ({interval(each.interval)})" if each.interval else ""
            lines.append(_row(each.name, f"{figure(each.value)}{spread}"))
    return [*lines, _row("measured on", section.measured_on)] if lines else []


def _cross_validated(run: ReportedRun) -> list[str]:
    """The cross-validated balanced accuracy of a probe with its interval, if validation is small."""
    crossed = more_pictures.cross_validated_of(run)
    if crossed is None:
        return []
    reached = crossed.figure
    spread = interval(reached.interval)
    return [_row("cross-validated", f"{figure(reached.balanced_accuracy)}  ({spread})  {crossed.measured_on}")]


def _last_phase(run: ReportedRun) -> list[str]:
    """Whether the last phase was worth it, if its weights were kept; if not, a note says so already."""
    section = verdicts.gather(run)
    if section is None or section.last_phase is None or not section.last_phase.kept:
        return []
    return [_row("training", f"{section.last_phase.headline}. {section.last_phase.gain}")]


def _artifact(artifact: artifacts.ReportedArtifact, nouns: Nouns) -> str:
    """One artefact in a line: released with size and speed, or refused with the reason."""
    if not artifact.released:
        return _row("refused", f"{artifact.name}: {artifact.reason or 'no reason given'}")
    facts = [size(artifact.bytes)]
    if known(artifact.latency_ms):
        facts.append(f"{artifact.latency_ms:.1f} ms a {nouns.one}")
    if known(artifact.agreement):
        facts.append(f"same answer on {percent(artifact.agreement)}")
    if known(artifact.accuracy_change):
        moved = change(artifact.accuracy_change)
        facts.append("accuracy unchanged" if moved[0].isdigit() else f"accuracy {moved}")
    if artifact.note:
        facts.append(artifact.note)
    if artifact.evidence and artifact.evidence.told:
        facts.append(artifact.evidence.told)
    return _row("released", f"{artifact.name}: {', '.join(facts)}, {artifact.path}".rstrip(", "))


def _next(run: ReportedRun) -> str:
    """The next command, or why nothing was released."""
    report = run.report
    seconds, released_to = report["seconds"].number_or_none(), report["released_to"].text()
    took = f" after {duration(seconds)}" if seconds is not None else ""
    if not released_to:
        why = "the report says why" if report["artifacts"] else "the recipe exports nothing"
        return _row("released", f"nothing{took}; {why}")
    return _row("try it", f"kt predict {shlex.quote(shown(Path(released_to).parent))} {run.nouns.file}")
