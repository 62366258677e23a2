"""Trying a recipe without data: its network is built with random weights, and each of its functions is called once.

So a mistake in a recipe is reported before any picture is read, and as a mistake of the recipe, not of kt.
"""

import dataclasses
import difflib
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kt.backbones.build import known_name
from kt.backbones.preprocessing import AS_THEY_ARE
from kt.errors import KtError, RecipeError, WeightsError, in_users_code, one_line
from kt.kinds.pictures.kind import Pictures
from kt.network.model import Built, build
from kt.parts.augment import in_graph, plan_of
from kt.recipe import Phase, Recipe
from kt.training import check_phases, compile_for

CLASSES = 3
"""The number of classes that the head is built for, since the real number is not yet known."""

HIGHEST_LR = 1.0
"""The highest rate for Adam, which diverges far below it. A recipe's own optimizer may take what `Phase` allows."""


def rehearse(recipe: Recipe) -> None:
    """Raise RecipeError for a recipe that can't train on any pictures, WeightsError for a missing weights file.

    If the data source does not say its `image_size`, the network is not tried.
    """
    _check_weights(recipe)
    plan_of(recipe.augment)
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
    _check_augment(recipe, size)


@contextmanager
def _part(name: str) -> Iterator[None]:
    """Within it, an error is reported as a mistake in this part of the recipe."""
    try:
        yield
    except KtError:
        raise
    except Exception as error:
        if os.environ.get("KT_TRACEBACK", "0") not in ("", "0"):
            raise
        reason = in_users_code(error) or f"{type(error).__name__}: {one_line(error)[:300]}"
        raise RecipeError(f"Recipe: {name} fails: {reason}") from None


def _check_weights(recipe: Recipe) -> None:
    """Raise WeightsError for weights that are neither a known name nor an existing file or folder.

    A recipe's own backbone may take other names, but a name close to "imagenet" is taken for a typing error.
    """
    weights = recipe.weights
    if weights in (None, "none", "None", "imagenet"):
        return
    if known_name(recipe.backbone) is None and not difflib.get_close_matches(str(weights), ["imagenet"], cutoff=0.8):
        return
    if not Path(str(weights)).expanduser().exists():
        raise WeightsError(f"weights={weights!r} is neither 'imagenet' nor 'none' nor a file that exists.")


def _built(recipe: Recipe, size: tuple[int, int]) -> Built:
    """The network with random weights. How a recipe's own backbone preprocesses is reported when the run builds it."""
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
            dataclasses.replace(recipe, backbone=backbone, weights="none"), kind=Pictures(size), num_classes=CLASSES
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


def _check_augment(recipe: Recipe, size: tuple[int, int]) -> None:
    """Call the augmentation as training will: in a TensorFlow graph, on two pictures of noise and their labels."""
    plan = plan_of(recipe.augment)
    functions = [*([plan.views] if plan.views else []), *plan.each_epoch]
    if not functions:
        return
    import tensorflow as tf

    noise = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    batch = noise, np.eye(CLASSES, dtype=np.float32)[:2], np.ones(2, np.float32)
    with _part("augment"):
        pictures = tf.data.Dataset.from_tensors(batch).map(
            lambda pixels, labels, weights: in_graph(functions, pixels, labels, weights, seed=(0, 0))
        )
        _, labels, weights = next(iter(pictures))
        if labels.shape != (2, CLASSES) or weights.shape != (2,):
            raise RecipeError(
                f"Recipe: augment gives labels of shape {tuple(labels.shape)} and weights of shape "
                f"{tuple(weights.shape)} for two pictures of {CLASSES} classes; expected (2, {CLASSES}) and (2,)."
            )
