"""One trial: a candidate fitted to what one seed draws, judged without target labels, and its answers on test."""

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.adaptation import VALIDATORS, Adapted, mmd, proxy_a_distance
from kt.adaptation.features import drawn, drawn_by_class
from kt.adaptation.methods import SourceOnly
from kt.adaptation.validators import NONE
from kt.base.run_folder import STEPS
from kt.base.stages import Stage
from kt.data.splits import Splits
from kt.errors import DataError
from kt.linear import Linear
from kt.linear.space import Floats, widest
from kt.recipe import Adaptation, Recipe
from kt.strategy.adapt.candidates import WayToAdapt
from kt.strategy.adapt.source import DomainFeatures, SourceModel, trained_model

SHOWN = 300
"""The most examples of each domain on the map, and for the distances between the domains."""


JUDGED = 500
"""The most examples of each domain that validators see, because some fit the method again several times."""


@dataclass(frozen=True, eq=False)
class AdaptedTrial:
    """A candidate with one seed.

    validators: each one's score; None where it can't tell. shares: of each class among the answers to the target.
    scores: of test, `[T, C]`. distances: between the domains as the candidate sees them; None for a candidate that
    moves no features, and for later seeds. spots: places on the map, of source `[n, 2]` with labels `[n]`, and of
    target `[m, 2]`; empty where there are no distances.
    """

    method: str
    seed: int
    seconds: float
    validators: Mapping[str, float | None]
    shares: tuple[float, ...]
    distances: Mapping[str, Any] | None
    scores: npt.NDArray[np.float32]
    spots: Mapping[str, npt.NDArray[Any]]

    def keep(self, stage: Stage) -> None:
        """Keep it, to resume."""
        told = {
            name: getattr(self, name) for name in ("method", "seed", "seconds", "validators", "shares", "distances")
        }
        stage.keep(told, scores={"scores": self.scores}, spots=self.spots)

    @classmethod
    def kept_in(cls, stage: Stage) -> "AdaptedTrial | None":
        """The trial that `keep` wrote; None if there is none."""
        kept = stage.kept()
        if kept is None:
            return None
        told = {**kept.told, "shares": tuple(kept.told["shares"])}
        return cls(**told, scores=kept.arrays["scores"]["scores"], spots=kept.arrays["spots"])


def by_own_head(source: SourceModel, *, classes: int, balanced: bool, seed: int, placed: bool) -> AdaptedTrial:
    """The trial of no adaptation: the answers of the model that learned from the source."""
    seen = source.features
    return _judged(
        NONE, SourceOnly(), seen, source.head, (seen.source, seen.target) if placed else None, classes=classes,
        balanced=balanced, seed=seed, seconds=source.seconds,
    )  # fmt: skip


def on_features(
    candidate: WayToAdapt, seen: DomainFeatures, *, classes: int, balanced: bool, seed: int, placed: bool
) -> AdaptedTrial:
    """A trial of a method on features. placed: whether distances and the map are wanted."""
    started = time.perf_counter()
    assert candidate.method is not None
    classifier: Linear = candidate.method.fit(
        seen.source, seen.labels, seen.target, classes=classes, groups=seen.groups, balanced=balanced, seed=seed
    )
    align = getattr(candidate.method, "align", None)
    aligned = align(seen.source, seen.target) if placed and align else None
    return _judged(
        candidate.name, candidate.method, seen, classifier, aligned, classes=classes, balanced=balanced, seed=seed,
        seconds=time.perf_counter() - started,
    )  # fmt: skip


def in_training(
    candidate: WayToAdapt, recipe: Recipe, splits: Splits, source: SourceModel, *, stream: str, seed: int, folder: Path,
    placed: bool,
) -> AdaptedTrial:  # fmt: skip
    """A trial that changes the network: the source's model is trained further, and answers with its own head.

    splits: what the seed draws. folder: for checkpoints.
    """
    started = time.perf_counter()
    recipe = dataclasses.replace(recipe, phases=candidate.phases(recipe), seed=seed)
    adapted = trained_model(recipe, splits, stream=stream, start=source.weights, steps=folder / STEPS)
    seen = adapted.features
    return _judged(
        candidate.name, SourceOnly(), seen, adapted.head, (seen.source, seen.target) if placed else None,
        classes=len(splits.classes), balanced=recipe.class_weight == "balanced", seed=seed,
        seconds=time.perf_counter() - started,
    )  # fmt: skip


def _judged(
    name: str, method: Adaptation, seen: DomainFeatures, classifier: Linear, aligned: tuple[Floats, Floats] | None, *,
    classes: int, balanced: bool, seed: int, seconds: float,
) -> AdaptedTrial:  # fmt: skip
    own = drawn_by_class(seen.labels, max(JUDGED, classes), seed=seed)
    others = drawn(len(seen.target), JUDGED, seed=seed)
    adapted = Adapted(
        seen.source[own], seen.labels[own], seen.target[others], method, classifier, classes=classes,
        groups=[seen.groups[place] for place in own], balanced=balanced, seed=seed,
    )  # fmt: skip
    answers = classifier.scores(seen.target).argmax(axis=1)
    distances, spots = (None, {}) if aligned is None else _placed(*aligned, seen, seed=seed)
    return AdaptedTrial(
        method=name,
        seed=seed,
        seconds=seconds,
        validators={name: _told(validator, adapted) for name, validator in VALIDATORS.items()},
        shares=tuple((np.bincount(answers, minlength=classes) / len(answers)).tolist()),
        distances=distances,
        scores=classifier.scores(seen.test).astype(np.float32),
        spots=spots,
    )


def _told(validator: Any, adapted: Adapted) -> float | None:
    """A validator's score; None where the examples don't allow it, such as a class with a single group."""
    try:
        return float(validator(adapted))
    except DataError:
        return None


def _placed(
    source: Floats, target: Floats, seen: DomainFeatures, *, seed: int
) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """The distances between two domains, and their examples on a map: the two widest directions of both together."""
    own, others = (drawn(len(rows), SHOWN, seed=seed) for rows in (source, target))
    source, target, groups = source[own], target[others], [seen.groups[place] for place in own]
    discrepancy = mmd(source, target, seed=seed)
    singles = [f"target {place}" for place in others]
    try:
        separation = proxy_a_distance(source, target, groups=(groups, singles), seed=seed)
        apart = {"proxy_a_distance": separation.distance, "interval": list(separation.interval)}
    except DataError:  # a domain with a single group
        apart = {"proxy_a_distance": None, "interval": None}
    spots, _ = widest(np.concatenate([source, target]))
    distances = {**apart, "mmd": discrepancy.squared, "mmd_p": discrepancy.p}
    return distances, {"source": spots[: len(own)], "labels": seen.labels[own], "target": spots[len(own) :]}
