"""What to do next: at most a few steps that follow from the run's own figures, the most useful first."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from kt.base.console import shown
from kt.base.numbers import count, percent
from kt.kinds.kind import Nouns
from kt.report.reported import ReportedRun
from kt.report.sections import confusion, findings
from kt.report.templates import filled

_BELOW = 0.9
"""A class whose recall is below this is worth a look, if the model's mistakes are what holds it back."""


@dataclass(frozen=True)
class NextStep:
    """What to do, in a sentence, and the command that does it, or ""."""

    words: str
    command: str = ""


@dataclass(frozen=True)
class NextSteps:
    """The steps in order."""

    steps: tuple[NextStep, ...]


def gather(run: ReportedRun) -> NextSteps | None:
    """The steps; None if the run has no test figures, since then there is nothing to go by."""
    return NextSteps(tuple(_steps(run))) if run.report["test"] else None


def _steps(run: ReportedRun) -> Iterator[NextStep]:
    report, nouns = run.report, run.nouns
    released_to = report["released_to"].text()
    model = shlex.quote(shown(Path(released_to).parent)) if released_to else ""
    if report["warnings"] or report["few_pictures"]:
        yield NextStep("Deal with the warnings above first: they say why the figures may not hold.")
    if wrong := _errors_of_data(run):
        yield wrong
    if model:
        yield NextStep(
            f"Try it on {nouns.many} of your own that it has never seen:", f"kt predict {model} {nouns.file}"
        )
    elif report["artifacts"]:
        yield NextStep(
            "Nothing was released; the artefacts below say why. Once that is mended, this exports the run again:",
            f"kt export {_run(run)}",
        )
    if weak := _weakest(run, nouns):
        yield NextStep(weak)
    if outlook := report["outlook"].text():
        yield NextStep(f"{outlook[0].upper()}{outlook[1:]}.".replace("..", "."))
    if model:
        yield NextStep(f"When new {nouns.many} come, ask whether they are still like those of this test:",
                   f"kt drift {model} NEW_{nouns.many.upper()}")  # fmt: skip


def _errors_of_data(run: ReportedRun) -> NextStep | None:
    """What is surely wrong with the data, and the command that proposes decisions; None if nothing is."""
    known = findings.gather(run)
    errors = [kind for kind in known.kinds if kind.severity == "error"] if known else []
    if not errors:
        return None
    named = ", ".join(f"{kind.title} ({count(kind.count)})" for kind in errors)
    words = f"Look at what is wrong with the data, further below: {named}."
    places = [place.text() for name, place in run.report["recipe"]["places"].items() if name in ("root", "file")]
    if not places or not any(kind.lines for kind in errors):
        return NextStep(words)
    return NextStep(
        f"{words} This looks for more, and writes decisions that you can edit:",
        f"kt check {shlex.quote(shown(Path(places[0])))} --fix fixes.csv",
    )


def _run(run: ReportedRun) -> str:
    return f"runs/{shlex.quote(run.report['recipe']['name'].text() or 'RECIPE')}/LATEST"


def _weakest(run: ReportedRun, nouns: Nouns) -> str:
    """Where most is to be gained: the class that loses the most, and what it is taken for; "" if none loses much."""
    matrix = confusion.gather(run)
    if matrix is None:
        return ""
    rows = [(row[i] / sum(row), i) for i, row in enumerate(matrix.matrix) if sum(row)]
    if not rows or min(rows)[0] >= _BELOW:
        return ""
    share, i = min(rows)
    row = matrix.matrix[i]
    other = max((j for j in range(len(row)) if j != i), key=lambda j: row[j])
    return (
        f"Look at “{matrix.classes[i]}” first: of its {count(sum(row))} test {nouns.many} {percent(share)} were right, "
        f"and {count(row[other])} were taken for “{matrix.classes[other]}”. Are the labels of both right, and can a "
        f"person tell them apart in such {nouns.many}? If so, these are the {nouns.many} to collect more of."
    )


def html(data: NextSteps) -> Markup:
    """A numbered list."""
    return filled("sections/next_steps", data)
