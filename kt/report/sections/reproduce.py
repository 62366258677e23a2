"""How to repeat the run: the command, and what the result depends on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from kt.base.names import json_text
from kt.report.reported import ReportedRun
from kt.report.templates import filled


@dataclass(frozen=True)
class Reproduce:
    """What repeating the run needs.

    command: as it was typed. facts, machine: names and values. versions: of packages. recipe: resolved, as JSON.
    """

    command: str
    facts: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]
    machine: tuple[tuple[str, str], ...]
    recipe: str


def gather(run: ReportedRun) -> Reproduce:
    """The facts of the report about the run."""
    report = run.report
    resolved = report["recipe"]["resolved"]
    return Reproduce(
        command=report["command"].text(),
        facts=tuple(_facts(run)),
        versions=tuple((name, version.text()) for name, version in report["versions"].items()),
        machine=tuple((name.replace("_", " "), _in_words(fact.value)) for name, fact in report["machine"].items()),
        recipe=json_text(resolved.value, indent=2) if resolved else "",
    )


def _facts(run: ReportedRun) -> Iterator[tuple[str, str]]:
    report, weights = run.report, run.report["weights"]
    seed = report["seed"].number_or_none()
    yield "recipe file", report["recipe"]["file"].text()
    yield "seed", _in_words(seed)
    yield "backend", report["backend"].text()
    yield "data, SHA-256", report["data"]["digest"].text()
    yield "weights", weights["name"].text()
    yield "weights from", weights["origin"].text()
    yield "weights, SHA-256", weights["sha256"].text()
    yield "weights' licence", weights["licence"].text()
    yield "preprocessing", weights["preprocessing"].text()
    yield "note on weights", weights["note"].text()


def _in_words(fact: Any) -> str:
    return "" if fact is None else str(fact)


def html(data: Reproduce) -> Markup:
    """The command to copy, then a list of facts; empty ones are left out."""
    return filled("sections/reproduce", data)
