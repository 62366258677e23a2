"""Where a model is cut: behind the frozen layers, where the least has to be kept; and the parts on both sides."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras

from kt.freeze import moves
from kt.graph import Node, block_name, frontier, is_functional, leaves, nodes, stretches
from kt.model import Built


@dataclass(frozen=True, eq=False)
class Border:
    """What crosses from the frozen part of a model to the part that trains.

    tensors: symbolic tensors of the backbone's graph, or of the head's where the whole backbone is frozen. name: the
    layers that give them. A picture's values lie in one row, tensor after tensor.
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
    """A model that has to train as a whole. reason: what keeps it from being cut; empty where that is no surprise."""

    reason: str = ""


def find_border(built: Built) -> Border | Uncut:
    """The border behind the layers that are frozen now, by their `trainable` flags.

    Frozen is what no layer stands before that trains or, not being frozen, acts at random. Of the places in the block
    where training begins, and at its beginning, the one is taken where the fewest numbers cross; so no layer with
    weights is computed again that lies in an earlier block.
    """
    backbone = built.backbone
    in_head = not any(moves(leaf) for leaf in leaves(backbone))
    if in_head:
        order = nodes([built.features], built.model.outputs)
        if not any(map(_moves, order)):
            return Uncut("nothing trains")
        tensors = _fewest(order, built.model.outputs, start=[built.features], blocks={})
    elif is_functional(backbone):
        order = nodes(backbone.inputs, backbone.outputs)
        blocks = {id(node.operation): block_name(stretch) for stretch in stretches(backbone) for node in stretch}
        tensors = _fewest(order, backbone.outputs, start=backbone.inputs, blocks=blocks)
        if not any(_weights(node) for node in nodes(backbone.inputs, tensors)):
            return Uncut(_why_so_early(order))
    else:
        return Uncut(f"{backbone.name} is not a functional model, so what is frozen in it can't be told apart")
    if any(None in tensor.shape[1:] for tensor in tensors):
        return Uncut(f"{backbone.name} gives maps of no fixed size")
    return Border(tensors, in_head, " + ".join(str(tensor._keras_history.operation.name) for tensor in tensors))


def _fewest(
    order: Sequence[Node], outputs: Sequence[Any], *, start: Sequence[Any], blocks: dict[int, str | None]
) -> tuple[Any, ...]:
    """The tensors that cross where the fewest numbers do, going back from the last place before anything moves."""
    frozen = _frozen(order)
    block = blocks.get(id(_first_that_moves(order).operation))
    best: tuple[Any, ...] | None = None
    for count in range(len(frozen), -1, -1):
        kept, taken = frozen[:count], set(frozen[:count])
        rest = [node for node in order if node not in taken]
        crossing = frontier([Node(None, (), tuple(start)), *kept], rest, outputs)
        if best is None or _numbers(crossing) < _numbers(best):
            best = crossing
        if not count or (_weights(kept[-1]) and (block is None or blocks.get(id(kept[-1].operation)) != block)):
            break
    assert best is not None
    return best


def _frozen(order: Sequence[Node]) -> list[Node]:
    """The nodes that neither move nor stand behind one that does."""
    frozen: list[Node] = []
    moving: set[int] = set()
    for node in order:
        if _moves(node) or any(id(tensor) in moving for tensor in node.inputs):
            moving |= {id(tensor) for tensor in node.outputs}
        else:
            frozen.append(node)
    return frozen


def _first_that_moves(order: Sequence[Node]) -> Node:
    return next(node for node in order if _moves(node))


def _moves(node: Node) -> bool:
    return any(moves(leaf) for leaf in leaves(node.operation))


def _weights(node: Node) -> int:
    return sum(len(leaf.weights) for leaf in leaves(node.operation))


def _numbers(tensors: Sequence[Any]) -> int:
    return sum(math.prod(side or 1 for side in tensor.shape[1:]) for tensor in tensors)


def _why_so_early(order: Sequence[Node]) -> str:
    """What to tell of a model that moves before its first weights: a random layer is a surprise, a whole one isn't."""
    first = _first_that_moves(order)
    if _weights(first):
        return ""
    name = first.operation.name
    return f"layer {name!r} acts at random and is not frozen, so nothing behind it stays the same"


# ----------------------------------------------------------------------------------------------------------- parts


def encoder(built: Built, borders: Sequence[Border]) -> Any:
    """The model from pixels uint8 `[N, H, W, 3]` to what crosses each border, tensor after tensor."""
    if all(border.in_head for border in borders):
        return _model([built.model.input], [tensor for border in borders for tensor in border.tensors])
    found = _through_backbone(built, built.backbone.inputs, borders)(built.prepared)
    return _model([built.model.input], _sorted(built, borders, found))


def extension(built: Built, source: Border, borders: Sequence[Border]) -> Any:
    """The model from rows float32 `[N, D]` of a border in the backbone to what crosses borders behind it."""
    rows = keras.Input((source.width,), dtype="float32", name="rows")
    found = _through_backbone(built, source.tensors, borders)(_unpacked(rows, source))
    return _model([rows], _sorted(built, borders, found))


def rest(built: Built, border: Border) -> Any:
    """The model from rows float32 `[N, D]` of a border to scores `[N, C]`; its layers are the whole model's own."""
    rows = keras.Input((border.width,), dtype="float32", name="rows")
    goal = built.model.outputs if border.in_head else built.backbone.outputs
    found = _model(border.tensors, goal)(_unpacked(rows, border))
    return _model([rows], [found if border.in_head else _model([built.features], built.model.outputs)(found)])


def _through_backbone(built: Built, sources: Sequence[Any], borders: Sequence[Border]) -> Any:
    """The backbone from the sources to the borders inside it, and to its end where a border is in the head."""
    inside = [tensor for border in borders if not border.in_head for tensor in border.tensors]
    end = built.backbone.outputs if any(border.in_head for border in borders) else []
    return _model(sources, [*inside, *end])


def _sorted(built: Built, borders: Sequence[Border], found: Any) -> list[Any]:
    """What `_through_backbone` gives, in the order of the borders, those in the head computed from its last."""
    left = keras.tree.flatten(found)
    tensors: list[Any] = []
    for border in borders:
        if border.in_head and border.tensors == (built.features,):
            tensors.append(left[-1])  # Keras makes no model of nothing
        elif border.in_head:
            tensors += keras.tree.flatten(_model([built.features], border.tensors)(left[-1]))
        else:
            tensors += [left.pop(0) for _ in border.tensors]
    return tensors


def _model(inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
    """A model of tensors that are there; one alone goes without a list, as Keras wants to be called then."""
    return keras.Model(*(tensors[0] if len(tensors) == 1 else list(tensors) for tensors in (inputs, outputs)))


def _unpacked(rows: Any, border: Border) -> Any:
    """The tensors of a border from its rows."""
    found, start = [], 0
    for tensor, size in zip(border.tensors, border.sizes, strict=True):
        part = rows if size == border.width else rows[:, start : start + size]
        if len(tensor.shape) != 2:
            part = keras.ops.reshape(part, (-1, *tensor.shape[1:]))
        found.append(part if tensor.dtype == "float32" else keras.ops.cast(part, tensor.dtype))
        start += size
    return found[0] if len(found) == 1 else found


def is_behind(border: Border, source: Border, built: Built) -> bool:
    """Whether a border can be computed from a source: all that crosses it follows from what crosses the source."""
    if source.in_head:
        return False
    goal = built.backbone.outputs if border.in_head else border.tensors
    return all(node.inputs for node in nodes(source.tensors, goal))
