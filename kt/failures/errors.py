"""Which errors on the test split the report shows: the wrongest, and a few of each of the commonest mistakes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.data.splits import Split

WRONGEST = 12
MISTAKES = 10
OF_EACH = 4


def wrongest_places(test: Split, scores: npt.NDArray[Any]) -> list[int]:
    """The indices of misclassified test pictures by the score of their true class, lowest first; at most 12."""
    wrong = scores.argmax(axis=1) != test.labels
    of_truth = scores[np.arange(len(test)), test.labels]
    return [int(i) for i in np.argsort(of_truth, kind="stable") if wrong[i]][:WRONGEST]


@dataclass(frozen=True)
class Confused:
    """A class whose examples were taken for another. examples: how many. places: indices of a few of them, on test."""

    label: int
    predicted: int
    examples: int
    places: tuple[int, ...]


def commonest(test: Split, scores: npt.NDArray[Any]) -> tuple[Confused, ...]:
    """The ten commonest mistakes, each with up to four examples of different groups, the surest first."""
    predicted, classes = scores.argmax(axis=1), scores.shape[1]
    wrong = np.flatnonzero(predicted != test.labels)
    kinds, counts = np.unique(test.labels[wrong] * classes + predicted[wrong], return_counts=True)
    told = []
    for place in np.argsort(-counts, kind="stable")[:MISTAKES]:
        label, said = divmod(int(kinds[place]), classes)
        own = wrong[(test.labels[wrong] == label) & (predicted[wrong] == said)]
        own = own[np.argsort(-scores[own, said], kind="stable")]
        told.append(Confused(label, said, len(own), tuple(_apart(own, test)[:OF_EACH])))
    return tuple(told)


def _apart(places: npt.NDArray[np.int64], test: Split) -> list[int]:
    """The places with those of new groups first, so that four pictures are not four frames of one thing."""
    seen: set[str] = set()
    new: list[int] = []
    again: list[int] = []
    for place in places.tolist():
        (again if test.groups[place] in seen else new).append(place)
        seen.add(test.groups[place])
    return new + again
