"""Which label an example gets, whether it gets none because the model is not sure, and the set of classes it may be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.errors import DataError, ReleaseError, did_you_mean
from kt.export.artifact import find_artifact
from kt.heads.classification.conformal import in_sets
from kt.predict.files import Prediction
from kt.releases.released import read_card

UNSURE = -1
"""In place of a class where an example gets no label."""


@dataclass(frozen=True)
class Decision:
    """How scores become labels and sets. Without any of these, the label is the top class.

    thresholds: classes, by number, with the score from which an example is of the class, in the order in which they are
    asked. below: where the top class has no threshold, an example whose top score is lower gets no label. least: a
    class with at least this score is in the set; None for no sets.
    """

    thresholds: tuple[tuple[int, float], ...] = ()
    below: float = 0.0
    least: float | None = None

    @property
    def abstains(self) -> bool:
        """Whether an example may get no label."""
        return bool(self.thresholds) or self.below > 0

    def as_json(self) -> list[Any]:
        """Plain data that differs where decisions do."""
        return [[list(each) for each in self.thresholds], self.below, self.least]

    def places(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """The class of each example `[N]` by its scores `[N, C]`, or `UNSURE`.

        The first class whose threshold is reached; if none is, the top class, unless it has a threshold, or its score
        is below `below`.
        """
        top = scores.argmax(axis=1)
        own = [column for column, _ in self.thresholds]
        sure = (scores.max(axis=1) >= self.below) & ~np.isin(top, own)
        places = np.where(sure, top, UNSURE)
        for column, least in reversed(self.thresholds):
            places = np.where(scores[:, column] >= least, column, places)
        return np.asarray(places, np.int64)

    def sets(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_] | None:
        """Whether each class is in the set of each example, `[N, C]`; None if no sets are asked."""
        return None if self.least is None else in_sets(scores, self.least)


@dataclass(frozen=True)
class Wanted:
    """What was asked of predictions, by the names of classes.

    thresholds: classes with their scores. below: as in `Decision`. sets: the share of sets that are to contain the true
    class; None for no sets.
    """

    thresholds: tuple[tuple[str, float], ...] = ()
    below: float = 0.0
    sets: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain data, with the names of the options."""
        thresholds = [{"label": label, "score": score} for label, score in self.thresholds]
        return {"thresholds": thresholds, "abstain_below": self.below, "sets": self.sets}

    def of(self, model: Path, classes: Sequence[str]) -> Decision:
        """The decision for a model with these classes.

        Raises DataError for a class that it does not have, and ReleaseError where it has no sets of this level.
        """
        known = [*classes]
        for label, _ in self.thresholds:
            if label not in known:
                raise DataError(f"--threshold: the model has no class {label!r}. {did_you_mean(label, known)}")
        columns = tuple((known.index(label), least) for label, least in self.thresholds)
        return Decision(columns, self.below, None if self.sets is None else _least(model, self.sets))


def decided(prediction: Prediction, decision: Decision) -> Prediction:
    """The prediction with the label and the set that the decision gives; one with an error stays as it is."""
    if prediction.scores is None:
        return prediction
    labels = [*prediction.scores]
    scores = np.array([[*prediction.scores.values()]], np.float32)
    place, inside = int(decision.places(scores)[0]), decision.sets(scores)
    return replace(
        prediction,
        label=None if place == UNSURE else labels[place],
        score=prediction.scores[labels[int(scores.argmax()) if place == UNSURE else place]],
        one_of=None if inside is None else tuple(labels[each] for each in np.flatnonzero(inside[0])),
    )


def _least(model: Path, level: float) -> float:
    """The least score of a class in a set, from the card `kt.json` of the model's version."""
    artifact = find_artifact(model)
    folder = artifact if artifact.is_dir() else artifact.parent
    try:
        levels = {f"{float(key):g}": float(value) for key, value in read_card(folder).get("sets", {}).items()}
    except (ValueError, AttributeError, TypeError):
        levels = {}
    if f"{level:g}" not in levels:
        there = f"has sets for {', '.join(sorted(levels))}" if levels else "has none"
        raise ReleaseError(
            f"There are no sets for {level:g}: {folder / 'kt.json'} {there}. A level needs enough validation examples, "
            "and the run's report.json says under `sets` how many; versions of an earlier kt have none."
        )
    return levels[f"{level:g}"]
