"""The features of a model's unmoved part: what no phase has trained, so that no training can have narrowed them."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt import freeze
from kt.familiar import FROZEN, OWN, PREFIX, FeaturePlace
from kt.freeze import NOTHING, Moving
from kt.frozen.cut import Uncut, find_cut
from kt.frozen.encode import BATCH, by_backend
from kt.frozen.encoder import Encoder, Examples
from kt.graph import TAP, Node, is_functional, last_input, nodes
from kt.network.model import Built
from kt.recipe import Recipe


class Unmoved:
    """Gives the features of a trained model's unmoved part, float32 `[N, D]`; maps are averaged over positions.

    model: the trained one in float32. cached: whether the cache of activations may be used, where the layers before the
    place are those of `built`. kept: the name of the phase whose weights the model has; what later ones trained was
    thrown away. place: where the features are; None if the model has none.
    """

    def __init__(
        self, built: Built, model: Any, recipe: Recipe, *, kept: str | None = None, cached: bool = True
    ) -> None:  # fmt: skip
        self._model, self._encoder = model, Encoder(built)
        moving = _moved(recipe, built, kept=kept)
        cut, tensor = find_cut(built, moving), last_input(built.model)
        pretrained = recipe.weights not in (None, "none")
        self.place: FeaturePlace | None = None
        self._cut = None
        if not isinstance(cut, Uncut) and (pretrained or not moving.layers):
            # Of the features of several depths those of the top alone: they tell better (benchmarks/README.md).
            top = built.taps[-1][1] if cut.in_head and len(built.taps) > 1 else None
            part = FROZEN if cut.in_head else PREFIX
            self._used = [place for place, tensor in enumerate(cut.tensors) if not _name(tensor).startswith(TAP)]
            self._used = self._used or [*range(len(cut.tensors))]
            chosen = [cut.tensors[place] for place in self._used]
            self.place = _place(built, part, chosen, inside=not cut.in_head, last=top)
            self._cut = cut if cached and model is built.model else None
        elif tensor is not None:
            self.place = _place(built, OWN, (tensor,), inside=False, last=None)

    def __call__(self, parts: Sequence[Examples]) -> list[npt.NDArray[np.float32]]:
        """The features of each part's examples; there is at least one in each."""
        assert self.place is not None
        if self._cut is not None:
            tensors = [self._cut.tensors[place] for place in self._used]
            rows = [np.asarray(row[np.arange(len(row))]) for row in self._encoder.activations(parts, self._cut)]
            split = [np.split(row, np.cumsum(self._cut.sizes)[:-1], axis=1) for row in rows]
            each = [[columns[place] for place in self._used] for columns in split]
        else:
            at_place = feature_model(self._model, self.place)
            tensors, compute = at_place.outputs, by_backend(at_place)
            each = [_in_batches(compute, part) for part in parts]
        shapes = [tensor.shape[1:] for tensor in tensors]
        return [_joined(columns, shapes)[:, -self.place.last :] for columns in each]


def _joined(columns: Sequence[npt.NDArray[Any]], shapes: Sequence[tuple[int, ...]]) -> npt.NDArray[np.float32]:
    """Flat activations of each tensor, averaged over positions, side by side."""
    own = [
        values.reshape(len(values), -1, shape[-1]).mean(axis=1) for values, shape in zip(columns, shapes, strict=True)
    ]
    return np.concatenate(own, axis=1).astype(np.float32)


def _in_batches(compute: Any, examples: Any) -> list[npt.NDArray[np.float32]]:
    answers = [compute(examples[start : start + BATCH]) for start in range(0, len(examples), BATCH)]
    return [np.concatenate(output) for output in zip(*answers, strict=True)]


def tensors_at(model: Any, place: FeaturePlace) -> tuple[Node | None, list[Any]]:
    """The tensors at a place of a model, and the call of the layer in whose graph they are; None for its own graph.

    Raises LookupError if the model has no such place.
    """
    order = nodes(model.inputs, model.outputs)
    call = None
    if place.backbone is not None:
        call = next((node for node in order if node.operation.name == place.backbone), None)
        if call is None or not is_functional(call.operation):
            raise LookupError(f"the model has no part {place.backbone!r}")
        order = nodes(call.operation.inputs, call.operation.outputs)
    if any(number >= len(order) or output >= len(order[number].outputs) for number, output in place.tensors):
        raise LookupError(f"the model has no layers {', '.join(place.layers)}")
    return call, [order[number].outputs[output] for number, output in place.tensors]


def feature_model(model: Any, place: FeaturePlace) -> Any:
    """The model from examples to the tensors at a place, by the same layers."""
    call, tensors = tensors_at(model, place)
    if call is None:
        return keras.Model(model.inputs, tensors)
    given = call.inputs[0] if len(call.inputs) == 1 else list(call.inputs)
    return keras.Model(model.inputs, keras.tree.flatten(keras.Model(call.operation.inputs, tensors)(given)))


def _moved(recipe: Recipe, built: Built, *, kept: str | None) -> Moving:
    """What moved of the backbone in any phase up to that whose weights were kept."""
    names = [step.name for step in recipe.phases]
    phases = recipe.phases[: names.index(kept) + 1] if kept in names else recipe.phases
    each = [freeze.moving(step.trainable, built.backbone) for step in phases]
    return Moving(
        NOTHING.layers.union(*(one.layers for one in each)), NOTHING.weights.union(*(one.weights for one in each))
    )


def _place(built: Built, part: str, tensors: Sequence[Any], *, inside: bool, last: int | None) -> FeaturePlace:
    graph = built.backbone if inside else built.model
    made = {
        id(tensor): (number, output)
        for number, node in enumerate(nodes(graph.inputs, graph.outputs))
        for output, tensor in enumerate(node.outputs)
    }
    width = sum(int(tensor.shape[-1]) for tensor in tensors)
    return FeaturePlace(
        part,
        str(built.backbone.name) if inside else None,
        tuple(made[id(tensor)] for tensor in tensors),
        min(last or width, width),
        tuple(map(_name, tensors)),
    )


def _name(tensor: Any) -> str:
    """The name of the layer that makes a tensor."""
    return str(tensor._keras_history.operation.name)
