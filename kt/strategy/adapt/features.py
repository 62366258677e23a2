"""What a candidate learns from: features of both domains from one network, and the part of them that a seed draws."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt import freeze
from kt.data.splits import Splits
from kt.frozen.cut import Uncut, find_cut, tail
from kt.frozen.encoder import Encoder
from kt.graph import nodes
from kt.linear.space import Floats
from kt.network.model import Built
from kt.recipe import Step
from kt.strategy.depths import in_whole_groups

SHARE = 0.8
"""The share of the source and of the target that each seed draws."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Draw:
    """The examples that a seed draws: indices of train, and of the target."""

    source: Ints
    target: Ints


def draw(splits: Splits, stream: str, *, seed: int, share: float = SHARE) -> Draw:
    """A share of train, by class and in whole groups, and a share of the target.

    Methods on features hardly depend on a seed, so two fits to the same examples would show nothing of chance.
    """
    random = np.random.default_rng(seed)
    return Draw(in_whole_groups(splits.train, share, random), _some(len(splits.streams[stream]), share, random))


def _some(count: int, share: float, random: np.random.Generator) -> Ints:
    return np.sort(random.permutation(count)[: max(1, round(share * count))])


@dataclass(frozen=True, eq=False)
class DomainFeatures:
    """The inputs of a network's last layer for both domains.

    source: float `[N, D]`, of train, with labels `[N]` and groups. target: `[M, D]`. test: `[T, D]`.
    """

    source: Floats
    labels: Ints
    groups: tuple[str, ...]
    target: Floats
    test: Floats

    def drawn(self, by: Draw) -> "DomainFeatures":
        """The features of the drawn examples; test stays whole."""
        groups = tuple(self.groups[place] for place in by.source)
        return DomainFeatures(self.source[by.source], self.labels[by.source], groups, self.target[by.target], self.test)


def domain_features(built: Built, step: Step, splits: Splits, *, stream: str, encoder: Encoder) -> DomainFeatures:
    """The features of train, target and test. step: the last one that trained, whose frozen layers are computed once.

    encoder: of this model; it computes no layer again that has not changed since it was last asked.
    """
    parts = [splits.train.examples, splits.streams[stream].examples, splits.test.examples]
    last = nodes([built.features], built.model.outputs)[-1]
    cut = find_cut(built, freeze.moving(step.trainable, built.backbone))
    if isinstance(cut, Uncut):
        inputs: Any = parts
        end = keras.Model(built.model.inputs, last.inputs)
    else:
        inputs = encoder.activations(parts, cut)
        end = None if cut.tensors == tuple(last.inputs) else tail(built, cut, last.inputs)
    source, target, test = (_through(end, rows) for rows in inputs)
    return DomainFeatures(source, splits.train.labels, splits.train.groups, target, test)


def _through(end: Any, rows: Any) -> Floats:
    """The outputs of a model, or the rows themselves where there is no model, as float64 `[N, D]`."""
    rows = rows[np.arange(len(rows))]
    outputs = rows if end is None else end.predict(rows, batch_size=32, verbose=0)
    return np.asarray(outputs, np.float64)
