"""A model in two parts, at the maps that its head reads: from pixels to the maps, and from the maps to the scores."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt.base.backend import accelerated
from kt.errors import ReleaseError
from kt.graph import TAP, Node, is_functional, nodes
from kt.graph.traced import in_inference

Array = npt.NDArray[Any]

BATCH = 8
"""The pictures that are computed at once. The maps of all depths take 20 MB for a picture of 160 pixels."""

_LEAST = 1e-37  # about the smallest float32 that has a logarithm


class Explainable:
    """A Keras model of pictures, cut at the maps `[N, h, w, c]` that nothing but pooling and the head follows.

    depths: where the maps come from, one name a map, in the graph's order; a plain network has one, a linear probe on
    several depths has one for each. Maps that only go into further maps, as those of squeeze-and-excitation blocks, do
    not count. Raises ReleaseError, with the reason, for a model in which no such maps are found.

    scores: a function from any number of pictures to their scores float32 `[N, C]`.

    The model's layers are shared, not copied, so its weights are those of the moment in which it is asked.
    """

    def __init__(self, model: Any) -> None:
        front, self._tail, self.depths = _parts(model)
        self.classes = int(model.output_shape[-1])
        self.scores = asking(model)
        self._look = _inference(_model(model.inputs, [*front, *model.outputs]))
        self._slopes = _BY_BACKEND[str(keras.backend.backend())](self._tail)

    def look(self, pixels: Array) -> tuple[list[Array], Array]:
        """The maps, float32 `[N, h, w, c]` a depth, and the scores float32 `[N, C]` of pictures uint8 `[N, H, W, 3]`.

        At most `BATCH` pictures.
        """
        padded = np.concatenate([pixels, np.zeros((BATCH - len(pixels), *pixels.shape[1:]), pixels.dtype)])
        *maps, scores = (np.asarray(each, np.float32)[: len(pixels)] for each in self._look(padded))
        return maps, scores

    def slopes(self, maps: Sequence[Array], labels: Array) -> list[Array]:
        """The gradient of each picture's centred logit of a class with respect to each map, float32 like the maps.

        The centred logit is the class's logit minus the mean over all classes: adding one number to all logits changes
        no answer of a softmax, and so it changes no map. labels: int `[N]`, the class of each picture.
        """
        weights = np.eye(self.classes, dtype=np.float32)[labels] - np.float32(1 / self.classes)
        return [np.asarray(slope, np.float32) for slope in self._slopes(list(maps), weights)]


def asking(model: Any) -> Callable[[Array], npt.NDArray[np.float32]]:
    """The scores float32 `[N, C]` of any number of pictures, as a function that is traced once, when first called."""
    traced: list[Any] = []

    def ask(pixels: Array) -> npt.NDArray[np.float32]:
        if keras.backend.backend() != "tensorflow" or accelerated():
            return np.asarray(model.predict(pixels, batch_size=32, verbose=0), np.float32)
        if not traced:
            traced.append(in_inference(model))
        return np.concatenate(
            [np.asarray(traced[0](pixels[start : start + 32]), np.float32) for start in range(0, len(pixels), 32)]
        )

    return ask


def _inference(model: Any) -> Any:
    """The model as a function of arrays that gives a list of tensors."""
    if keras.backend.backend() == "tensorflow" and not accelerated():
        return in_inference(model)
    return model.predict_on_batch


# ------------------------------------------------------------------------------------------------------------ the cut


def _parts(model: Any) -> tuple[list[Any], Any, tuple[str, ...]]:
    """Symbolic maps of the model's inputs, a model from the maps to the scores, and the maps' names."""
    if not is_functional(model):
        raise ReleaseError(f"{model.name} is no functional model, so the maps in it can't be found.")
    before, behind = _ends(model)
    maps = [tensor for tensor in before if len(tensor.shape) == 4]
    if maps and len(maps) == len(before):
        tail = _model(maps, model.outputs)
        return maps, tail, tuple(_name(tensor, behind) for tensor in maps)
    # The maps lie inside the backbone, which is a model in this one.
    inner = before[0]._keras_history.operation if len(before) == 1 and not maps else None
    if inner is None or not is_functional(inner) or len(inner.inputs) != 1 or len(inner.outputs) != 1:
        raise ReleaseError(
            "No map with a height and a width leads to the scores by pooling alone, so there are no places to show."
        )
    within, inner_tail, names = _parts(inner)
    (call,) = [node for node in nodes(model.inputs, before) if any(out is before[0] for out in node.outputs)]
    front = keras.tree.flatten(_model(inner.inputs, within)(call.inputs[0]))
    given = [keras.Input(tensor.shape[1:], dtype=tensor.dtype) for tensor in within]
    features = inner_tail(given[0] if len(given) == 1 else given)
    scores = features if before[0] is model.outputs[0] else _model(before, model.outputs)(features)
    return front, _model(given, keras.tree.flatten(scores)), names


def _ends(model: Any) -> tuple[list[Any], tuple[Node, ...]]:
    """The tensors where a walk from the scores backwards ends, in the graph's order, and the calls behind them.

    It ends at maps, and at what another model in this one gives: the backbone.
    """
    order = nodes(model.inputs, model.outputs)
    maker = {id(tensor): node for node in order for tensor in node.outputs}
    ends: dict[int, Any] = {}
    waiting, behind = [*model.outputs], []
    while waiting:
        tensor = waiting.pop()
        node = maker.get(id(tensor))
        if node is None or len(tensor.shape) == 4 or is_functional(node.operation):
            ends[id(tensor)] = tensor
        elif node not in behind:
            behind.append(node)
            waiting += node.inputs
    if any(id(tensor) in ends and len(tensor.shape) != 4 for tensor in model.inputs):
        raise ReleaseError("The scores depend on the input otherwise than by maps, so there are no places to show.")
    made = [*model.inputs, *(tensor for node in order for tensor in node.outputs)]
    return [tensor for tensor in made if id(tensor) in ends], tuple(behind)


def _name(tensor: Any, behind: Sequence[Node]) -> str:
    """The depth that a map comes from: the name of the tap that reads it, or of the layer that makes it."""
    for node in behind:
        name = str(node.operation.name)
        if name.startswith(TAP) and any(given is tensor for given in node.inputs):
            return name.removeprefix(TAP)
    operation = tensor._keras_history.operation
    return "top" if is_functional(operation) else str(operation.name)


def _model(inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
    """A model of existing tensors. A single tensor is passed without a list, so that Keras calls it with a tensor."""
    return keras.Model(*(tensors[0] if len(tensors) == 1 else list(tensors) for tensors in (inputs, outputs)))


# ------------------------------------------------------------------------------------------------------- the gradient


def _wanted(tail: Any, maps: Sequence[Any], weights: Any) -> Any:
    """The sum over the batch of weighted log scores, a number.

    Each picture's weights sum to 0, so the log scores may stand for the logits: they differ by the same number for all
    classes. Nothing is lost where a softmax is sure of itself, because its own gradient has the factor that the
    logarithm's divides by.
    """
    scores = tail(maps[0] if len(maps) == 1 else list(maps), training=False)
    scores = scores[0] if isinstance(scores, list | tuple) else scores
    return keras.ops.sum(keras.ops.log(keras.ops.maximum(scores, _LEAST)) * weights)


def _by_tensorflow(tail: Any) -> Any:
    import tensorflow as tf

    def slopes(maps: list[Array], weights: Array) -> list[Any]:
        given = [tf.constant(each) for each in maps]
        with tf.GradientTape() as tape:
            tape.watch(given)
            wanted = _wanted(tail, given, tf.constant(weights))
        return [*tape.gradient(wanted, given, unconnected_gradients=tf.UnconnectedGradients.ZERO)]

    return slopes


def _by_jax(tail: Any) -> Any:
    import jax

    gradient = jax.jit(jax.grad(lambda maps, weights: _wanted(tail, maps, weights)))
    return lambda maps, weights: gradient(maps, weights)


def _by_torch(tail: Any) -> Any:
    import torch

    def slopes(maps: list[Array], weights: Array) -> list[Any]:
        with torch.enable_grad():
            given = [keras.ops.convert_to_tensor(each).detach().requires_grad_() for each in maps]
            wanted = _wanted(tail, given, keras.ops.convert_to_tensor(weights))
            gradients = torch.autograd.grad(wanted, given, allow_unused=True)
        return [
            np.zeros_like(each) if gradient is None else gradient.cpu().numpy()
            for each, gradient in zip(maps, gradients, strict=True)
        ]

    return slopes


_BY_BACKEND = {"tensorflow": _by_tensorflow, "jax": _by_jax, "torch": _by_torch}
