"""The closing lines of a run in the terminal: how good, what was released, what to type next."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kt.console import shown
from kt.names import printable
from kt.report.numbers import change, count, duration, figure, interval, known, percent, size
from kt.report.worth import last_phase

HEADLINES = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "roc_auc": "ROC-AUC",
    "log_loss": "log loss",
    "calibration_error": "calibration error",
}


def summary(results: Mapping[str, Any], page: Path | None = None) -> str:
    """What a person should know when a run ends, as a few lines of plain text.

    results: as for `write`. page: the report's path, which becomes the last line.
    """
    lines = [*_figures(results.get("test") or {}), *_cross_validated(results.get("cross_validation") or {})]
    lines += [_row("note", note) for note in results.get("notes") or []]
    lines += _last_phase(results)
    if (results.get("data") or {}).get("rendered"):
        lines.append(_row("note", "rendered pictures, not photos: these figures say nothing about real ones"))
    lines += [_artifact(artifact) for artifact in results.get("artifacts") or []]
    lines.append(_next(results))
    if page is not None:
        lines.append(_row("report", shown(page)))
    return "\n".join(lines)


def _row(name: str, text: str) -> str:
    return f"{name:<18} {printable(text)}"


def figures(test: Mapping[str, Any]) -> str:
    """The headlines of an evaluation as a few lines of plain text, each with its interval."""
    return "\n".join(_figures(test))


def _figures(test: Mapping[str, Any]) -> list[str]:
    """Each headline with its interval, and what they were measured on."""
    intervals = test.get("intervals") or {}
    lines = []
    for key, name in HEADLINES.items():
        if known(test.get(key)):
            spread = f"  ({interval(intervals[key])})" if intervals.get(key) else ""
            lines.append(_row(name, f"{figure(test[key])}{spread}"))
    if lines:
        lines.append(_row("measured on", measured_on(test)))
    return lines


def _cross_validated(found: Mapping[str, Any]) -> list[str]:
    """What a probe reached where validation is small: balanced accuracy with its interval."""
    if not known(found.get("balanced_accuracy")):
        return []
    low_to_high = interval((found.get("intervals") or {}).get("balanced_accuracy"))
    return [
        _row("cross-validated", f"{figure(found['balanced_accuracy'])}  ({low_to_high})  {cross_validated_on(found)}")
    ]


def cross_validated_on(found: Mapping[str, Any]) -> str:
    """What the cross-validated figure is of, `balanced accuracy of a linear probe on 120 pictures of train and ...`."""
    pictures = count(found.get("images"))
    return f"balanced accuracy of a linear probe on {pictures} pictures of train and validation"


def measured_on(test: Mapping[str, Any]) -> str:
    """What the figures and their intervals rest on, `800 test pictures of 8 things, 95% bootstrap intervals`."""
    images, groups = test.get("images"), test.get("groups")
    of = f" of {count(groups)} thing{'s' if groups != 1 else ''}" if known(groups) and groups != images else ""
    plural = "s" if images != 1 else ""
    level = test.get("confidence")
    return f"{count(images)} test picture{plural}{of}" + (f", {level:.0%} bootstrap intervals" if known(level) else "")


def _last_phase(results: Mapping[str, Any]) -> list[str]:
    """Whether the last phase was worth it, where its weights were kept; where not, a note says so."""
    phases, best = results.get("phases") or [], results.get("best") or {}
    found = last_phase(phases, best)
    if found is None or phases[-1]["name"] != best.get("phase"):
        return []
    _, headline, figures = found
    return [_row("training", f"{headline}. {figures.partition(' Best validation loss')[0]}")]


def _artifact(artifact: Mapping[str, Any]) -> str:
    """One artefact in a line: released with size and speed, or refused and why."""
    name = str(artifact.get("name") or artifact.get("format") or "artefact")
    if not artifact.get("released"):
        return _row("refused", f"{name}: {artifact.get('reason') or 'no reason given'}")
    facts = [size(artifact.get("bytes"))]
    if known(artifact.get("latency_ms")):
        facts.append(f"{artifact['latency_ms']:.1f} ms a picture")
    if known(artifact.get("agreement")):
        facts.append(f"same answer on {percent(artifact['agreement'])}")
    if known(artifact.get("accuracy_change")):
        moved = change(artifact["accuracy_change"])
        facts.append("accuracy unchanged" if moved[0].isdigit() else f"accuracy {moved}")
    if artifact.get("note"):
        facts.append(str(artifact["note"]))
    if (artifact.get("evidence") or {}).get("told"):
        facts.append(str(artifact["evidence"]["told"]))
    return _row("released", f"{name}: {', '.join(facts)}, {artifact.get('path') or ''}".rstrip(", "))


def _next(results: Mapping[str, Any]) -> str:
    """What to type now."""
    took = f" after {duration(results['seconds'])}" if known(results.get("seconds")) else ""
    released_to = results.get("released_to")
    if not released_to:
        why = "the report says why" if results.get("artifacts") else "the recipe exports nothing"
        return _row("released", f"nothing{took}; {why}")
    return _row("try it", f"kt predict {shlex.quote(shown(Path(str(released_to)).parent))} photo.jpg")
