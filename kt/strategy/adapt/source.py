"""The model that learned from the source, its features of both domains, and the part of the data that a seed draws."""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt import freeze
from kt.base.stages import Stage
from kt.data.splits import Splits
from kt.frozen.cut import Uncut, find_cut, tail
from kt.frozen.encoder import Encoder
from kt.graph import nodes
from kt.linear import Linear
from kt.linear.space import Floats
from kt.network.model import Built
from kt.recipe import Recipe, Step
from kt.strategy.depths import in_whole_groups
from kt.strategy.validation import new_model
from kt.training import check_phases, train
from kt.training.probe import scores_layer

SHARE = 0.8
"""The share of the source and of the target that each seed draws."""

Weights = Sequence[npt.NDArray[Any]]


def drawn_splits(splits: Splits, stream: str, *, seed: int, share: float = SHARE) -> Splits:
    """The splits with a share of train, by class and in whole groups, and a share of the target; test stays whole.

    Methods on features hardly depend on a seed, so two fits to the same examples would show nothing of chance.
    """
    random = np.random.default_rng(seed)
    part = splits.streams[stream]
    source = in_whole_groups(splits.train, share, random)
    target = np.sort(random.permutation(len(part))[: max(1, round(share * len(part)))])
    streams = {**splits.streams, stream: part.take(target)}
    return dataclasses.replace(splits, train=splits.train.take(source), streams=streams)


@dataclass(frozen=True, eq=False)
class DomainFeatures:
    """The inputs of a network's last layer for both domains.

    source: float `[N, D]`, of train, with labels `[N]` and groups. target: `[M, D]`. test: `[T, D]`.
    """

    source: Floats
    labels: npt.NDArray[np.int64]
    groups: tuple[str, ...]
    target: Floats
    test: Floats


@dataclass(frozen=True, eq=False)
class SourceModel:
    """A trained model: all its weights, its last layer as a classifier of its features, and the features.

    seconds: of training and of computing the features.
    """

    weights: Weights
    head: Linear
    features: DomainFeatures
    seconds: float


def trained_model(
    recipe: Recipe, splits: Splits, *, stream: str, start: Weights | None = None, steps: Path | None = None,
    kept: Stage | None = None,
) -> SourceModel:  # fmt: skip
    """The recipe's model, trained by its phases, with its features of both domains.

    start: weights of a model that has been trained by all phases but the last; None to train by all. steps: a folder
    for checkpoints. kept: the stage that keeps the weights; if it has them, nothing trains.
    """
    started = time.perf_counter()
    built = new_model(recipe, splits)
    check_phases(recipe, built)
    before = None if kept is None else kept.kept()
    if before is not None:
        arrays = before.arrays["weights"]
        built.model.set_weights([arrays[str(place)] for place in range(len(arrays))])
    elif start is not None:
        built.model.set_weights(start)
        train(built, recipe, splits, steps=steps, trained=True, first=len(recipe.phases) - 1)
    else:
        train(built, recipe, splits, steps=steps)
    weights = built.model.get_weights()
    if kept is not None and before is None:
        kept.keep({}, weights={str(place): each for place, each in enumerate(weights)})
    features = domain_features(built, recipe.phases[-1], splits, stream=stream)
    of_scores, bias = (np.asarray(each, np.float64) for each in scores_layer(built).get_weights())
    head = Linear(of_scores, bias, C=1.0, kept=1.0, path=())
    return SourceModel(weights, head, features, time.perf_counter() - started)


def domain_features(built: Built, step: Step, splits: Splits, *, stream: str) -> DomainFeatures:
    """The features of train, target and test. step: the last that trained, whose frozen layers are computed once."""
    parts = [splits.train.examples, splits.streams[stream].examples, splits.test.examples]
    last = nodes([built.features], built.model.outputs)[-1]
    cut = find_cut(built, freeze.moving(step.trainable, built.backbone))
    if isinstance(cut, Uncut):
        inputs: Any = parts
        end = keras.Model(built.model.inputs, last.inputs)
    else:
        inputs = Encoder(built).activations(parts, cut)
        end = None if cut.tensors == tuple(last.inputs) else tail(built, cut, last.inputs)
    source, target, test = (_through(end, rows) for rows in inputs)
    return DomainFeatures(source, splits.train.labels, splits.train.groups, target, test)


def _through(end: Any, rows: Any) -> Floats:
    """The outputs of a model, or the rows themselves where there is no model, as float64 `[N, D]`."""
    rows = rows[np.arange(len(rows))]
    outputs = rows if end is None else end.predict(rows, batch_size=32, verbose=0)
    return np.asarray(outputs, np.float64)
