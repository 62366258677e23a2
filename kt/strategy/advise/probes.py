"""How well the features of each depth of a backbone separate the classes, and which depth to take."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from kt import linear
from kt.heads.classification.measure import balanced_accuracy, evaluate
from kt.recipe import ALL, TOP
from kt.strategy.advise.depths import DepthFeatures
from kt.strategy.advise.gain import BackboneGain
from kt.strategy.depths import shares_at
from kt.strategy.transferability import h_score, logme, neighbours

CLOSE = 0.01
"""If depths differ by no more than this, the one nearest the top is taken: fine-tuning starts there."""


@dataclass(frozen=True)
class ProbedFeatures:
    """How well the features of a depth separate the classes.

    depth: a layer's or block's name, "top", "all" (all depths side by side) or "pixels" (colours and a thumbnail).
    balanced_accuracy, with its 95% interval: of a cross-validated softmax regression, on pictures that it has not seen.
    neighbours: the balanced accuracy of a vote of the five nearest pictures. scores: `[N, C]`, that of each picture in
    the cross-validation.
    """

    depth: str
    place: float | None
    features: int
    balanced_accuracy: float
    interval: tuple[float, float]
    neighbours: float
    logme: float
    h_score: float
    scores: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)), repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """Plain data, without the scores."""
        told = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "scores"}
        return {**told, "interval": list(self.interval)}


@dataclass(frozen=True)
class ProbedBackbone:
    """A backbone's probes, from the pixels to the top, and of all depths together.

    image_size: height and width of the pictures that it saw; None for those of the splits. gain: how much better it is
    than the backbone that others are compared with; None for that one.
    """

    backbone: str
    probes: tuple[ProbedFeatures, ...]
    image_size: tuple[int, int] | None = None
    gain: BackboneGain | None = None

    @property
    def pixels(self) -> ProbedFeatures:
        """The probe of the pixels, which need no network."""
        return self.named("pixels")

    @property
    def top(self) -> ProbedFeatures:
        """The probe of the last features."""
        return self.named(TOP)

    @property
    def together(self) -> ProbedFeatures:
        """The probe of all depths together; of the top where the depths are unknown."""
        return next((probe for probe in self.probes if probe.depth == ALL), self.top)

    @property
    def best(self) -> ProbedFeatures:
        """The best of the network's probes; of several that are close, the one nearest the top."""
        of_network = [probe for probe in self.probes if probe.depth != "pixels"]
        least = max(probe.balanced_accuracy for probe in of_network) - CLOSE
        # "all" goes before the depths below the top, because it contains them.
        return max(
            (probe for probe in of_network if probe.balanced_accuracy >= least),
            key=lambda probe: {TOP: 3.0, ALL: 2.0}.get(probe.depth, probe.place or 0.0),
        )

    @property
    def advised(self) -> ProbedFeatures:
        """The probe whose features to take: the top if all depths together add less than a point, else all depths.

        A single depth below the top is taken only if it is above the interval of all depths together: the best of many
        is best partly by luck, while all depths together need no such choice.
        """
        best, together = self.best, self.together
        if best.balanced_accuracy > together.interval[1]:
            return best
        return self.top if self.top.balanced_accuracy >= together.balanced_accuracy - CLOSE else together

    def named(self, depth: str) -> ProbedFeatures:
        """The probe of a depth."""
        return next(probe for probe in self.probes if probe.depth == depth)


def probe_depth(
    depth: DepthFeatures, labels: npt.NDArray[np.int64], groups: Sequence[str], *, classes: Sequence[str], seed: int = 0
) -> ProbedFeatures:
    """All figures of a depth. Features that don't vary get the figures of guessing."""
    rows, number = np.asarray(depth.rows, np.float64), len(classes)
    with linear.one_thread():
        if np.ptp(rows, axis=0).any():
            # Of all depths side by side, keep the shares of features that a recipe's probe would.
            keep = shares_at(depth.name, rows)
            scores = linear.cross_validated(
                rows, labels, classes=number, groups=groups, keep=keep, balanced=True, seed=seed
            )
        else:
            scores = np.full((len(rows), number), 1 / number)
        figures = evaluate(scores, labels, classes, groups=groups, seed=seed)
        low, high = figures["intervals"]["balanced_accuracy"]
        return ProbedFeatures(
            depth=depth.name,
            place=depth.place,
            features=rows.shape[1],
            balanced_accuracy=figures["balanced_accuracy"],
            interval=(low, high),
            neighbours=balanced_accuracy(labels, neighbours(rows, labels, groups), classes=number),
            logme=logme(rows, labels),
            h_score=h_score(rows, labels),
            scores=scores,
        )
