"""Frozen work, done once: what stands before the first layer that trains gives the same for a picture in every epoch.

A phase computes it once and trains what follows on it: the head alone where the whole backbone is frozen, else the
backbone's last blocks and the head. Their layers are the model's own, so the whole model is trained as the phase ends.
A phase that augments pictures, or trains the backbone from its first block on, takes the ordinary way.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt.console import progress_bar, say
from kt.data.splits import Pixels, Splits
from kt.freeze import frozen_until, leaves
from kt.model import Built

MEMORY_BUDGET = 2 * 2**30
"""Bytes of frozen outputs that are held; where they would take more, the phase trains the ordinary way instead."""


@dataclass(frozen=True)
class Work:
    """What a phase trains, and on what: the whole model on pixels, or its end on frozen outputs. Arrays `[N, ...]`."""

    model: Any
    train: npt.NDArray[Any]
    validation: npt.NDArray[Any]


def prepare(built: Built, splits: Splits, *, augmented: bool) -> Work:
    """The cheapest work that trains the same: on what the frozen layers give where there are any, else on pixels."""
    whole = Work(built.model, splits.train.pixels, splits.validation.pixels)
    parts = None if augmented else _cut(built)
    if parts is None:
        return whole
    encoder, rest = parts
    pictures = len(splits.train) + len(splits.validation)
    size = pictures * int(np.prod(encoder.output_shape[1:])) * 4
    if size > MEMORY_BUDGET:
        say(f"the frozen layers' outputs would take {size / 2**30:.1f} GiB; every epoch computes them anew")
        return whole
    say(f"frozen layers give the same in every epoch: computed once for {pictures:,} pictures ({size / 1e6:.0f} MB)")
    with progress_bar("frozen layers", pictures) as bar:
        train, validation = (
            encode(encoder, part.pixels, bar, batch_size=splits.batch_size)
            for part in (splits.train, splits.validation)
        )
    return Work(rest, train, validation)


def _cut(built: Built) -> tuple[Any, Any] | None:
    """The model in two: from pixels to the last frozen tensor, and on to the scores. None where nothing is frozen."""
    if not any(leaf.trainable_weights for leaf in leaves(built.backbone)):
        border = _pooled(built)
        return keras.Model(built.model.input, border), keras.Model(border, built.model.output)
    border = frozen_until(built.backbone)
    if border is None:
        return None
    backbone, head = built.backbone, keras.Model(built.features, built.model.output)
    first, last = keras.Model(backbone.input, border), keras.Model(border, backbone.output)
    inputs = keras.Input(border.shape[1:], dtype=border.dtype)
    return keras.Model(built.model.input, first(built.prepared)), keras.Model(inputs, head(last(inputs)))


def _pooled(built: Built) -> Any:
    """The head's first tensor to keep: after a pooling layer that stands on the backbone, else the features."""
    for layer in built.model.layers:
        if isinstance(layer, keras.layers.GlobalAveragePooling2D) and layer.input is built.features:
            return layer.output
    return built.features


def encode(encoder: Any, pixels: Pixels, bar: Any, *, batch_size: int) -> npt.NDArray[np.float32]:
    """The encoder's outputs float32 `[N, ...]` for pictures, in inference mode."""
    found = np.empty((len(pixels), *encoder.output_shape[1:]), np.float32)
    for start in range(0, len(pixels), batch_size):
        batch = pixels[start : start + batch_size]
        found[start : start + len(batch)] = encoder.predict_on_batch(batch)
        bar.advance(len(batch))
    return found
