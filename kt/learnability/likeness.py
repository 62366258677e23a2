"""Whether the test pictures look like the training pictures; if not, figures from the training data mislead.

The frozen backbone's features of both are compared (`kt.drift.permuted`), one example of each group, because the
frames of one thing are not independent. Both sides are drawn in the same shares of the classes, since other shares
would look like another kind of picture. Which class an example counts for is what most of its nearest training examples
of other groups are, on both sides: no label of test is used, so that a model may heed the result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.base.few import FEW
from kt.data.splits import Split, Splits
from kt.drift import drawn_from, numbered
from kt.drift.permuted import compare
from kt.drift.unlike import NEIGHBOURS
from kt.familiar.nearest import near_distances, unit
from kt.kinds.kind import Nouns
from kt.learnability.features import Ints, Known
from kt.linear.space import Floats

ALARM = 0.01
"""The share of runs whose test is like train and that hear of a difference all the same."""

MOST = 500
"""The most examples of each side: more would take longer, and a difference that so many don't show is small."""

LARGE = 0.9
"""The AUC from which a difference counts as large: then the model is made less sure of itself."""

LISTED = 8
"""The most test examples that are named because they are far from all training examples."""

ALIKE, DIFFER, TOO_FEW = "alike", "differ", "too few to tell"


@dataclass(frozen=True)
class Likeness:
    """The comparison of test with train, under the keys of `report.json`.

    verdict: `ALIKE`, `DIFFER` or `TOO_FEW`. p: the share of random divisions of all examples that look at least as
    different; None if nothing was compared. auc, interval: how often a classifier that is cross-validated ranks a test
    example above a training example: 0.5 if it can't tell them apart, 1 if it always can. train, test: the independent
    examples that were compared. most_unlike: the names of the test examples that are furthest from all training
    examples, the furthest first; empty unless they differ.
    """

    verdict: str
    p: float | None
    auc: float | None
    interval: tuple[float, float] | None
    train: int
    test: int
    most_unlike: tuple[str, ...]

    @property
    def differ(self) -> bool:
        """Whether a difference was seen."""
        return self.verdict == DIFFER

    @property
    def large(self) -> bool:
        """Whether a large difference was seen."""
        return self.differ and self.auc is not None and self.auc >= LARGE

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Likeness":
        """The reverse of `dataclasses.asdict`, after JSON."""
        ends = data["interval"]
        return cls(**{**data, "interval": ends and (ends[0], ends[1]), "most_unlike": tuple(data["most_unlike"])})

    def warning(self, nouns: Nouns) -> str:
        """What a person should know before believing figures from the training data; "" unless they differ."""
        if self.verdict != DIFFER or self.interval is None:
            return ""
        low, high = self.interval
        return (
            f"the test {nouns.many} look otherwise than the training {nouns.many}: a classifier tells them apart with "
            f"AUC {self.auc:.2f} ({low:.2f} to {high:.2f}; 0.5 is chance). Figures of validation and cross-validation "
            "do not hold for them; if the model will meet others still, expect as large a fall again"
        )


def sampled(splits: Splits, *, seed: int) -> Split:
    """The test examples to compare, at most `MOST`; none if they are of another domain than train, as was asked for."""
    test = splits.test
    return test.take(drawn_from(numbered(test.groups), 0 if splits.test_of else MOST, seed=seed))


def likeness(known: Known, test: Known, names: Sequence[str], *, seed: int, alarm: float = ALARM) -> Likeness:
    """Compare test examples with those of train and validation. names: of the test examples; labels are not used."""
    rows, others = known.features.astype(np.float64), test.features.astype(np.float64)
    seems = _labels_of_nearest(rows, known, known.groups), _labels_of_nearest(others, known, test.groups)
    own, new = _matched(replace(known, labels=seems[0]), replace(test, labels=seems[1]), seed=seed)
    if min(len(own), len(new)) < FEW:
        return Likeness(TOO_FEW, None, None, None, len(own), len(new), ())
    found = compare((rows[own], _no_scores(own)), (others[new], _no_scores(new)), seed=seed)
    differ = found.p <= alarm
    far = near_distances(others, unit(rows), neighbours=NEIGHBOURS)[1] if differ else np.zeros(0)
    return Likeness(
        DIFFER if differ else ALIKE,
        found.p,
        found.auc,
        found.auc_interval,
        len(own),
        len(new),
        tuple(names[place] for place in np.argsort(-far, kind="stable")[:LISTED]),
    )


def _labels_of_nearest(rows: Floats, known: Known, groups: npt.NDArray[np.str_]) -> Ints:
    """What most of the nearest known examples of other groups are, for each row."""
    near = unit(rows) @ unit(known.features).T
    near[groups[:, None] == known.groups[None]] = -np.inf
    nearest = np.argsort(-near, axis=1, kind="stable")[:, :NEIGHBOURS]
    votes = np.eye(1 + int(known.labels.max()))[known.labels[nearest]].sum(axis=1)
    return np.asarray(votes.argmax(axis=1), np.int64)


def _no_scores(places: Ints) -> npt.NDArray[np.float64]:
    """The same score for all, in which nothing differs: a model is surer of the examples that it learned from."""
    return np.zeros((len(places), 1))


def _matched(known: Known, test: Known, *, seed: int) -> tuple[Ints, Ints]:
    """The indices of independent examples of both sides, with the same class shares.

    Of each class as many test examples as `known` has at most, and of `known` the same multiple of them.
    """
    own, new = _one_of_each_group(known, seed=seed), _one_of_each_group(test, seed=seed)
    classes = 1 + int(max(known.labels.max(), test.labels.max()))
    there, here = (np.bincount(part.labels[places], minlength=classes) for part, places in ((known, own), (test, new)))
    taken = np.minimum(there, here)
    times = float(np.min(there[taken > 0] / taken[taken > 0], initial=MOST))
    return _drawn(known, own, np.floor(times * taken).astype(int), seed=seed), _drawn(test, new, taken, seed=seed)


def _drawn(part: Known, places: Ints, counts: Ints, *, seed: int) -> Ints:
    """Random ones of these places, so many of each class."""
    random = np.random.default_rng(seed)
    of_class = [random.permutation(places[part.labels[places] == label])[:count] for label, count in enumerate(counts)]
    return np.sort(np.concatenate(of_class))


def _one_of_each_group(part: Known, *, seed: int) -> Ints:
    """The indices of one random example of each group, at most `MOST`."""
    groups = numbered(part.groups.tolist())
    return drawn_from(groups, min(MOST, int(groups.max(initial=-1)) + 1), seed=seed)
