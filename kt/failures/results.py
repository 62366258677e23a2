"""What is found out about a model's failures: plain results, which a page can be made from without Keras."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.base.metrics import CONFIDENCE
from kt.data.splits import Splits

ALARM = 1 - CONFIDENCE
"""The chance that any slice is called different where none is."""

Rows = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Slice:
    """The examples with some values of a property.

    words: what they are, as an addition to the noun: "darker than 61". level: the value, where it is a name. lower,
    upper: their values, both included, where it is a number. accuracy: the share that was answered rightly, with its
    95% interval. elsewhere: the accuracy of the other examples, each class with the weight that it has in the slice;
    None if there are none of a class. p: the chance of such a difference in any of all slices by chance; None if it
    can't be told from the class.
    """

    words: str
    level: str | None
    lower: float | None
    upper: float | None
    examples: int
    groups: int
    accuracy: float
    interval: tuple[float, float]
    elsewhere: float | None
    p: float | None


@dataclass(frozen=True)
class Sliced:
    """The slices of a property.

    trend: the correlation, from -1 to 1, of answering rightly with the rank of the value, within the classes; positive
    if examples with more of it are answered better; None for names. p: of the trend, corrected for all slices.
    """

    name: str
    trend: float | None
    p: float | None
    slices: tuple[Slice, ...]


@dataclass(frozen=True)
class GroupAnswers:
    """The examples of one group. accuracy: with the interval of a share of as many independent examples."""

    name: str
    labels: tuple[int, ...]
    examples: int
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Slices:
    """All slices. tests: how many questions the p values are corrected for. untold: why there are none, or "".

    groups: those answered worst, where groups have several examples. No test says whether they differ: a group is what
    chance draws here.
    """

    properties: tuple[Sliced, ...] = ()
    groups: tuple[GroupAnswers, ...] = ()
    tests: int = 0
    independent: int = 0
    alarm: float = ALARM
    untold: str = ""

    def to_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """Plain data under the keys of docs/report.md."""
        content = asdict(self)
        for group in content["groups"]:
            group["labels"] = [classes[label] for label in group["labels"]]
        return content


@dataclass(frozen=True)
class Neighbours:
    """The training examples nearest to one example.

    places: their indices, the nearest first. similarities: of their features to its own, from -1 to 1. nearer: the
    share of the training examples whose own nearest one, of another group, is nearer than its nearest.
    """

    places: tuple[int, ...]
    similarities: tuple[float, ...]
    nearer: float


@dataclass(frozen=True)
class FeatureMap:
    """Examples of train, then of test, on a map.

    when: "before" or "after" training; "frozen" where the backbone did not change. features: how many there are. kept:
    the share of the variance of all features that the map shows. spots: float32 `[N, 2]`. alike: for each class, the
    share of its test examples whose nearest training example on the map, by all features, is of the same class; None
    for a class without test examples there.
    """

    when: str
    features: int
    kept: float
    spots: Rows
    alike: tuple[float | None, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data under the keys of docs/report.md. Places lie within -1 and 1, both sides scaled alike."""
        low, high = self.spots.min(axis=0), self.spots.max(axis=0)
        spots = np.round((self.spots - (low + high) / 2) / max(float((high - low).max()) / 2, 1e-12), 3).clip(-1, 1)
        return {
            "when": self.when,
            "features": self.features,
            "kept": self.kept,
            "alike": list(self.alike),
            "spots": spots.tolist(),
        }


@dataclass(frozen=True)
class MovedBlock:
    """A block of the backbone. Both numbers are the length of the change divided by the length of the weights before.

    kernels: of the weights that multiply; 0 for a frozen block, None for a block without any. others: of biases,
    scales and the statistics of normalisation.
    """

    name: str
    kernels: float | None
    others: float | None


@dataclass(frozen=True)
class DepthProbe:
    """A probe on the features of one depth, cross-validated on training examples. interval: 95%."""

    depth: str
    features: int
    balanced_accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Insight:
    """What features show. Indices are of train and test.

    neighbours: of each of the wrongest examples, in their order. searched: among how many training examples. space:
    whose features these are, "frozen" or "trained". maps: the same examples on each, those of `mapped_train`, then
    those of `mapped_test`.
    """

    neighbours: tuple[Neighbours, ...] = ()
    searched: int = 0
    space: str = ""
    maps: tuple[FeatureMap, ...] = ()
    mapped_train: tuple[int, ...] = ()
    mapped_test: tuple[int, ...] = ()
    blocks: tuple[MovedBlock, ...] = ()
    depths: tuple[DepthProbe, ...] = ()


@dataclass(frozen=True)
class Failures:
    """What the report says of a model's failures. slices: None if they could not be looked at."""

    slices: Slices | None = None
    insight: Insight = field(default_factory=Insight)

    def to_json(self, splits: Splits, scores: Scores) -> dict[str, Any]:
        """The keys of `report.json` that are about the whole test split (docs/report.md)."""
        seen, train, test = self.insight, splits.train, splits.test
        predicted = scores.argmax(axis=1)
        examples = [{"split": "train", "name": train.names[i], "label": splits.classes[train.labels[i]],
                     "predicted": None} for i in seen.mapped_train]  # fmt: skip
        examples += [{"split": "test", "name": test.names[i], "label": splits.classes[test.labels[i]],
                      "predicted": splits.classes[predicted[i]]} for i in seen.mapped_test]  # fmt: skip
        return {
            "slices": self.slices.to_json(splits.classes) if self.slices else None,
            "nearest": {"space": seen.space, "searched": seen.searched} if seen.neighbours else None,
            "map": {"examples": examples, "views": [each.to_json() for each in seen.maps]} if seen.maps else None,
            "blocks": [asdict(block) for block in seen.blocks],
            "depth_probes": [asdict(probe) for probe in seen.depths],
        }
