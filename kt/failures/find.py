"""Finds out where a trained model fails: slices, the nearest training examples, the map, the blocks that moved."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from kt.adaptation.features import drawn_by_class
from kt.base.console import warn
from kt.data.splits import Splits
from kt.errors import one_line
from kt.failures.blocks import moved_blocks
from kt.failures.depths import probed_depths
from kt.failures.errors import wrongest_places
from kt.failures.features import Networks, frozen, last, networks
from kt.failures.folders import folders
from kt.failures.mapped import feature_map, sampled
from kt.failures.nearest import nearest
from kt.failures.results import DepthProbe, Failures, Insight, Slices
from kt.failures.slices import slices
from kt.kinds.kind import properties_of
from kt.network.model import Built
from kt.recipe import Recipe

SEARCHED = 2000
"""The most training examples among which the nearest are looked for."""

PROBED = 300
"""The most training examples that depths are probed on."""

T = TypeVar("T")

Scores = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def find_failures(
    recipe: Recipe, trained: Built, model: Any, splits: Splits, scores: Scores, *, cached: bool = True
) -> Failures:
    """Find out where the model fails on the test split; what can't be found out is left out, with a warning.

    recipe: as it was trained. trained: the model with its parts. model: the same in float32. scores: float32 `[N, C]`,
    of the test examples. cached: whether the features of frozen layers may be taken from the cache and kept in it.
    """
    seed = recipe.seed
    sliced = _unless_it_fails("slices", lambda: _slices(splits, scores, seed=seed))
    insight = _unless_it_fails(
        "features", lambda: _insight(networks(recipe, trained, model), splits, scores, seed=seed, cached=cached)
    )
    return Failures(sliced, insight or Insight())


def _unless_it_fails(what: str, work: Callable[[], T]) -> T | None:
    """The result, or None and a warning: a run that trained for hours does not end without its report for this."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - see above
        warn(f"the report has no {what} of the errors: {one_line(error)}")
        return None


def _slices(splits: Splits, scores: Scores, *, seed: int) -> Slices:
    test = splits.test
    labels = [splits.classes[label] for label in test.labels]
    return slices(
        scores.argmax(axis=1) == test.labels,
        test.labels,
        [*properties_of(splits.kind, test.examples, test.sizes), folders(test.names, labels)],
        groups=test.groups,
        names=test.group_names,
        seed=seed,
    )


def _insight(nets: Networks, splits: Splits, scores: Scores, *, seed: int, cached: bool) -> Insight:
    train, test, classes = splits.train, splits.test, len(splits.classes)
    errors = wrongest_places(test, scores)
    on_map = sampled(train, classes=classes, seed=seed), sampled(test, classes=classes, seed=seed)
    searched = np.union1d(on_map[0], drawn_by_class(train.labels, max(SEARCHED, classes), seed=seed))
    shown = np.union1d(on_map[1], np.array(errors, np.int64))
    examples = train.take(searched).examples, test.take(shown).examples
    rows: dict[str, tuple[Any, Any]] = {}
    if nets.before is not None:
        own = frozen(nets.before, examples, cached=cached)
        rows["before" if nets.moved else "frozen"] = own[0], own[1]
    if nets.moved:
        of_train, of_test = (last(nets.model, part) for part in examples) if not rows else (
            last(nets.model, train.take(on_map[0]).examples), last(nets.model, examples[1]))  # fmt: skip
        if of_train is not None and of_test is not None:
            rows["after"] = of_train, of_test
    if not rows:
        return Insight()
    first, (learned, asked) = next(iter(rows.items()))
    found = nearest(learned, [train.groups[i] for i in searched], asked[np.searchsorted(shown, errors)])
    neighbours = [replace(each, places=tuple(int(searched[place]) for place in each.places)) for each in found]
    maps = []
    for when, (of_train, of_test) in rows.items():
        at = np.searchsorted(searched, on_map[0]) if len(of_train) == len(searched) else np.arange(len(on_map[0]))
        of_map = of_train[at], of_test[np.searchsorted(shown, on_map[1])]
        labels = train.labels[on_map[0]], test.labels[on_map[1]]
        maps.append(feature_map(when, *of_map, labels, classes=classes))
    return Insight(
        neighbours=tuple(neighbours),
        searched=len(searched),
        space="trained" if first == "after" else "frozen",
        maps=tuple(maps),
        mapped_train=tuple(on_map[0].tolist()),
        mapped_test=tuple(on_map[1].tolist()),
        blocks=moved_blocks(nets.before.backbone, nets.trained.backbone) if nets.before and nets.moved else (),
        depths=_depths(nets, splits, searched, learned, seed=seed) if first == "frozen" else (),
    )


def _depths(nets: Networks, splits: Splits, places: Ints, rows: Any, *, seed: int) -> tuple[DepthProbe, ...]:
    """The probes of depths, where the model takes its features from several."""
    taps, labels = nets.trained.taps, splits.train.labels[places]
    if len(taps) < 2 or sum(width for _, width in taps) != rows.shape[1]:
        return ()
    own = drawn_by_class(labels, max(PROBED, len(splits.classes)), seed=seed)
    groups = [splits.train.groups[place] for place in places[own]]
    return probed_depths(rows[own], taps, labels[own], groups, classes=splits.classes, seed=seed)
