"""A recipe tried out on nothing: its network is built without weights, and each of its functions is called once.

So a mistake in it is told before any picture is read, and as the recipe's: never as one of kt.
"""

import dataclasses
import difflib
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kt.augment import FeatureAugmentation, Views, in_graph
from kt.backbones.build import known_name
from kt.backbones.preprocessing import AS_THEY_ARE
from kt.errors import KtError, RecipeError, WeightsError, in_users_code, one_line
from kt.model import Built, build
from kt.recipe import Phase, Recipe
from kt.train import check_phases, compile_for

CLASSES = 3
"""A head is built for so many classes while the real number is not known."""

HIGHEST_LR = 1.0
"""Adam diverges far below; an optimizer of the recipe's own may want more, up to what `Phase` takes."""


def check(recipe: Recipe) -> None:
    """Raise RecipeError, or WeightsError for a file that is not there, for what can't train whatever the pictures show.

    A source that does not say its `image_size` leaves the network untried.
    """
    _check_weights(recipe)
    for phase in recipe.phases:
        if isinstance(phase, Phase) and phase.optimizer is None and phase.lr > HIGHEST_LR:
            raise RecipeError(
                f"Phase {phase.name!r}: lr={phase.lr:g} is far too high for Adam; 1e-3 is usual for a head, and 1e-5 "
                "to 1e-4 for blocks of the backbone."
            )
    size = getattr(recipe.data, "image_size", None)
    if not (isinstance(size, tuple) and len(size) == 2 and all(isinstance(side, int) for side in size)):
        return
    built = _built(recipe, size)
    with _part("trainable or layer_rates"):
        check_phases(recipe, built)
    for phase in recipe.phases:
        if isinstance(phase, Phase):
            with _part(f"optimizer or schedule of phase {phase.name!r}"):
                compile_for(built.model, recipe, phase, steps=10, backbone=built.backbone)
    _check_head(recipe.head)
    _check_augment(recipe.augment, size)


@contextmanager
def _part(name: str) -> Iterator[None]:
    """What fails within is a mistake in this part of the recipe."""
    try:
        yield
    except KtError:
        raise
    except Exception as error:
        if os.environ.get("KT_TRACEBACK", "0") not in ("", "0"):
            raise
        told = in_users_code(error) or f"{type(error).__name__}: {one_line(error)[:300]}"
        raise RecipeError(f"Recipe: {name} fails: {told}") from None


def _check_weights(recipe: Recipe) -> None:
    """A file, or the folder of a SavedModel; one's own backbone may have other names, but none so near to imagenet."""
    weights = recipe.weights
    if weights in (None, "none", "None", "imagenet"):
        return
    if known_name(recipe.backbone) is None and not difflib.get_close_matches(str(weights), ["imagenet"], cutoff=0.8):
        return
    if not Path(str(weights)).expanduser().exists():
        raise WeightsError(f"weights={weights!r} is neither 'imagenet' nor 'none' nor a file that exists.")


def _built(recipe: Recipe, size: tuple[int, int]) -> Built:
    """The network with random weights; what an own backbone is fed is said when it is built in earnest."""
    backbone = recipe.backbone
    inner = backbone.func if isinstance(backbone, functools.partial) else backbone
    if (
        known_name(backbone) is None
        and getattr(backbone, "preprocessing", getattr(inner, "preprocessing", None)) is None
    ):
        quiet: Any = functools.partial(backbone)
        quiet.preprocessing = AS_THEY_ARE
        backbone = quiet
    with _part(f"backbone or head, for pictures of {size[0]}x{size[1]} pixels,"):
        return build(
            dataclasses.replace(recipe, backbone=backbone, weights="none"), image_size=size, num_classes=CLASSES
        )


def _check_head(head: Any) -> None:
    labels = keras.ops.one_hot(np.array([0, 1]), CLASSES)
    scores = keras.ops.full((2, CLASSES), 1 / CLASSES)
    with _part("the head's loss"):
        loss = float(keras.ops.convert_to_numpy(keras.ops.mean(head.loss()(labels, scores))))
        if not np.isfinite(loss):
            raise RecipeError(f"Recipe: the head's loss gives {loss} for even scores; expected a number.")
    with _part("the head's metrics"):
        for metric in head.metrics():
            metric.update_state(labels, scores)


def _check_augment(augment: Callable[[Any], Any] | None, size: tuple[int, int]) -> None:
    """Try it as training will: in a graph of TensorFlow, on two pictures of noise."""
    if augment is None or isinstance(augment, FeatureAugmentation):
        return
    import tensorflow as tf

    function = augment.augment if isinstance(augment, Views) else augment
    noise = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    with _part("augment"):
        pictures = tf.data.Dataset.from_tensors(noise).map(lambda pixels: in_graph(function, pixels))
        next(iter(pictures))
