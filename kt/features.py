"""Frozen work, done once: while the whole backbone is frozen, its features for a picture never change.

Such a phase trains the head on features that were computed once; the head's layers are the model's own, so the whole
model is trained when the phase ends. A phase that augments pictures, or trains part of the backbone, takes the
ordinary way.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt.console import progress_bar, say
from kt.data.splits import Pixels, Splits
from kt.freeze import leaves
from kt.model import Built

MEMORY_BUDGET = 2 * 2**30
"""Bytes of features that are held; a head without pooling on large feature maps trains the ordinary way instead."""


@dataclass(frozen=True)
class Work:
    """What a phase trains, and on what: the whole model on pixels, or its head on features. Arrays are `[N, ...]`."""

    model: Any
    train: npt.NDArray[Any]
    validation: npt.NDArray[Any]


def prepare(built: Built, splits: Splits, *, augmented: bool) -> Work:
    """The cheapest work that trains the same: on features where the backbone is wholly frozen, else on pixels."""
    whole = Work(built.model, splits.train.pixels, splits.validation.pixels)
    if augmented or any(leaf.trainable_weights for leaf in leaves(built.backbone)):
        return whole
    border = _border(built)
    pictures = len(splits.train) + len(splits.validation)
    if pictures * int(np.prod(border.shape[1:])) * 4 > MEMORY_BUDGET:
        return whole
    encoder = keras.Model(built.model.inputs, border, name="frozen")
    head = keras.Model(border, built.model.outputs, name="head")
    say(f"the backbone is frozen: its features of {pictures:,} pictures are computed once")
    with progress_bar("features", pictures) as bar:
        train, validation = (
            encode(encoder, part.pixels, bar, batch_size=splits.batch_size)
            for part in (splits.train, splits.validation)
        )
    return Work(head, train, validation)


def _border(built: Built) -> Any:
    """The tensor to cut at: after a pooling layer that stands on the backbone, else the backbone's own output."""
    features = built.features
    for layer in built.model.layers:
        if isinstance(layer, keras.layers.GlobalAveragePooling2D) and layer.input is features:
            return layer.output
    return features


def encode(encoder: Any, pixels: Pixels, bar: Any, *, batch_size: int) -> npt.NDArray[np.float32]:
    """The encoder's outputs float32 `[N, ...]` for pictures, in inference mode."""
    found = np.empty((len(pixels), *encoder.output_shape[1:]), np.float32)
    for start in range(0, len(pixels), batch_size):
        batch = pixels[start : start + batch_size]
        found[start : start + len(batch)] = encoder.predict_on_batch(batch)
        bar.advance(len(batch))
    return found
