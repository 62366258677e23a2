"""The advice: where a data set lies in the matrix of size and similarity, what to do with it, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kt.data.splits import Splits, kind_of_pictures
from kt.recipe import TOP
from kt.strategy.advise import reasons
from kt.strategy.advise.choice import ranked
from kt.strategy.advise.matrix import is_large, is_similar, learnable
from kt.strategy.advise.pictures import to_learn
from kt.strategy.advise.probes import ProbedBackbone


@dataclass(frozen=True)
class Advice:
    """Where a data set lies in the matrix of size and similarity, what to do with it, and why.

    quadrant: "small/similar", "small/different", "large/similar" or "large/different". per_class: the number of
    pictures to learn from. measured: the backbones, the chosen one first. strategy: "probe", "probe_then_top" or
    "probe_then_all". features: the depth that the probe takes, or "all". learnable: whether any probe does better than
    guessing.
    """

    origin: str
    image_size: tuple[int, int]
    pictures: int
    measured_pictures: int
    groups: int
    per_class: dict[str, int]
    quadrant: str
    measured: tuple[ProbedBackbone, ...]
    strategy: str
    features: str
    learnable: bool
    why: tuple[str, ...]
    notes: tuple[str, ...]
    seed: int

    def as_json(self) -> dict[str, Any]:
        """Plain data; the probes are those of the backbone that is advised."""
        first = self.measured[0]
        return {
            "data": self.origin,
            "image_size": list(self.image_size),
            "pictures": self.pictures,
            "measured_pictures": self.measured_pictures,
            "groups": self.groups,
            "per_class": self.per_class,
            "quadrant": self.quadrant,
            "learnable": self.learnable,
            "backbone": first.backbone,
            "probes": [probe.as_json() for probe in first.probes],
            "backbones": [
                {
                    "name": each.backbone,
                    "image_size": list(each.image_size or self.image_size),
                    "gain": None if each.gain is None else each.gain.as_json(),
                    **each.best.as_json(),
                    "probes": [probe.as_json() for probe in each.probes],
                }
                for each in self.measured
            ],
            "strategy": self.strategy,
            "features": self.features,
            "why": " ".join(self.why),
            "notes": list(self.notes),
            "seed": self.seed,
        }


def place(measured: Sequence[ProbedBackbone], splits: Splits, *, measured_pictures: int, seed: int) -> Advice:
    """The quadrant of the chosen backbone, the strategy for it, and the reasons."""
    labels, names = to_learn(splits)
    groups = len(set(names))
    per_class = dict(zip(splits.classes, np.bincount(labels, minlength=len(splits.classes)).tolist(), strict=True))
    classes = len(splits.classes)
    order = ranked(measured)
    anything = learnable(order[0].probes, classes=classes)
    if not anything:
        order = ranked(measured, default=True)  # what is luck chooses nothing
    first = order[0]
    large = is_large(per_class)
    similar = is_similar(first, classes=classes)
    strategy = _strategy(large=large, similar=similar) if anything else "probe"
    features = first.advised.depth if anything else TOP
    return Advice(
        origin=splits.origin,
        image_size=first.image_size or kind_of_pictures(splits).image_size,
        pictures=sum(per_class.values()),
        measured_pictures=measured_pictures,
        groups=groups,
        per_class=per_class,
        quadrant=f"{'large' if large else 'small'}/{'similar' if similar else 'different'}",
        measured=tuple(order),
        strategy=strategy,
        features=features,
        learnable=anything,
        why=(
            reasons.of_size(per_class, groups, large=large),
            *reasons.of_similarity(first, classes=classes, similar=similar, anything=anything),
            *reasons.of_backbones(order),
            *(f"Look at this first: {note}." for note in splits.notes),
            reasons.of_strategy(strategy, features, anything=anything),
        ),
        notes=splits.notes,
        seed=seed,
    )


def _strategy(*, large: bool, similar: bool) -> str:
    if not large:
        return "probe"
    return "probe_then_top" if similar else "probe_then_all"
