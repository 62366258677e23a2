"""The page of a comparison, one HTML file that needs nothing else, and the sentences it shares with the terminal."""

from collections.abc import Mapping
from typing import Any

from kt.report import charts, numbers
from kt.report.page import environment

BASELINE = "scratch"
_HEADS = {
    "positive": "Positive transfer",
    "no evidence": "No evidence",
    "none": "No gain that these test pictures show",
    "negative": "Negative transfer",
}


def render(results: Mapping[str, Any]) -> str:
    """The page as text; results: what `compare.json` holds."""
    pages = environment()
    pages.filters["points"] = points
    titles = {row["name"]: row["title"] for row in results["strategies"]}
    return pages.get_template("comparison.html.jinja").render(
        results=results,
        data=results["data"],
        gain=results["transfer_gain"],
        titles=titles,
        sentences=sentences(results),
        strategies=charts.strategies(results["strategies"], baseline=BASELINE),
        curves=charts.learning_curves(results["curves"], titles, baseline=BASELINE),
        equal=len({_epochs(row) for row in results["strategies"]} - {0}) < 2,
    )


def _epochs(row: Mapping[str, Any]) -> int:
    """The epochs of a strategy in total; 0 for one that is solved and not trained."""
    return sum(phase.get("epochs") or 0 for phase in row["phases"])


def points(difference: Any) -> str:
    """A difference of balanced accuracies in points, `+3.1`, in typography's minus; `0.0` has no sign."""
    if not numbers.known(difference):
        return numbers.NOTHING
    text = f"{abs(100 * difference):.1f}"
    return text if float(text) == 0 else ("+" if difference > 0 else "\u2212") + text


def sentences(results: Mapping[str, Any]) -> list[str]:
    """The verdict for a person: its headline, then what it rests on; one sentence where there is none."""
    gain = results["transfer_gain"]
    if gain is None:
        return ["No verdict: that takes scratch and one other strategy, each trained with every seed."]
    titles = {row["name"]: row["title"] for row in results["strategies"]}
    title, (low, high) = titles[gain["strategy"]], gain["interval"]
    head = _HEADS[gain["verdict"]]
    if gain["verdict"] == "no evidence":
        head += f": scratch had only {gain['scratch_steps']} steps, too few to learn in. Measured all the same"
    found = [
        f"{head}: {title} against scratch {points(gain['balanced_accuracy'])} points of balanced "
        f"accuracy (95% interval {points(low)} to {points(high)}; p {_p(gain['p_value'])}).",
        f"Chosen among the strategies on validation; measured on {_measured(results)}.",
    ]
    if gain["scratch_needs"]:
        found.append(_needs(gain["scratch_needs"], "Scratch", f"what {title} does with {gain['pictures']}"))
    if gain["strategy_needs"]:
        found.append(_needs(gain["strategy_needs"], title.capitalize(), f"what scratch does with {gain['pictures']}"))
    return found


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"


def _measured(results: Mapping[str, Any]) -> str:
    images, things = results["data"]["pictures"]["test"], results["data"]["things"]["test"]
    of = f" of {things} things" if things != images else ""
    return f"{images} test pictures{of}, {len(results['seeds'])} seeds"


def _needs(needs: Mapping[str, Any], learner: str, goal: str) -> str:
    """`Scratch needs about 620 pictures (480 to more than 900) to do what ... does with 300.`"""
    low, high = needs["interval"]
    text = f"{learner} needs {needs['relation']} {needs['pictures']} pictures"
    if needs["relation"] == "about":
        # An end that is not known lies outside of the measured: below the smallest number, or above all of them.
        text += f" ({low or 'fewer than measured'} to {high or 'more than measured'})"
    text += f" to do {goal}"
    if needs["carried_on"]:
        text += f"; if its curve goes on as a power law, about {needs['carried_on']}"
    return f"{text}."
