"""The report's page: one HTML file that needs nothing else, from `report.json` and the pictures."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from PIL import Image

from kt.console import in_lines
from kt.data.splits import Pixels, Split, Splits
from kt.names import json_text
from kt.report import charts, numbers
from kt.report.closing import HEADLINES, cross_validated_on, measured_on
from kt.report.worth import last_phase

_THUMBNAIL = 112
_EXAMPLES = 24
_EACH = 6
_WRONGEST = 12
_BESIDE = 10  # So many classes leave room for another column beside their confusion matrix.
_NUMBERED = 15  # So many classes still fit beside each other with their numbers; past that a heatmap.
_FEW = 10


def render(report: Mapping[str, Any], splits: Splits, places: Sequence[int]) -> str:
    """The whole page as text; `report` is what `report.json` holds, `places` where its wrongest test pictures are."""
    phases, test = report.get("phases") or [], report.get("test") or {}
    classes, matrix = splits.classes, test.get("confusion_matrix") or []
    numbered = len(classes) <= _NUMBERED
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            report=report,
            headlines=[(HEADLINES[key], test.get(key), (test.get("intervals") or {}).get(key)) for key in HEADLINES],
            measured_on=measured_on(test) if test else "",
            caution=caution(splits.test, splits.classes),
            classes=classes,
            many=not numbered,
            wide=len(classes) > _BESIDE,
            splits=_sizes(splits),
            grouped=any(things < pictures for _, pictures, things in _sizes(splits)),
            counts=_counts(splits),
            examples=_examples(splits),
            curves=[charts.curves(phases, metric, best=report.get("best")) for metric in ("loss", "accuracy")],
            learning_curve=charts.learning_curve(report.get("learning_curve") or []),
            cross_validated_on=cross_validated_on(report.get("cross_validation") or {}),
            calibration=charts.calibration(test.get("calibration") or []),
            confusion=_shares(matrix) if numbered else [],
            heatmap="" if numbered or not matrix else charts.heatmap(matrix, classes),
            mistakes=_mistakes(matrix, classes) if len(classes) > 2 else [],
            wrong=sum(map(sum, matrix)) - sum(row[i] for i, row in enumerate(matrix)),
            per_class=_per_class(test.get("per_class") or [], worst_first=not numbered),
            wrongest=[
                {**row, "picture": _thumbnail(splits.test.pixels[i])}
                for row, i in zip(report["wrongest"], places, strict=True)
            ],
            goal_line=_goal(report.get("goal") or {}),
            verdict=last_phase(phases, report.get("best") or {}),
            resolved=json_text((report.get("recipe") or {}).get("resolved") or {}, indent=2),
        )
    )


def environment() -> jinja2.Environment:
    """What makes pages of templates: those of this folder, with figures as a person reads them."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        finalize=_plain,
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("figure", "change", "scientific", "percent", "interval", "count", "size", "duration", "number"):
        found.filters[name] = getattr(numbers, name)
    return found


def _plain(value: Any) -> Any:
    """What a page can hold: names may have control characters, or bytes that are no UTF-8."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return in_lines(value.split("\n"))
    return value


def wrongest_places(test: Split, scores: npt.NDArray[Any]) -> list[int]:
    """The misclassified test pictures to which the model gave their true class the least, worst first; at most 12."""
    wrong = scores.argmax(axis=1) != test.labels
    of_truth = scores[np.arange(len(test)), test.labels]
    return [int(i) for i in np.argsort(of_truth, kind="stable") if wrong[i]][:_WRONGEST]


def described(places: Sequence[int], splits: Splits, scores: npt.NDArray[Any]) -> list[dict[str, Any]]:
    """What `report.json` tells of these test pictures: which, what they are, and what the model took them for."""
    test, predicted = splits.test, scores.argmax(axis=1)
    return [
        {
            "name": test.names[i],
            "label": splits.classes[test.labels[i]],
            "predicted": splits.classes[predicted[i]],
            "score": float(scores[i, predicted[i]]),
            "score_of_label": float(scores[i, test.labels[i]]),
        }
        for i in places
    ]


def _thumbnail(pixels: Pixels) -> str:
    """The picture as a `data:` address, small enough for dozens on a page."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _examples(splits: Splits) -> list[tuple[str, list[tuple[str, str]]]]:
    """For each class a few training pictures, as name and address; with many classes one each, and not of every one."""
    train, classes = splits.train, splits.classes
    each = max(1, min(_EACH, _EXAMPLES // len(classes)))
    by_thing = np.argsort(np.asarray(train.groups, dtype=str), kind="stable")
    rows = []
    for label in _even(len(classes), _EXAMPLES):
        # In the order of the things they show and at even steps: six pictures are not to be six frames of one apple.
        places = by_thing[train.labels[by_thing] == label]
        chosen = [int(places[i]) for i in _even(len(places), each)]
        rows.append((classes[label], [(train.names[i], _thumbnail(train.pixels[i])) for i in chosen]))
    return rows


def _even(length: int, wanted: int) -> list[int]:
    """At most `wanted` places, evenly spread over `length`."""
    number = min(length, wanted)
    return [(2 * i + 1) * length // (2 * number) for i in range(number)]


def _sizes(splits: Splits) -> list[tuple[str, int, int]]:
    """Each split with its number of pictures and of things."""
    return [(name, len(part), len(set(part.groups))) for name, part in splits.parts().items()]


def _counts(splits: Splits) -> list[tuple[str, list[int]]]:
    """Each class with its number of pictures in each split."""
    parts = [np.bincount(part.labels, minlength=len(splits.classes)) for part in splits.parts().values()]
    return [(label, [int(part[i]) for part in parts]) for i, label in enumerate(splits.classes)]


def caution(test: Split, classes: Sequence[str]) -> str:
    """A word where the test pictures show so few things that the intervals promise too much."""
    if len(set(test.groups)) == len(test):
        return ""
    things = zip(test.things(len(classes)), classes, strict=True)
    fewest, name = min((found for found in things if found[0]), default=(_FEW, ""))
    if fewest >= _FEW:
        return ""
    plural = "s" if fewest != 1 else ""
    return (
        f"The test pictures of “{name}” show only {fewest} thing{plural}: the true uncertainty is larger than it looks."
    )


def _shares(matrix: Sequence[Sequence[int]]) -> list[list[tuple[int, float]]]:
    """Each count of the confusion matrix with its share of the row."""
    return [[(cell, cell / max(sum(row), 1)) for cell in row] for row in matrix]


def _mistakes(matrix: Sequence[Sequence[int]], classes: Sequence[str]) -> list[tuple[str, str, int, float]]:
    """The commonest mistakes as true class, predicted class, number and share of the true class; at most 10."""
    found = [
        (classes[i], classes[j], cell, cell / sum(row))
        for i, row in enumerate(matrix)
        for j, cell in enumerate(row)
        if i != j and cell
    ]
    return sorted(found, key=lambda mistake: -mistake[2])[:10]


def _per_class(rows: Sequence[Mapping[str, Any]], *, worst_first: bool) -> list[Mapping[str, Any]]:
    """The per-class table; where it is long, the classes that need attention stand on top."""
    if not worst_first:
        return list(rows)
    return sorted(rows, key=lambda row: row["f1"] if numbers.known(row["f1"]) else 2.0)


def _goal(goal: Mapping[str, Any]) -> str:
    """By what several ways were judged, what was asked for and what became of it; empty where there was one way."""
    if not goal:
        return ""
    metric = HEADLINES.get(goal["metric"], goal["metric"])
    words = [f"Judged by {metric} on validation."]
    if numbers.known(goal["target"]):
        reached = "was reached" if goal["reached"] else "was not reached"
        words.append(f"The target of {goal['target']:g} {reached}: the worse end of the interval counts.")
    if numbers.known(goal["budget_seconds"]):
        words.append(f"Budget: {numbers.duration(goal['budget_seconds'])}.")
    return " ".join([*words, f"It ended there because {goal['ended']}."])
