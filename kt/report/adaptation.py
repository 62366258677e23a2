"""The page of `kt adapt`, a self-contained HTML file, and the sentences that it shares with the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from kt import kinds
from kt.base import numbers
from kt.kinds.kind import Nouns
from kt.report import charts
from kt.report.comparison import p_value, points
from kt.report.mapped import Spot, features_map, look
from kt.report.templates import environment

NONE = "none"


def adaptation_page(results: Mapping[str, Any]) -> str:
    """The page as text. results: the content of `adapt.json`."""
    rows = [{**row, "balanced_accuracy": row["target_balanced_accuracy"]} for row in results["methods"]]
    classes = results["data"]["classes"]
    return (
        environment()
        .get_template("adaptation.html.jinja")
        .render(
            results=results,
            nouns=_nouns(results),
            points=points,
            data=results["data"],
            titles=titles(results),
            sentences=sentences(results),
            methods=charts.strategies_chart(rows, baseline=NONE),
            maps=[_map(spots, classes, when=when) for when, spots in results["map"].items()],
            legend=[*((name, look(label)) for label, name in enumerate(classes)), ("target", look(None))],
            distance=distance,
        )
    )


def _map(spots: Mapping[str, Any], classes: Sequence[str], *, when: str) -> Markup:
    """Examples of two domains by their features' two widest directions.

    spots: `source` and `target`, places `[N, 2]`, and `labels` of the source's. when: "before" or "after" adaptation.
    """
    source, target = (np.asarray(spots[domain], float).reshape(-1, 2) for domain in ("source", "target"))
    both = np.concatenate([source, target])
    low, high = both.min(axis=0), both.max(axis=0)
    places = (both - (low + high) / 2) / max(float((high - low).max()) / 2, 1e-12)
    labels = [*spots["labels"], *[None] * len(target)]
    marks = [
        Spot(x, y, label, "target" if label is None else f"source: {classes[label]}")
        for (x, y), label in zip(places.tolist(), labels, strict=True)
    ]
    words = f"{len(source)} examples of the source and {len(target)} of the target, {when} adaptation"
    return features_map(marks, label=f"Map of features: {words}")


def titles(results: Mapping[str, Any]) -> dict[str, str]:
    """The methods' names for a person, by their names."""
    return {row["name"]: row["title"] for row in results["methods"]}


def distance(row: Mapping[str, Any]) -> str:
    """How far the domains are apart as a method sees them: `1.92 (1.80 to 2.00)`; a dash where it moves no features."""
    apart = row["distance"]
    if not apart or apart["proxy_a_distance"] is None:
        return numbers.NOTHING
    low, high = apart["interval"]
    return f"{apart['proxy_a_distance']:.2f} ({low:.2f} to {high:.2f})"


def sentences(results: Mapping[str, Any]) -> list[str]:
    """The choice and the verdict for a person; the first is the headline."""
    chosen = results["chosen"]
    if chosen is None:
        return ["No choice yet: that takes every method with every seed."]
    names = titles(results)
    by = _by(results)
    if results["verdict"] is None:
        head = (
            f"{_capital(names[chosen])} is chosen. Whether it helps is not known: the target has no labels"
            if chosen != NONE
            else "Not adapting is chosen. No method seems better by more than chance"
        )
        return [f"{head}.", by]
    return [_headline(results, names), *_evidence(results, names), by]


def _by(results: Mapping[str, Any]) -> str:
    """How the choice was made, without labels of the target."""
    many = _nouns(results).many
    if results["difference"] == "none":
        return f"The {many} of both domains look alike by all that can be told, so there is nothing to adapt to."
    if results["difference"] == "shares":
        return (
            f"The {many} of each class look alike in both domains; only the shares of the classes seem to differ. Most "
            "methods do harm then. kt predict --label-shift corrects scores for other shares."
        )
    return f"Chosen by the validator {results['validator']}, without labels of the target."


def _headline(results: Mapping[str, Any], names: Mapping[str, str]) -> str:
    chosen, verdict = results["chosen"], results["verdict"]
    if chosen == NONE:
        return {
            "negative": "Adapting hurts here, and not adapting is chosen.",
            "none": "Not adapting is chosen.",
        }[verdict]
    row = next(row for row in results["methods"] if row["name"] == chosen)
    against = row["against_none"]
    head = {
        "positive": "Adapting helps",
        "none": f"No gain that these test {_nouns(results).many} show",
        "negative": "Adapting hurts",
    }[verdict]
    low, high = against["interval"]
    return (
        f"{head}: {names[chosen]} against no adaptation {points(against['balanced_accuracy'])} points of balanced "
        f"accuracy on the target (95% interval {points(low)} to {points(high)}; p {p_value(against['p_value'])})."
    )


def _evidence(results: Mapping[str, Any], names: Mapping[str, str]) -> list[str]:
    """What labels of the target show besides the verdict."""
    lines = []
    tried = [row for row in results["methods"] if row["against_none"]]
    for verdict, words in (("negative", "Worse than not adapting"), ("positive", "Better than not adapting")):
        found = [
            f"{names[row['name']]} {points(row['against_none']['balanced_accuracy'])}"
            for row in tried
            if row["verdict"] == verdict and row["name"] != results["chosen"]
        ]
        if found:
            lines.append(f"{words}, in points: {', '.join(found)}.")
    best, none = results["target_trained"], next(row for row in results["methods"] if row["name"] == NONE)
    if best is not None:
        gap = best["target_balanced_accuracy"] - none["target_balanced_accuracy"]
        row = next(row for row in results["methods"] if row["name"] == results["chosen"])
        closed = row["target_balanced_accuracy"] - none["target_balanced_accuracy"]
        share = f", {closed / gap:.0%} of the gap" if gap > 0 and closed > 0 else ""
        lines.append(
            f"Balanced accuracy on the target: {numbers.figure(none['target_balanced_accuracy'])} without adaptation, "
            f"{numbers.figure(row['target_balanced_accuracy'])} as chosen{share}; a classifier that learns from the "
            f"target's labels has {numbers.figure(best['target_balanced_accuracy'])}."
        )
    return lines


def _nouns(results: Mapping[str, Any]) -> Nouns:
    """What the examples are called."""
    return kinds.nouns(results["data"].get("kind"))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
