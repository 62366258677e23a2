"""The frozen backbone's features of train, validation and test, computed before training changes the backbone."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kt import freeze
from kt.base.console import say, warn
from kt.base.few import FEW
from kt.data.splits import Split, Splits
from kt.freeze import NOTHING
from kt.frozen.cut import Cut, Uncut, cuts_ahead, find_cut
from kt.frozen.encoder import Activations, Encoder
from kt.network.model import Built
from kt.recipe import Recipe

AT_MOST = 500
"""The largest number of training pictures that the learning curve uses; if there are more, this many are drawn."""

WIDEST = 12_500
"""The largest number of features a picture; with more, probes take too long."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Known:
    """Pictures that a probe learns from: their features `[N, D]`, labels `[N]` and groups `[N]`."""

    features: Floats
    labels: Ints
    groups: npt.NDArray[np.str_]

    def __getitem__(self, chosen: Ints) -> "Known":
        return Known(self.features[chosen], self.labels[chosen], self.groups[chosen])

    def __add__(self, other: "Known") -> "Known":
        return Known(
            np.concatenate([self.features, other.features]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.groups, other.groups]),
        )


def not_probed(built: Built, recipe: Recipe) -> str:
    """Why the frozen backbone's features are not probed; empty if they are."""
    first = freeze.moving(recipe.phases[0].trainable, built.backbone)
    if isinstance(find_cut(built, first), Uncut) and recipe.weights in (None, "none"):
        return "there are no pretrained weights, and nothing is frozen"
    cut = find_cut(built, NOTHING)
    if isinstance(cut, Uncut):
        return cut.reason
    width = cut.width if len(built.features.shape) == 2 else min(cut.width, int(built.features.shape[-1]))
    return f"{width:,} features a {built.nouns.one} are too many" if width > WIDEST else ""


def frozen_features(built: Built, recipe: Recipe, splits: Splits, *, test: Split) -> tuple[Known, Known, Known] | None:
    """The frozen backbone's features of train, validation and test, without augmentation; None if they can't be stored.

    test: a sample of the test split; it may be empty.

    The same pass computes the activations that training will use, unless the recipe augments pictures.
    """
    cut = find_cut(built, NOTHING)
    assert isinstance(cut, Cut)
    phases = [] if recipe.augment is not None else recipe.phases
    later = cuts_ahead(built, [freeze.moving(step.trainable, built.backbone) for step in phases])
    train, validation = drawn(splits.train, seed=recipe.seed, many=splits.kind.many), splits.validation
    try:
        activations = Encoder(built).activations(
            [train.examples, validation.examples, test.examples], cut, later_cuts=later,
            later_examples=len(splits.test) - len(test),
        )  # fmt: skip
    except OSError as error:
        warn(f"no learning curve: frozen outputs can't be stored: {error.strerror or error}")
        return None
    train_features, validation_features, test_features = activations
    return (
        _known(built, train_features, train),
        _known(built, validation_features, validation),
        _known(built, test_features, test),
    )


def _known(built: Built, inputs: Activations, part: Split) -> Known:
    """A split's features with their labels and groups."""
    return Known(pooled(built, inputs, len(part)), part.labels, np.asarray(part.groups))


def pooled(built: Built, inputs: Activations, number: int) -> Floats:
    """Features `[N, D]` of N examples from activations at the backbone's end; maps are averaged over their sides."""
    features, sides = inputs[np.arange(number)], built.features.shape[1:]
    if len(sides) > 1 and features.shape[1] == np.prod(sides):
        features = features.reshape(len(features), -1, sides[-1]).mean(axis=1)
    return np.asarray(features, np.float32)


def drawn(part: Split, *, seed: int, many: str) -> Split:
    """All pictures, or a random sample of `AT_MOST` if there are more. many: what a person calls them."""
    if len(part) <= AT_MOST:
        return part
    say(f"learning curve: from {AT_MOST:,} of {len(part):,} training {many}")
    return part.take(chosen(part.labels, seed=seed))


def chosen(labels: Ints, *, seed: int) -> Ints:
    """The places of the sample of `drawn`: up to `FEW` pictures of each class, else in the classes' proportions."""
    if len(labels) <= AT_MOST:
        return np.arange(len(labels))
    ranks = np.empty(len(labels))
    for label, size in enumerate(np.bincount(labels)):
        ranks[labels == label] = np.maximum(np.random.default_rng([seed, label]).permutation(size) - FEW, 0) / size
    return np.sort(np.argsort(ranks, kind="stable")[:AT_MOST])  # `FEW` of each class first, the rest in proportion
