"""The page of two runs side by side, and the lines that say the same on the terminal."""

from collections.abc import Mapping
from typing import Any

from kt import kinds
from kt.base import numbers
from kt.base.metrics import HEADLINES
from kt.kinds.kind import Nouns
from kt.report import charts
from kt.report.comparison import p_value
from kt.report.layout import is_many
from kt.report.templates import environment

_MOST_DRAWN = 40
"""With more classes the chart of recalls is left out; the table has them."""


def side_by_side_page(results: Mapping[str, Any]) -> str:
    """The page as text. results: of `kt.strategy.side_by_side.side_by_side`."""
    paired = results["paired"]
    classes = paired["classes"] if paired else []
    drawn = sorted(classes, key=lambda row: row["difference"]) if len(classes) <= _MOST_DRAWN else []
    return (
        environment()
        .get_template("side_by_side.html.jinja")
        .render(
            results=results,
            runs=dict(zip("AB", results["runs"], strict=True)),
            title=" and ".join(dict.fromkeys(run["recipe"] for run in results["runs"])),
            nouns=_nouns(results),
            sentences=sentences(results),
            words={key: headline.words for key, headline in HEADLINES.items()},
            recalls=charts.recalls_chart(drawn),
            many=is_many(classes),
            p_value=p_value,
            setting=_setting,
        )
    )


def sentences(results: Mapping[str, Any]) -> list[str]:
    """What the comparison says, for a person; the first is the headline."""
    paired, common, many = results["paired"], results["common"], _nouns(results).many
    if not paired:
        return [f"No difference is given: the tests are not of the same {many}.", common["why"]]
    row = next(row for row in paired["differences"] if row["name"] == "balanced_accuracy")
    low, high = row["interval"]
    evidence = (
        f"balanced accuracy of B minus that of A {numbers.change(row['difference'])} "
        f"(95% interval {numbers.change(low)} to {numbers.change(high)}; p {p_value(row['p_value'])})"
    )
    head = {"second": "B is better", "first": "A is better", "none": f"No difference that these {many} show"}
    of = f" of {paired['groups']} things" if paired["groups"] != paired["images"] else ""
    lines = [f"{head[row['better']]}: {evidence}.", f"Measured on the {paired['images']} test {many}{of} of both runs."]
    if common["basis"] == "names":
        lines.append("They were recognised by their names; their content was not compared.")
    if common["relabelled"]:
        lines.append(f"{common['relabelled']} more are of another class in each run, and left out.")
    if paired["caution"]:
        lines.append(paired["caution"])
    lines.append(
        f"{paired['only_first_right']} {many} were right in A alone, {paired['only_second_right']} in B alone, "
        f"{paired['both_wrong']} in neither."
    )
    lines.append(f"Who chooses a run by this test has used it up: measure the choice on {many} of a new one.")
    return lines


def _nouns(results: Mapping[str, Any]) -> Nouns:
    """What the examples are called."""
    return kinds.nouns(results["runs"][0]["kind"])


def _setting(value: Any) -> str:
    """A setting for a cell."""
    return numbers.NOTHING if value is None else numbers.number(value) if numbers.known(value) else str(value)
