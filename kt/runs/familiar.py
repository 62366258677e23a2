"""The end of training: what the model needs to say that an example is unlike anything it learned from."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from kt.base.console import say, warn
from kt.base.metrics import CONFIDENCE
from kt.base.run_folder import UNFAMILIAR
from kt.base.stages import Kept, Stage, key_of, whole
from kt.data.splits import Split, Splits
from kt.drift import drawn_from, numbered
from kt.errors import DataError, one_line
from kt.export.sample import test_places
from kt.familiar import FEWEST, FROZEN, MOST, NAME, OWN, RATE, Familiarity, as_rows
from kt.frozen.store import hashes
from kt.frozen.unmoved import Unmoved
from kt.kinds.kind import Nouns
from kt.network.model import Built
from kt.recipe import Recipe

MOST_TEST = 500
"""The most test examples on which false alarms are counted. Exports are checked on these and on the kept ones."""


def fit_familiarity(
    out: Path, built: Built, model: Any, recipe: Recipe, splits: Splits, *, kept_phase: str, key: str, cached: bool
) -> dict[str, Any]:
    """Fit the score on training examples, set its limit by held-out ones, and keep both in the run for its exports.

    model: the trained one in float32. kept_phase: the one whose weights it has. key: of the model and the examples;
    what an interrupted run has kept under it is taken. The result is `unfamiliar` of `report.json`: what was fitted,
    and how many test examples it calls unfamiliar. Nothing is fitted or chosen on the test split. If a model has no
    features to be fitted on, the result says why.
    """
    stage = Stage(out / UNFAMILIAR, key_of(key, recipe.seed, MOST, MOST_TEST, RATE))
    kept = stage.kept()
    if kept is None:
        try:
            unmoved = Unmoved(built, model, recipe, kept=kept_phase, cached=cached)
            kept = _fitted(unmoved, splits, seed=recipe.seed)
        except (DataError, OSError, LookupError) as error:
            kept = _without(one_line(error))
        stage.keep(kept.told, **kept.arrays)
    report: dict[str, Any] = kept.told["report"]
    if report["why"]:
        warn(f"no answer will be called unfamiliar: {report['why']}")
    else:
        say(_in_words(report, splits.kind))
    return report


def kept_familiarity(run: Path) -> Path | None:
    """The folder of a run in which its fitted score is kept, for an export; None if it has none."""
    kept = whole(run / UNFAMILIAR)
    return run / UNFAMILIAR if kept is not None and kept.told["place"] is not None else None


def _fitted(unmoved: Unmoved, splits: Splits, *, seed: int) -> Kept:
    if unmoved.place is None:
        return _without("the model's last layer takes no single input that could stand for an example")
    own = _drawn(splits.train, seed=seed)
    streams = [stream.examples[:MOST] for stream in splits.streams.values() if len(stream)]
    known = [own.examples, *streams]
    test = np.unique(np.linspace(0, len(splits.test) - 1, num=min(len(splits.test), MOST_TEST), dtype=np.int64))
    # An export that has only the kept examples to be judged by must find them here.
    checked_places = np.union1d(test, test_places(splits)) if len(test) else test
    held_out, shown = splits.validation, splits.test.examples[checked_places]
    validation = [held_out.examples] if len(held_out) else []
    features = unmoved([*known, *validation, *([shown] if len(shown) else [])])
    learned, rest = np.concatenate(features[: len(known)]), features[len(known) :]
    of_validation = rest.pop(0) if validation else learned[:0]
    # What the features learned from is no measure of what is familiar.
    honest = unmoved.place.part != OWN
    known_groups = [*own.groups, *(f"stream {place}" for place in range(len(learned) - len(own)))] if honest else None
    familiarity = Familiarity.fit(learned, of_validation, held_out.groups, known_groups=known_groups)
    distances = familiarity(rest[0]) if rest else np.zeros(0)
    limit = familiarity.limit
    groups = len(set(held_out.groups)) + len(set(known_groups or ()))
    report = {
        "score": NAME,
        "features": {"part": unmoved.place.part, "layers": list(unmoved.place.layers), "count": learned.shape[1]},
        "known": len(learned),
        "threshold": limit.value if limit else None,
        "rate": limit.rate if limit else None,
        "held_out": len(held_out) + len(known_groups or ()),
        "held_out_independent": groups,
        "why": "" if limit else _too_few(groups, splits.kind),
        "test": _false_alarms(
            familiarity, distances[np.isin(checked_places, test)], [splits.test.groups[place] for place in test]
        ),
    }
    told = {**familiarity.told(), "place": unmoved.place.to_json(), "report": report}
    checked: dict[str, npt.NDArray[Any]] = {"hashes": as_rows(list(hashes(shown))), "distances": distances}
    return Kept(told, {"fitted": {**familiarity.arrays()}, "checked": checked})


def _without(why: str) -> Kept:
    nothing = {"score": None, "features": None, "known": 0, "threshold": None, "rate": None}
    report = {**nothing, "held_out": 0, "held_out_independent": 0, "why": why, "test": None}
    return Kept({"place": None, "report": report})


def _drawn(train: Split, *, seed: int) -> Split:
    """Up to `MOST` training examples, one of each group first."""
    return train if len(train) <= MOST else train.take(drawn_from(numbered(train.groups), MOST, seed=seed))


def _too_few(groups: int, nouns: Nouns) -> str:
    return (
        f"there are {groups} independent held-out {nouns.many}, and {FEWEST} are needed to say how far away a "
        f"{nouns.one} may be"
    )


def _false_alarms(familiarity: Familiarity, distances: npt.NDArray[Any], groups: list[str]) -> dict[str, Any] | None:
    """How many test examples are called unfamiliar; None without a limit."""
    called = familiarity.unfamiliar(distances)
    if called is None or not len(called):
        return None
    share, number = float(called.mean()), len(set(groups))
    tail = (1 - CONFIDENCE) / 2
    # Clopper and Pearson's, as if each group were one example, since those of one group are not independent.
    low = float(stats.beta.ppf(tail, share * number, number - share * number + 1)) if share > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, share * number + 1, number - share * number)) if share < 1 else 1.0
    return {"examples": len(called), "called": int(called.sum()), "share": share, "interval": [low, high]}


_WHOSE = {FROZEN: "the frozen backbone's features", OWN: "the model's own features, since everything trained"}


def _in_words(report: dict[str, Any], nouns: Nouns) -> str:
    place = report["features"]
    whose = _WHOSE.get(place["part"], f"features at {' + '.join(place['layers'])}, before which nothing trained")
    alarms = report["test"]
    share = f"; of {alarms['examples']} test {nouns.many} {alarms['called']} are" if alarms else ""
    return (
        f"unfamiliar: farther than {report['threshold']:.3f} from all {report['known']} known {nouns.many}{share}"
        f" ({whose})"
    )
