"""Where a model is cut: behind the frozen layers, where the fewest numbers are stored; and the parts on both sides."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from kt.freeze import Moving, moves
from kt.graph import Node, block_name, block_of, frontier, is_functional, leaves, nodes, stretches
from kt.network.model import Built


@dataclass(frozen=True, eq=False)
class Cut:
    """What crosses from the frozen part of a model to the part that trains.

    tensors: symbolic tensors of the backbone's graph, or of the head's where the whole backbone is frozen. name: the
    layers that give them. The activations of a picture are stored as one row, tensor after tensor.
    """

    tensors: tuple[Any, ...]
    in_head: bool
    name: str

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each tensor has for a picture."""
        return tuple(math.prod(tensor.shape[1:]) for tensor in self.tensors)

    @property
    def channels(self) -> tuple[int, ...]:
        """The last side of each tensor."""
        return tuple(int(tensor.shape[-1]) for tensor in self.tensors)

    @property
    def width(self) -> int:
        """How many numbers a picture's row has."""
        return sum(self.sizes)


@dataclass(frozen=True)
class Uncut:
    """A model that has to train as a whole. reason: why it can't be cut; empty where the user expects that."""

    reason: str = ""


def find_cut(built: Built, moving: Moving) -> Cut | Uncut:
    """The cut behind the layers that stay frozen. moving: what trains of the backbone; the head always trains.

    A layer counts as frozen if neither it nor any layer before it trains or is random. The cut lies in the block where
    training begins, or at the beginning of that block, where the fewest numbers cross. So no layer with weights of an
    earlier block is computed again.
    """
    backbone = built.backbone
    if not moving.layers:
        order = _with_movers(nodes([built.features], built.model.outputs), moves)
        if not any(mover for _, mover in order):
            return Uncut("nothing trains")
        tensors = _fewest(order, built.model.outputs, start=[built.features], blocks={})
    elif is_functional(backbone):
        order = _with_movers(nodes(backbone.inputs, backbone.outputs), lambda leaf: id(leaf) in moving.layers)
        rule = block_of(backbone)
        blocks = {id(node.operation): block_name(stretch, rule) for stretch in stretches(backbone) for node in stretch}
        tensors = _fewest(order, backbone.outputs, start=backbone.inputs, blocks=blocks)
        if not any(_weights(node) for node in nodes(backbone.inputs, tensors)):
            return Uncut(_why_so_early(order))
    else:
        return Uncut(f"{backbone.name} is not a functional model, so what is frozen in it can't be told apart")
    if any(None in tensor.shape[1:] for tensor in tensors):
        return Uncut(f"{backbone.name} gives maps of no fixed size")
    if any(getattr(tensor, "_keras_mask", None) is not None for tensor in tensors):
        return Uncut(f"{backbone.name} hands a mask on beside its tensors; give it to the layers that use it")
    name = " + ".join(str(tensor._keras_history.operation.name) for tensor in tensors)
    return Cut(tensors, in_head=not moving.layers, name=name)


def cuts_ahead(
    built: Built, moving: Sequence[Moving], *, trained: Collection[int] = (), uncut: Collection[int] = ()
) -> list[Cut]:
    """Cuts of later phases that can be computed now, because nothing before them will have trained by then.

    moving: what trains in each phase, in order. trained: ids of the weights that train before the first of these
    phases. uncut: indices of the phases that are not cut.
    """
    before, cuts = set(trained), []
    for place, phase in enumerate(moving):
        cut = Uncut() if place in uncut else find_cut(built, phase)
        if isinstance(cut, Cut) and before.isdisjoint(map(id, encoder(built, [cut]).weights)):
            cuts.append(cut)
        before |= phase.weights
    return cuts


Movers = Sequence[tuple[Node, bool]]
"""The nodes of a graph in order, each with whether it trains or is random."""


def _with_movers(order: Sequence[Node], moves: Callable[[Any], bool]) -> Movers:
    return [(node, any(moves(leaf) for leaf in leaves(node.operation))) for node in order]


def _fewest(
    order: Movers, outputs: Sequence[Any], *, start: Sequence[Any], blocks: dict[int, str | None]
) -> tuple[Any, ...]:
    """The tensors of the smallest cut, searched backwards from the first node that trains or is random."""
    frozen = _frozen(order)
    block = blocks.get(id(_first_that_moves(order).operation))
    best: tuple[Any, ...] | None = None
    for count in range(len(frozen), -1, -1):
        kept, taken = frozen[:count], set(frozen[:count])
        rest = [node for node, _ in order if node not in taken]
        crossing = frontier([Node(None, (), tuple(start)), *kept], rest, outputs)
        if best is None or _numbers(crossing) < _numbers(best):
            best = crossing
        if not count or (_weights(kept[-1]) and (block is None or blocks.get(id(kept[-1].operation)) != block)):
            break
    assert best is not None
    return best


def _frozen(order: Movers) -> list[Node]:
    """The nodes that neither train nor are random, and that no such node precedes."""
    frozen: list[Node] = []
    behind: set[int] = set()
    for node, mover in order:
        if mover or any(id(tensor) in behind for tensor in node.inputs):
            behind |= {id(tensor) for tensor in node.outputs}
        else:
            frozen.append(node)
    return frozen


def _first_that_moves(order: Movers) -> Node:
    return next(node for node, mover in order if mover)


def _weights(node: Node) -> int:
    return sum(len(leaf.weights) for leaf in leaves(node.operation))


def _numbers(tensors: Sequence[Any]) -> int:
    return sum(math.prod(side or 1 for side in tensor.shape[1:]) for tensor in tensors)


def _why_so_early(order: Movers) -> str:
    """Why a model can't be cut behind its first weights; empty where those train, which the recipe says itself."""
    first = _first_that_moves(order)
    if _weights(first):
        return ""
    name = first.operation.name
    return f"layer {name!r} acts at random and is not frozen, so nothing behind it stays the same"


# ----------------------------------------------------------------------------------------------------------- parts


def encoder(built: Built, cuts: Sequence[Cut]) -> Any:
    """The model from pixels uint8 `[N, H, W, 3]` to what crosses each cut, tensor after tensor."""
    if all(cut.in_head for cut in cuts):
        return _model(built.model.inputs, [tensor for cut in cuts for tensor in cut.tensors])
    outputs = _model(built.backbone.inputs, _inside(built, cuts))(built.prepared)
    return _model(built.model.inputs, _sorted(built, cuts, outputs))


def extension(built: Built, source: Cut, cuts: Sequence[Cut]) -> Any:
    """The model from activations float32 `[N, D]` at a cut in the backbone to what crosses later cuts."""
    activations = keras.Input((source.width,), dtype="float32", name="rows")
    outputs = _reached(source, activations, _inside(built, cuts))
    return _model([activations], _sorted(built, cuts, outputs))


def within(built: Built, source: Cut | None, tensor: Any) -> tuple[Any, Any]:
    """A model's symbolic input, and what a tensor of the backbone's graph is for it.

    The input is that of the whole model, or activations float32 `[N, D]` at a cut in the backbone.
    """
    if source is None:
        return built.model.input, _model(built.backbone.inputs, [tensor])(built.prepared)
    activations = keras.Input((source.width,), dtype="float32", name="rows")
    return activations, _reached(source, activations, [tensor])[0]


def tail(built: Built, cut: Cut, outputs: Sequence[Any] | None = None) -> Any:
    """The model from cached activations float32 `[N, D]` at a cut to scores `[N, C]`, of the model's own layers.

    outputs: tensors of the head that the model gives instead of the scores, in this order.
    """
    wanted = built.model.outputs if outputs is None else outputs
    activations = keras.Input((cut.width,), dtype="float32", name="rows")
    goal = wanted if cut.in_head else built.backbone.outputs
    reached = _model(cut.tensors, goal)(_unpacked(activations, cut))
    scores = reached if cut.in_head else _model([built.features], wanted)(reached)
    return _model([activations], keras.tree.flatten(scores))


def _inside(built: Built, cuts: Sequence[Cut]) -> list[Any]:
    """The backbone's tensors that cross the cuts inside it, and those at its end if a cut is in the head."""
    inside = [tensor for cut in cuts if not cut.in_head for tensor in cut.tensors]
    return [*inside, *(built.backbone.outputs if any(cut.in_head for cut in cuts) else [])]


def _reached(source: Cut, activations: Any, tensors: Sequence[Any]) -> list[Any]:
    """Tensors of the backbone's graph, computed from activations at a cut. One that crosses the cut itself is given."""
    parts = keras.tree.flatten(_unpacked(activations, source))
    known = {id(own): part for own, part in zip(source.tensors, parts, strict=True)}
    wanted = [tensor for tensor in tensors if id(tensor) not in known]
    if wanted:
        used = {id(own) for node in nodes(source.tensors, wanted) for own in node.inputs}
        needed = [own for own in source.tensors if id(own) in used]
        inputs = [known[id(own)] for own in needed]
        reached = keras.tree.flatten(_model(needed, wanted)(inputs[0] if len(inputs) == 1 else inputs))
        known |= {id(own): part for own, part in zip(wanted, reached, strict=True)}
    return [known[id(tensor)] for tensor in tensors]


def _sorted(built: Built, cuts: Sequence[Cut], outputs: Any) -> list[Any]:
    """The tensors of `_inside` in the order of the cuts; cuts in the head are computed from the last one."""
    left = keras.tree.flatten(outputs)
    tensors: list[Any] = []
    for cut in cuts:
        if cut.in_head and cut.tensors == (built.features,):
            tensors.append(left[-1])  # Keras makes no model of nothing
        elif cut.in_head:
            tensors += keras.tree.flatten(_model([built.features], cut.tensors)(left[-1]))
        else:
            tensors += [left.pop(0) for _ in cut.tensors]
    return tensors


def _model(inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
    """A model of existing tensors. A single tensor is passed without a list, so that Keras calls it with a tensor."""
    return keras.Model(*(tensors[0] if len(tensors) == 1 else list(tensors) for tensors in (inputs, outputs)))


def _unpacked(activations: Any, cut: Cut) -> Any:
    """The tensors of a cut from its activations `[N, D]`."""
    tensors, start = [], 0
    for tensor, size in zip(cut.tensors, cut.sizes, strict=True):
        part = activations if size == cut.width else activations[:, start : start + size]
        if len(tensor.shape) != 2:
            part = keras.ops.reshape(part, (-1, *tensor.shape[1:]))
        tensors.append(part if tensor.dtype == "float32" else keras.ops.cast(part, tensor.dtype))
        start += size
    return tensors[0] if len(tensors) == 1 else tensors


def is_behind(cut: Cut, source: Cut, built: Built) -> bool:
    """Whether what crosses a cut can be computed from what crosses the source alone."""
    if source.in_head:
        return False
    goal = built.backbone.outputs if cut.in_head else cut.tensors
    return all(node.inputs for node in nodes(source.tensors, goal))
