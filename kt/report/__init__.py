"""The results of a run: a page for people, `report.json` for programs, a few lines for the terminal."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.base.files import replace_json, replace_text
from kt.base.run_folder import CARD, HISTORY, PAGE, REPORT, SHOWN
from kt.data.splits import Splits
from kt.errors import DataError
from kt.failures.errors import commonest, wrongest_places
from kt.failures.results import Failures
from kt.report.card import model_card
from kt.report.closing import figures, summary
from kt.report.entry import Entry
from kt.report.page import render_page
from kt.report.pictures import described, in_words, shown_of
from kt.report.reported import FORMAT, ReportedRun
from kt.report.shown import Thumbnail

__all__ = ["again", "card_of", "figures", "plain", "summary", "write"]


def write(
    results: Mapping[str, Any],
    splits: Splits,
    scores: npt.ArrayLike,
    directory: Path,
    *,
    failed: Failures | None = None,
    looks: Sequence[tuple[str, str]] = (),
    found: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Write the report in its forms, and return the content of `report.json`.

    results: the run's results, with the keys of docs/report.md; missing ones are left out of the page. scores:
    `[N_test, C]`, the kept model's probabilities on the test split. directory: made if it doesn't exist.
    failed: what is known of the model's failures. looks: the `data:` addresses of each picture of
    `results["explained"]`, as it is and with its map. found: the names and addresses of the pictures of
    `results["findings"]`.

    The forms are `report.json`, `history.json`, `shown.json`, `report.html` and `MODEL_CARD.md`. Each file is
    written beside its place and then moved, so that a reader never sees half of one. Raises DataError if the scores
    don't fit the test split.
    """
    scores = np.asarray(scores)
    if scores.shape != (len(splits.test), len(splits.classes)):
        raise DataError(
            f"Cannot report on scores of shape {list(scores.shape)}: expected a row for each of the "
            f"{len(splits.test)} test {splits.kind.many} and a column for each of the {len(splits.classes)} classes."
        )
    failed = failed or Failures()
    places, confused = wrongest_places(splits.test, scores), commonest(splits.test, scores)
    report: dict[str, Any] = {
        "format": FORMAT,
        **plain(results),
        "wrongest": plain(described(places, splits, scores, failed.insight.neighbours)),
        "confused": plain(in_words(confused, splits)),
        **plain(failed.to_json(splits, np.asarray(scores, np.float32))),
    }
    directory.mkdir(parents=True, exist_ok=True)
    replace_json(directory / REPORT, report)
    history = {phase["name"]: phase["history"] for phase in report.get("phases", [])}
    replace_json(directory / HISTORY, history)
    unlike = Entry(report, REPORT)["likeness"]["most_unlike"].texts()
    shown = shown_of(splits, places, unlike=unlike, confused=confused, insight=failed.insight)
    shown = replace(shown, looks=tuple(looks), found=tuple(Thumbnail(*picture) for picture in found))
    replace_json(directory / SHOWN, shown.to_json(), indent=None)
    run = ReportedRun(Entry(report, REPORT), shown)
    replace_text(directory / CARD, model_card(run))
    replace_text(directory / PAGE, render_page(run))
    return report


def again(run: Path) -> Path:
    """Make the page and the model card of a run again, from its folder alone, and give the page's path.

    Raises ReleaseError for a run without a report, for one from before `shown.json` was written, and for a damaged one.
    Then both stay as they are.
    """
    read = ReportedRun.read(run)
    page, card = render_page(read), model_card(read)
    replace_text(run / CARD, card)
    replace_text(run / PAGE, page)
    return run / PAGE


def card_of(report: Mapping[str, Any]) -> str:
    """The model card of a run, from the content of its `report.json`. Raises ReleaseError if that is damaged."""
    return model_card(ReportedRun(Entry(plain(report), REPORT)))


def plain(value: Any) -> Any:
    """The value as JSON can hold it: arrays become lists, paths text, NaN and infinity null."""
    match value:
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case np.generic() | np.ndarray():
            return plain(value.tolist())
        case list() | tuple():
            return [plain(item) for item in value]
        case float():
            return value if math.isfinite(value) else None
        case None | bool() | int() | str():
            return value
        case _:
            return str(value)
