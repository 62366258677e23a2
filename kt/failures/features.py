"""Features of a run's examples after training: as the pretrained backbone sees them, and as the trained model does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt import freeze
from kt.base.stages import digest_of
from kt.freeze import NOTHING
from kt.frozen.cut import Uncut, find_cut
from kt.frozen.encoder import Encoder
from kt.graph import last_input
from kt.learnability.features import pooled
from kt.network.model import Built, build, predict
from kt.recipe import AdaptiveBatchNorm, Recipe

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Networks:
    """The trained model, and the network as it was before training.

    model: the trained one in float32. trained: it with its parts. before: the network with its pretrained weights; the
    trained one itself if its backbone never changed; None if there were no pretrained weights.
    """

    model: Any
    trained: Built
    before: Built | None

    @property
    def moved(self) -> bool:
        """Whether training changed the backbone."""
        return self.before is not self.trained


def networks(recipe: Recipe, trained: Built, model: Any) -> Networks:
    """Build the network as it was before training, if training changed the backbone and it had pretrained weights.

    A constructor of one's own may draw random weights whatever it is given; then two networks of it differ.
    """
    if not _trains(recipe, trained):
        return Networks(model, trained, trained)
    origin = trained.pretrained.source.origin
    if origin == "none (random)" or trained.kind is None:
        return Networks(model, trained, None)
    tries = [
        build(recipe, kind=trained.kind, num_classes=int(model.output_shape[-1]))
        for _ in range(2 if origin == "constructor" else 1)
    ]
    known = len({digest_of(each.backbone.get_weights()) for each in tries}) == 1
    return Networks(model, trained, tries[0] if known else None)


def _trains(recipe: Recipe, built: Built) -> bool:
    return any(
        isinstance(step, AdaptiveBatchNorm) or freeze.moving(step.trainable, built.backbone).weights
        for step in recipe.phases
    )


def frozen(built: Built, parts: Sequence[npt.NDArray[Any]], *, cached: bool) -> list[Rows]:
    """Features `[N, D]` at the backbone's end for each part's examples. cached: take those that a run has kept."""
    cut = find_cut(built, NOTHING)
    if cached and not isinstance(cut, Uncut):
        try:
            activations = Encoder(built).activations(parts, cut)
        except OSError:  # no room to keep them
            pass
        else:
            return [pooled(built, own, len(part)) for own, part in zip(activations, parts, strict=True)]
    model = keras.Model(built.model.input, built.features)
    return [_flat(predict(model, part)) for part in parts]


def last(model: Any, examples: npt.NDArray[Any]) -> Rows | None:
    """The inputs `[N, D]` of the model's last layer with weights; None if no layer's input can stand for an example."""
    tensor = last_input(model)
    return None if tensor is None else _flat(predict(keras.Model(model.inputs, tensor), examples))


def _flat(rows: npt.NDArray[Any]) -> Rows:
    """Rows `[N, D]`; maps are averaged over their sides."""
    return np.asarray(rows if rows.ndim < 3 else rows.mean(axis=tuple(range(1, rows.ndim - 1))), np.float32)
