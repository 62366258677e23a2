"""Frozen features of the pictures to learn from at every depth of a backbone, all in one pass."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.data.splits import Split, Splits
from kt.features.engine import Engine
from kt.probe import by_depth, features, shares
from kt.recipe import ALL, TOP, LinearProbe, Recipe
from kt.strategy.validation import new_model

SINGLE = 6
"""So many depths are probed one by one, the top among them, beside all of them together."""

MOST = 1000
"""Pictures on which depths are compared, at most; a draw where there are more, class by class and in whole groups."""


def features_by_depth(recipe: Recipe, splits: Splits) -> dict[str, npt.NDArray[Any]]:
    """Pooled features `[N, D]` of the pictures of train, then of validation, by the name of the depth, lowest first.

    The last is "all", each depth side by side; where the backbone's blocks are unknown there is the top alone.
    """
    probing = dataclasses.replace(recipe, phases=[LinearProbe(features=ALL)], augment=None)
    built = new_model(probing, splits)
    probing.phases[0].trainable(built.backbone)
    work = Engine(built, probing, splits).work(0)
    rows = np.concatenate([features(built, part) for part in (work.train, work.validation)])
    return {**by_depth(rows, built.taps), ALL: rows} if built.taps else {TOP: rows}


def worth_a_probe(depths: Sequence[str]) -> list[str]:
    """Those to be probed one by one: the top, and below it `SINGLE - 1`, evenly spread, without the stem.

    depths: as `features_by_depth` has them. The stem sees edges and colours.
    """
    below = [depth for depth in depths if depth not in (TOP, ALL)][1:]
    places = np.linspace(0, len(below) - 1, min(SINGLE - 1, len(below))).round().astype(int)
    return [*(below[place] for place in places), TOP]


def shares_at(depth: str, features: npt.NDArray[Any]) -> tuple[float, ...]:
    """The shares of features `[N, D]` of a depth to choose between, as a probe there does."""
    return shares(features.shape[1]) if depth == ALL else (1.0,)


def drawn(splits: Splits, *, seed: int) -> Splits:
    """The splits with so few pictures to learn from that probing takes seconds."""
    share = MOST / (len(splits.train) + len(splits.validation))
    if share >= 1:
        return splits
    random = np.random.default_rng(seed)
    return dataclasses.replace(
        splits,
        train=_draw(splits.train, share, random),
        validation=_draw(splits.validation, share, random),
    )


def _draw(split: Split, share: float, random: np.random.Generator) -> Split:
    """A share of each class, in whole groups, at least two groups of each where there are."""
    groups = np.array(split.groups)
    kept = np.zeros(len(split), bool)
    for label in np.unique(split.labels):
        mine = split.labels == label
        for number, group in enumerate(random.permutation(np.unique(groups[mine]))):
            if number >= 2 and kept[mine].sum() >= share * mine.sum():
                break
            kept |= mine & (groups == group)
    return split.take(np.flatnonzero(kept))
