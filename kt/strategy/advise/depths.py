"""The features to probe: a backbone's frozen features at several depths, and simple features of the pixels."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import applications

from kt import backbones
from kt.backbones.preprocessing import PREPROCESSING_OF
from kt.backbones.sizes import natural_size
from kt.data.splits import Split, Splits, allocate, kind_of_pictures
from kt.errors import RecipeError, did_you_mean
from kt.heads import Classifier
from kt.kinds.pictures.kind import Pictures
from kt.recipe import ALL, LinearProbe, Recipe
from kt.strategy.depths import features_by_depth, worth_a_probe


@dataclass(frozen=True)
class Candidate:
    """A backbone to compare: its constructor, and its weights as `Recipe.weights` takes them.

    image_size: height and width of the pictures to give it; None for those of the splits.
    """

    constructor: Callable[..., Any]
    weights: str | None = "imagenet"
    image_size: tuple[int, int] | None = None


def pretrained(names: Sequence[str], *, natural: bool = False) -> dict[str, Candidate]:
    """Backbones of keras.applications and kt.backbones with ImageNet weights. Raises RecipeError for unknown names.

    natural: whether each gets pictures of the size that it was trained on, instead of those of the splits.
    """
    for name in names:
        if name not in PREPROCESSING_OF:
            raise RecipeError(f"No backbone {name!r}. {did_you_mean(name, PREPROCESSING_OF)}")
    constructors = {name: getattr(backbones if name in backbones.__all__ else applications, name) for name in names}
    sides = {name: natural_size(name) for name in names}
    return {
        name: Candidate(constructor, image_size=(sides[name], sides[name]) if natural else None)
        for name, constructor in constructors.items()
    }


def at_size(splits: Splits, image_size: tuple[int, int] | None) -> Splits:
    """The same pictures of train and validation at another size, read again from their files; test is left out.

    They are unchanged if they have this size, if it is None, and if they have no files to be read from, such as those
    of a zip.
    """
    parts = splits.train, splits.validation
    if image_size in (None, kind_of_pictures(splits).image_size) or any(part.files is None for part in parts):
        return splits
    kind = replace(kind_of_pictures(splits), image_size=image_size)
    none = splits.test.take(np.empty(0, np.int64))
    train, validation, test = (replace(part, examples=_again(part, kind)) for part in (*parts, none))
    return replace(splits, train=train, validation=validation, test=test, kind=kind)


def _again(part: Split, kind: Pictures) -> npt.NDArray[Any]:
    """The pictures of a part, read from its files as the kind says."""
    examples = allocate(len(part), kind.shape)
    with ThreadPoolExecutor(max_workers=4) as pool:
        for row, picture in enumerate(pool.map(kind.read, part.files or ())):
            examples[row] = picture
    return examples


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
