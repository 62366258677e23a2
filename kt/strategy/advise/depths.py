"""What is probed: frozen features of a backbone at several depths, and what is plain to see without one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import applications

from kt import backbones
from kt.backbones.preprocessing import PREPROCESSING_OF
from kt.data.splits import Splits
from kt.errors import RecipeError, did_you_mean
from kt.heads import Classifier
from kt.recipe import ALL, LinearProbe, Recipe
from kt.strategy.depths import features_by_depth, worth_a_probe


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
    """Features of all measured pictures: name of the depth, its place from 0 (pixels) to 1 (top), rows `[N, D]`."""

    name: str
    place: float | None
    rows: npt.NDArray[Any]


def frozen_features(candidate: Candidate, splits: Splits, *, seed: int) -> list[Depth]:
    """Pooled frozen features of train and validation: at some depths, lowest first, and all of them together."""
    recipe = Recipe(
        data=lambda: splits,
        backbone=candidate.constructor,
        weights=candidate.weights,
        head=Classifier(dropout=0.0),
        phases=[LinearProbe()],
        seed=seed,
        export=[],
    )
    rows = features_by_depth(recipe, splits)
    order = [name for name in rows if name != ALL]
    depths = [Depth(name, round((order.index(name) + 1) / len(order), 2), rows[name]) for name in worth_a_probe(order)]
    return [*depths, Depth(ALL, None, rows[ALL])] if ALL in rows else depths


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
