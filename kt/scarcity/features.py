"""What the frozen backbone gives for the pictures that may be learned from, before training moves it."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kt.console import say
from kt.data.splits import Split, Splits
from kt.features.cut import Uncut, find_border
from kt.features.engine import Engine, Inputs
from kt.freeze import frozen
from kt.model import Built
from kt.recipe import Phase, Recipe
from kt.scarcity.counts import FEW

AT_MOST = 500
"""Training pictures that the learning curve is drawn from; of more, so many are taken."""

WIDEST = 12_500
"""Features of a picture past which probes take too long."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Known:
    """Pictures that a probe learns from: features `[N, D]`, labels `[N]`, and the thing that each shows, `[N]`."""

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
    """Why the frozen backbone's features are not asked for; empty where they are."""
    recipe.phases[0].trainable(built.backbone)
    if isinstance(find_border(built), Uncut) and recipe.weights in (None, "none"):
        return "there are no pretrained weights, and nothing is frozen"
    frozen(built.backbone)
    border = find_border(built)
    if isinstance(border, Uncut):
        return border.reason
    width = border.width if len(built.features.shape) == 2 else min(border.width, int(built.features.shape[-1]))
    return f"{width:,} features a picture are too many" if width > WIDEST else ""


def frozen_features(built: Built, recipe: Recipe, splits: Splits) -> tuple[Known, Known] | None:
    """What the frozen backbone gives for the plain pictures of train and validation; None where it can't be kept.

    The same pass stores what training will start from; where pictures are augmented, that is something else.
    """
    name = "_".join(["features", *(phase.name for phase in recipe.phases)])  # no phase has this one
    first = Phase(name, trainable=frozen, epochs=1, lr=1e-3)
    phases = [first, *recipe.phases] if recipe.augment is None else [first]
    frozen(built.backbone)
    sample = replace(splits, train=drawn(splits.train, seed=recipe.seed))
    work = Engine(built, replace(recipe, augment=None, phases=phases), sample).work(0)
    frozen(built.backbone)
    if work.inputs == "pixels":  # the engine has said why
        return None
    return _known(built, work.train, sample.train), _known(built, work.validation, sample.validation)


def _known(built: Built, inputs: Inputs, part: Split) -> Known:
    """Rows with their labels and groups; maps are averaged over their places."""
    rows, sides = inputs[np.arange(len(part))], built.features.shape[1:]
    if len(sides) > 1 and rows.shape[1] == np.prod(sides):
        rows = rows.reshape(len(rows), -1, sides[-1]).mean(axis=1)
    return Known(rows, part.labels, np.asarray(part.groups))


def drawn(part: Split, *, seed: int) -> Split:
    """All pictures, or of very many as many as probes learn from, by chance."""
    if len(part) <= AT_MOST:
        return part
    say(f"learning curve: from {AT_MOST:,} of {len(part):,} training pictures")
    ranks = np.empty(len(part))
    for label, size in enumerate(np.bincount(part.labels)):
        ranks[part.labels == label] = np.maximum(np.random.default_rng([seed, label]).permutation(size) - FEW, 0) / size
    chosen = np.sort(np.argsort(ranks, kind="stable")[:AT_MOST])  # of a rare class the first 20, then by shares
    return part.take(chosen)
