"""Frozen features of the pictures to learn from, at every depth of a backbone, in one pass."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kt.data.splits import Split, Splits
from kt.frozen.engine import Engine
from kt.recipe import ALL, TOP, LinearProbe, Recipe
from kt.strategy.validation import new_model
from kt.training.probe import by_depth, features, shares

SINGLE = 6
"""The most depths that are probed one by one, the top among them; all depths together are probed too."""

MOST = 1000
"""The most pictures that depths are compared on. If there are more, a sample is drawn by class and in whole groups."""


def features_by_depth(recipe: Recipe, splits: Splits) -> dict[str, npt.NDArray[Any]]:
    """Pooled features `[N, D]` of train, then of validation, by the name of the depth, lowest first.

    The last is "all", with all depths side by side. If the backbone's blocks are unknown, there is only the top.
    """
    probing = dataclasses.replace(recipe, phases=[LinearProbe(features=ALL)], augment=None)
    built = new_model(probing, splits)
    probing.phases[0].trainable(built.backbone)
    work = Engine(built, probing, splits).work(0)
    together = np.concatenate([features(built, part) for part in (work.train, work.validation)])
    return {**by_depth(together, built.taps), ALL: together} if built.taps else {TOP: together}


def worth_a_probe(depths: Sequence[str]) -> list[str]:
    """The depths to probe one by one: the top and `SINGLE - 1` depths below it, evenly spread.

    depths: as by `features_by_depth`. The stem is left out, since it sees only edges and colours.
    """
    below = [depth for depth in depths if depth not in (TOP, ALL)][1:]
    places = np.linspace(0, len(below) - 1, min(SINGLE - 1, len(below))).round().astype(int)
    return [*(below[place] for place in places), TOP]


def shares_at(depth: str, features: npt.NDArray[Any]) -> tuple[float, ...]:
    """The shares of a depth's features `[N, D]` to choose between, as a probe at this depth does."""
    return shares(features.shape[1]) if depth == ALL else (1.0,)


def spread_sample(splits: Splits, *, seed: int) -> Splits:
    """The splits with at most `MOST` pictures to learn from, so that probing takes seconds."""
    share = MOST / (len(splits.train) + len(splits.validation))
    if share >= 1:
        return splits
    random = np.random.default_rng(seed)
    return dataclasses.replace(
        splits,
        train=splits.train.take(in_whole_groups(splits.train, share, random)),
        validation=splits.validation.take(in_whole_groups(splits.validation, share, random)),
    )


def in_whole_groups(split: Split, share: float, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Indices of a share of each class, in whole groups, with at least two groups of each class that has them."""
    groups = np.array(split.groups)
    kept = np.zeros(len(split), bool)
    for label in np.unique(split.labels):
        members = split.labels == label
        for number, group in enumerate(random.permutation(np.unique(groups[members]))):
            if number >= 2 and kept[members].sum() >= share * members.sum():
                break
            kept |= members & (groups == group)
    return np.flatnonzero(kept)
