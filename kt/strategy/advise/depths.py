"""Frozen features of the pictures at several depths of a backbone, all in one pass; and what is plain without one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import applications

from kt import backbones, freeze
from kt.backbones.build import build as build_backbone
from kt.backbones.preprocessing import PREPROCESSING_OF
from kt.data.splits import Splits
from kt.errors import RecipeError, did_you_mean
from kt.features.engine import Engine
from kt.graph import is_functional
from kt.heads import Classifier
from kt.model import build
from kt.probe import by_depth
from kt.recipe import LinearProbe, Recipe
from kt.train import seed_everything

STAGES = 6
"""Depths that are probed, at most."""


@dataclass(frozen=True)
class Candidate:
    """A backbone to compare: its constructor, and its weights as `Recipe.weights` takes them."""

    constructor: Callable[..., Any]
    weights: str | None = "imagenet"


def pretrained(names: Sequence[str]) -> dict[str, Candidate]:
    """Backbones of keras.applications and kt.backbones by their names, with ImageNet weights; else RecipeError."""
    for name in names:
        if name not in PREPROCESSING_OF:
            raise RecipeError(f"No backbone {name!r}. {did_you_mean(name, PREPROCESSING_OF)}")
    return {name: Candidate(getattr(backbones if name in backbones.__all__ else applications, name)) for name in names}


@dataclass(frozen=True)
class Depth:
    """Features of all measured pictures: name of the block, its place from 0 (pixels) to 1 (top), rows `[N, D]`."""

    name: str
    place: float | None
    rows: npt.NDArray[Any]


def frozen_features(candidate: Candidate, splits: Splits, *, seed: int) -> list[Depth]:
    """Pooled frozen features of train and validation at several depths and all of them together, in one pass."""
    seed_everything(seed)  # a recipe may ask for random weights
    places = stages(build_backbone(candidate.constructor, None, image_size=splits.image_size).model)
    recipe = Recipe(
        data=lambda: splits,
        backbone=candidate.constructor,
        weights=candidate.weights,
        head=Classifier(dropout=0.0),
        phases=[LinearProbe(features=[*places, "top"])],
        export=[],
    )
    built = build(recipe, image_size=splits.image_size, num_classes=len(splits.classes))
    recipe.phases[0].trainable(built.backbone)
    work = Engine(built, recipe, splits).work(0)
    rows = np.concatenate([np.asarray(part[np.arange(len(part))]) for part in (work.train, work.validation)])
    if not built.taps:  # the top alone
        return [Depth("top", 1.0, rows)]
    each = [Depth(name, places.get(name, 1.0), part) for name, part in by_depth(rows, built.taps).items()]
    return [*each, Depth("several", None, rows)]


def stages(backbone: Any) -> dict[str, float]:
    """The depths below the top that are worth a probe: blocks by name, each with its place from 0 to 1.

    They are the last block of each stretch of one shape, without the stem, which sees edges and colours; at most
    `STAGES`, evenly spaced. A backbone that is not functional has none.
    """
    if not is_functional(backbone):
        return {}
    order = freeze.blocks(backbone)
    shapes = [tuple(block.layers[-1].output.shape[1:]) for block in order]
    ends = [index for index in range(1, len(order) - 1) if shapes[index] != shapes[index + 1]]
    if len(ends) > STAGES:
        ends = [ends[round(place)] for place in np.linspace(0, len(ends) - 1, STAGES)]
    return {order[index].name: round((index + 1) / len(order), 2) for index in ends}


def of_pixels(splits: Splits) -> Depth:
    """What is plain to see without a network: the shares of 4 x 4 x 4 colours, rooted, and an 8 x 8 thumbnail."""
    height, width = (side - side % 8 for side in splits.image_size)
    rows = []
    for picture in chain(splits.train.pixels, splits.validation.pixels):
        colours = (picture // 64).reshape(-1, 3).astype(np.int64) @ (16, 4, 1)
        shares = np.bincount(colours, minlength=64) / len(colours)
        cells = picture[:height, :width].reshape(8, height // 8, 8, width // 8, 3).mean(axis=(1, 3))
        rows.append(np.concatenate([np.sqrt(shares), cells.ravel() / 255]))
    return Depth("pixels", 0.0, np.array(rows))
