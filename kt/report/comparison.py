"""The page of a comparison, a self-contained HTML file, and the sentences that it shares with the terminal."""

from collections.abc import Mapping
from typing import Any

from kt import kinds
from kt.base import numbers
from kt.kinds.kind import Nouns
from kt.report import charts
from kt.report.templates import environment

BASELINE = "scratch"
_HEADS = {
    "positive": "Positive transfer",
    "no evidence": "No evidence",
    "none": "No gain that these test {many} show",
    "negative": "Negative transfer",
}


def comparison_page(results: Mapping[str, Any]) -> str:
    """The page as text. results: the content of `compare.json`."""
    titles = {row["name"]: row["title"] for row in results["strategies"]}
    nouns = _nouns(results)
    return (
        environment()
        .get_template("comparison.html.jinja")
        .render(
            results=results,
            nouns=nouns,
            points=points,
            data=results["data"],
            gain=results["transfer_gain"],
            titles=titles,
            sentences=sentences(results),
            strategies=charts.strategies_chart(results["strategies"], baseline=BASELINE),
            curves=charts.learning_curves(results["curves"], titles, nouns, baseline=BASELINE),
            equal=len({_epochs(row) for row in results["strategies"]} - {0}) < 2,
        )
    )


def _nouns(results: Mapping[str, Any]) -> Nouns:
    """What the examples are called."""
    return kinds.nouns(results["data"].get("kind"))


def _epochs(row: Mapping[str, Any]) -> int:
    """The epochs of a strategy in total; 0 for a linear probe, which is solved and not trained."""
    return sum(phase.get("epochs") or 0 for phase in row["phases"])


def points(difference: Any) -> str:
    """A difference of balanced accuracies in points, `+3.1`, with a typographic minus; `0.0` has no sign."""
    if not numbers.known(difference):
        return numbers.NOTHING
    text = f"{abs(100 * difference):.1f}"
    return text if float(text) == 0 else ("+" if difference > 0 else "\u2212") + text


def sentences(results: Mapping[str, Any]) -> list[str]:
    """The verdict for a person: its headline, then the evidence; one sentence if there is no verdict."""
    gain = results["transfer_gain"]
    if gain is None:
        return ["No verdict: that takes scratch and one other strategy, each trained with every seed."]
    titles = {row["name"]: row["title"] for row in results["strategies"]}
    title, (low, high) = titles[gain["strategy"]], gain["interval"]
    nouns = _nouns(results)
    head = _HEADS[gain["verdict"]].format(many=nouns.many)
    if gain["verdict"] == "no evidence":
        head += f": scratch had only {gain['scratch_steps']} steps, too few to learn in. Measured all the same"
    lines = [
        f"{head}: {title} against scratch {points(gain['balanced_accuracy'])} points of balanced "
        f"accuracy (95% interval {points(low)} to {points(high)}; p {p_value(gain['p_value'])}).",
        f"Chosen among the strategies on validation; measured on {_measured(results)}.",
    ]
    if gain["scratch_needs"]:
        goal = f"what {title} does with {gain['pictures']}"
        lines.append(_needs(gain["scratch_needs"], "Scratch", goal, nouns))
    if gain["strategy_needs"]:
        goal = f"what scratch does with {gain['pictures']}"
        lines.append(_needs(gain["strategy_needs"], title.capitalize(), goal, nouns))
    return lines


def p_value(value: float) -> str:
    """A p value with its relation, `= 0.012`."""
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _measured(results: Mapping[str, Any]) -> str:
    images, things = results["data"]["pictures"]["test"], results["data"]["things"]["test"]
    of = f" of {things} things" if things != images else ""
    return f"{images} test {_nouns(results).many}{of}, {len(results['seeds'])} seeds"


def _needs(needs: Mapping[str, Any], learner: str, goal: str, nouns: Nouns) -> str:
    """`Scratch needs about 620 pictures (480 to more than 900) to do what ... does with 300.`"""
    low, high = needs["interval"]
    text = f"{learner} needs {needs['relation']} {needs['pictures']} {nouns.many}"
    if needs["relation"] == "about":
        # An unknown end lies outside the measured range: below the smallest number, or above the largest.
        text += f" ({low or 'fewer than measured'} to {high or 'more than measured'})"
    text += f" to do {goal}"
    if needs["carried_on"]:
        text += f"; if its curve goes on as a power law, about {needs['carried_on']}"
    return f"{text}."
