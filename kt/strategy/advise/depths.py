"""The features to probe: a backbone's frozen features at several depths, and simple features of the pixels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import applications

from kt import backbones
from kt.backbones.preprocessing import PREPROCESSING_OF
from kt.data.splits import Splits, kind_of_pictures
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
    """Backbones of keras.applications and kt.backbones with ImageNet weights. Raises RecipeError for unknown names."""
    for name in names:
        if name not in PREPROCESSING_OF:
            raise RecipeError(f"No backbone {name!r}. {did_you_mean(name, PREPROCESSING_OF)}")
    return {name: Candidate(getattr(backbones if name in backbones.__all__ else applications, name)) for name in names}


@dataclass(frozen=True)
class DepthFeatures:
    """Features of a depth for all measured pictures.

    place: of the depth, from 0 (pixels) to 1 (top); None for all depths together. rows: the features, `[N, D]`.
    """

    name: str
    place: float | None
    rows: npt.NDArray[Any]


def depth_features(candidate: Candidate, splits: Splits, *, seed: int) -> list[DepthFeatures]:
    """Pooled frozen features of train and validation: at several depths, lowest first, and of all depths together."""
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
    depths = [
        DepthFeatures(name, round((order.index(name) + 1) / len(order), 2), rows[name]) for name in worth_a_probe(order)
    ]
    return [*depths, DepthFeatures(ALL, None, rows[ALL])] if ALL in rows else depths


def of_pixels(splits: Splits) -> DepthFeatures:
    """Features without a network: the square roots of the shares of 4 x 4 x 4 colours, and an 8 x 8 thumbnail."""
    height, width = (side - side % 8 for side in kind_of_pictures(splits).image_size)
    rows = []
    for picture in chain(splits.train.examples, splits.validation.examples):
        colours = (picture // 64).reshape(-1, 3).astype(np.int64) @ (16, 4, 1)
        shares = np.bincount(colours, minlength=64) / len(colours)
        cells = picture[:height, :width].reshape(8, height // 8, 8, width // 8, 3).mean(axis=(1, 3))
        rows.append(np.concatenate([np.sqrt(shares), cells.ravel() / 255]))
    return DepthFeatures("pixels", 0.0, np.array(rows))
