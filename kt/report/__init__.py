"""What a run found: a page for people, `report.json` for programs, a few lines for the terminal."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.data.splits import Splits
from kt.errors import DataError
from kt.files import replace_json, replace_text
from kt.report.closing import figures, summary
from kt.report.page import caution, described, render, wrongest_places
from kt.report.results import card, compose, data_line, placed, weights_line

__all__ = ["FORMAT", "card", "caution", "compose", "data_line", "figures", "placed", "summary", "weights_line", "write"]

FORMAT = 1
"""Goes up when a key of `report.json` changes its meaning or goes away; a new key leaves it as it is."""


def write(results: Mapping[str, Any], splits: Splits, scores: npt.ArrayLike, directory: Path) -> Path:
    """Write `report.json`, `history.json` and `report.html` for whoever ran the recipe, and return the page's path.

    results: what the run knows, with the keys of docs/report.md; what is missing is left out of the page. scores:
    `[N_test, C]`, the kept model's probabilities on the test split. directory: made where it doesn't exist.

    All are written beside their place and then moved, so that a reader never meets half a file. Raises DataError
    where the scores don't belong to the test split.
    """
    scores = np.asarray(scores)
    if scores.shape != (len(splits.test), len(splits.classes)):
        raise DataError(
            f"Cannot report on scores of shape {list(scores.shape)}: expected a row for each of the "
            f"{len(splits.test)} test pictures and a column for each of the {len(splits.classes)} classes."
        )
    places = wrongest_places(splits.test, scores)
    report = {"format": FORMAT, **_plain(results), "wrongest": described(places, splits, scores)}
    directory.mkdir(parents=True, exist_ok=True)
    replace_json(directory / "report.json", report)
    history = {phase["name"]: phase["history"] for phase in report.get("phases", [])}
    replace_json(directory / "history.json", history)
    replace_text(directory / "report.html", render(report, splits, places))
    return directory / "report.html"


def _plain(value: Any) -> Any:
    """The same with nothing that JSON lacks: arrays become lists, paths text, NaN and infinity null."""
    match value:
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case np.generic() | np.ndarray():
            return _plain(value.tolist())
        case list() | tuple():
            return [_plain(item) for item in value]
        case float():
            return value if math.isfinite(value) else None
        case None | bool() | int() | str():
            return value
        case _:
            return str(value)
