"""How well the features of each depth of a backbone tell the classes apart, and which of them is to be taken."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kt import linear
from kt.evaluate import balanced_accuracy, evaluate
from kt.recipe import ALL, TOP
from kt.strategy.advise.depths import Depth
from kt.strategy.depths import shares_at
from kt.strategy.transferability import h_score, logme, neighbours

CLOSE = 0.01
"""Of depths that differ by no more, the one nearest the top is taken: fine-tuning starts there."""


@dataclass(frozen=True)
class Probe:
    """How well the features of a depth tell the classes apart.

    depth: a layer's or block's name, "top", "all" (all depths side by side) or "pixels" (colours and a thumbnail).
    balanced accuracy, with its 95% interval: of a softmax regression, cross-validated, on pictures it has not seen.
    neighbours: the balanced accuracy of the five nearest pictures.
    """

    depth: str
    place: float | None
    features: int
    balanced_accuracy: float
    interval: tuple[float, float]
    neighbours: float
    logme: float
    h_score: float

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "interval": list(self.interval)}


@dataclass(frozen=True)
class Measured:
    """A backbone's probes, from the pixels to the top, and of all depths together."""

    backbone: str
    probes: tuple[Probe, ...]

    @property
    def pixels(self) -> Probe:
        """The probe of what needs no network."""
        return self.named("pixels")

    @property
    def top(self) -> Probe:
        """The probe of the last features."""
        return self.named(TOP)

    @property
    def best(self) -> Probe:
        """The best of the network's probes; of those that are close, the one nearest the top."""
        mine = [probe for probe in self.probes if probe.depth != "pixels"]
        reach = max(probe.balanced_accuracy for probe in mine) - CLOSE
        # "all" is tried before the depths below the top: it has them.
        return max(
            (probe for probe in mine if probe.balanced_accuracy >= reach),
            key=lambda probe: {TOP: 3.0, ALL: 2.0}.get(probe.depth, probe.place or 0.0),
        )

    @property
    def advised(self) -> Probe:
        """The probe whose features are to be taken: the top where all depths add less than a point, else all.

        A single depth below the top only where it beats all of them beyond their interval: the best of many is best by
        luck too, and all, from which the probe selects, need no such choice.
        """
        best, together = self.best, next((probe for probe in self.probes if probe.depth == ALL), self.top)
        if best.balanced_accuracy > together.interval[1]:
            return best
        return self.top if self.top.balanced_accuracy >= together.balanced_accuracy - CLOSE else together

    def named(self, depth: str) -> Probe:
        """The probe of a depth."""
        return next(probe for probe in self.probes if probe.depth == depth)


def probe(
    depth: Depth, labels: npt.NDArray[np.int64], groups: Sequence[str], *, classes: Sequence[str], seed: int = 0
) -> Probe:
    """All figures of a depth. Features that don't vary tell nothing, and get the figures of a guess."""
    rows, number = np.asarray(depth.rows, np.float64), len(classes)
    with linear.one_thread():
        if np.ptp(rows, axis=0).any():
            # Of all depths side by side, what a recipe's probe keeps is kept here.
            keep = shares_at(depth.name, rows)
            scores = linear.cross_validated(
                rows, labels, classes=number, groups=groups, keep=keep, balanced=True, seed=seed
            )
        else:
            scores = np.full((len(rows), number), 1 / number)
        figures = evaluate(scores, labels, classes, groups=groups, seed=seed)
        low, high = figures["intervals"]["balanced_accuracy"]
        return Probe(
            depth=depth.name,
            place=depth.place,
            features=rows.shape[1],
            balanced_accuracy=figures["balanced_accuracy"],
            interval=(low, high),
            neighbours=balanced_accuracy(labels, neighbours(rows, labels, groups), classes=number),
            logme=logme(rows, labels),
            h_score=h_score(rows, labels),
        )
