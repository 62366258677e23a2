"""One model from pixels to scores: preprocessing, backbone and head, so that no part can be left out."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt import graph
from kt.backbones.build import Pretrained
from kt.backbones.build import build_backbone as build_backbone
from kt.backbones.preprocessing import preprocess
from kt.base.backend import accelerated
from kt.base.console import say
from kt.errors import RecipeError, did_you_mean
from kt.freeze import blocks, known_blocks
from kt.graph import TAP, Block, block_of, leaves, tell_blocks
from kt.graph.traced import in_inference
from kt.kinds.kind import Kind, Nouns, Unnamed
from kt.recipe import ALL, TOP, Recipe, depths_of

MOST_DEPTHS = 20
"""A probe on all depths takes features from at most this many blocks."""

MOST_FEATURES = 10_000
"""A probe on all depths takes at most this many features beside those of the top: 80 MB for a thousand pictures."""


@dataclass(frozen=True)
class Built:
    """The whole model (examples, such as pixels uint8 `[N, H, W, 3]`, to scores float32 `[N, C]`) and its parts.

    prepared and features: the symbolic tensors before and behind the backbone. taps: the depths that the features come
    from, each with its width, in order; empty where they come from the backbone's end alone. kind: of the examples.
    """

    model: Any
    backbone: Any
    pretrained: Pretrained
    prepared: Any
    features: Any
    taps: tuple[tuple[str, int], ...] = ()
    kind: Kind | None = None

    @property
    def nouns(self) -> Nouns:
        """What a person calls the examples."""
        return self.kind or Unnamed()


def build(recipe: Recipe, *, kind: Kind, num_classes: int) -> Built:
    """For examples of a kind: preprocessing (as the weights want it), backbone and head in one functional model.

    Raises WeightsError if the weights can't be had, RecipeError if the head does not fit.
    """
    pretrained = build_backbone(recipe.backbone, recipe.weights, shape=kind.fed)
    depths: Sequence[str] = depths_of(recipe)
    if depths == (ALL,):
        depths = every_depth(pretrained.model)
    taps: tuple[tuple[str, int], ...] = ()
    if depths != (TOP,):
        model, taps = tapped(pretrained.model, depths)
        pretrained = replace(pretrained, model=model)
    built = _assemble(recipe, pretrained, kind=kind, num_classes=num_classes)
    return replace(built, taps=taps)


def tapped(backbone: Any, depths: Sequence[str]) -> tuple[Any, tuple[tuple[str, int], ...]]:
    """The backbone with other outputs: those of its blocks or layers at these depths, pooled over the picture.

    Several depths are concatenated to `[N, D]`; the second result is each depth with its width. "top" is the backbone's
    own end. Layers that no depth needs are dropped. Raises RecipeError for a depth that does not exist.
    """
    pooled = [_pooled(_tensor_at(backbone, depth), depth) for depth in depths]
    joined = pooled[0] if len(pooled) == 1 else keras.layers.Concatenate(name=f"{TAP}joined")(pooled)
    widths = tuple((depth, int(tensor.shape[-1])) for depth, tensor in zip(depths, pooled, strict=True))
    model = keras.Model(backbone.inputs, joined, name=backbone.name)
    tell_blocks(model, block_of(backbone))
    return model, widths


def every_depth(backbone: Any) -> tuple[str, ...]:
    """The depths of a probe on all depths: in each block the last of its widest maps, and the top for the last block.

    The widest map is taken because a block's end may be a bottleneck that has dropped what these classes need: in
    MobileNetV2 it has a sixth of the depthwise convolution's channels (benchmarks/README.md, Defaults). Blocks are left
    out evenly until at most `MOST_DEPTHS` and `MOST_FEATURES` remain. Where the blocks are unknown, the top is the only
    depth.
    """
    order = known_blocks(backbone)
    if not order:
        say(f"the blocks of {backbone.name} are unknown, so its end is the only depth that features are taken from")
    sides = len(backbone.outputs[0].shape) if order else 0
    widest = [_widest(block, sides) for block in order[:-1]]
    for step in range(1, len(widest) + 1):
        taken = widest[::-step][::-1]
        if len(taken) <= MOST_DEPTHS and sum(width for _, width in taken) <= MOST_FEATURES:
            return (*(name for name, _ in taken), TOP)
    return (TOP,)


def _widest(block: Block, sides: int) -> tuple[str, int]:
    """The name and width of the last of the block's widest maps; the block's name if the map is the block's end.

    sides: of a map, the batch among them: 2 if the backbone gives rows.
    """
    maps = [(layer, int(layer.output.shape[-1])) for layer in block.layers if _is_map(layer, sides)]
    width = max(width for _, width in maps)
    layer = [layer for layer, own_width in maps if own_width == width][-1]
    return block.name if layer is block.layers[-1] else layer.name, width


def _is_map(layer: Any, sides: int) -> bool:
    return not isinstance(layer.output, list | tuple) and len(layer.output.shape) == sides


def _tensor_at(backbone: Any, depth: str) -> Any:
    if depth == TOP:
        return backbone.outputs[0]
    order = graph.blocks(backbone) if graph.is_functional(backbone) else blocks(backbone)
    for block in order:
        for layer in block.layers:
            if layer.name == depth:
                return layer.output
    ends = {block.name: block.layers[-1].output for block in order}
    if depth not in ends:
        raise RecipeError(
            f"LinearProbe: {backbone.name} has no block or layer {depth!r}. {did_you_mean(depth, [TOP, ALL, *ends])}"
        )
    return ends[depth]


def _pooled(tensor: Any, depth: str) -> Any:
    """The mean `[N, c]` of a map `[N, h, w, c]`; a tensor `[N, c]` stays as it is."""
    if len(tensor.shape) == 2:
        return tensor
    if len(tensor.shape) != 4:
        raise RecipeError(f"LinearProbe: {depth!r} gives {tuple(tensor.shape)}; expected a map (N, height, width, c).")
    return keras.layers.GlobalAveragePooling2D(name=f"{TAP}{depth}")(tensor)


def _assemble(recipe: Recipe, pretrained: Pretrained, *, kind: Kind, num_classes: int) -> Built:
    inputs = keras.Input(kind.shape, dtype=kind.dtype, name=kind.takes)
    prepared = preprocess(kind.prepared(inputs), pretrained.preprocessing)
    features = pretrained.model(prepared)
    outputs = recipe.head(features, num_classes)
    if tuple(outputs.shape) != (None, num_classes):
        raise RecipeError(
            f"The head gives {tuple(outputs.shape)} for {num_classes} classes; expected (N, {num_classes})."
        )
    model = keras.Model(inputs, outputs, name="classifier")
    return Built(model, pretrained.model, pretrained, prepared, features, kind=kind)


def in_float32(built: Built, recipe: Recipe) -> Any:
    """The trained model with all computation in float32: itself, or a copy if it trained in mixed precision.

    This model is evaluated, compared and exported, because phones and TensorFlow Serving compute in float32.
    """
    model = built.model
    if all(leaf.compute_dtype in ("float32", "uint8") for leaf in leaves(model)):
        return model
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        assert built.kind is not None
        plain = build(recipe, kind=built.kind, num_classes=model.output_shape[-1]).model
    finally:
        keras.config.set_dtype_policy(policy)
    plain.set_weights(model.get_weights())
    return plain


def predict(model: Any, pixels: npt.NDArray[Any], *, batch_size: int = 32) -> npt.NDArray[np.float32]:
    """Scores float32 `[N, C]` of examples `[N, ...]`, such as uint8 pictures, in inference mode."""
    if keras.backend.backend() != "tensorflow" or accelerated() or not len(pixels):
        return np.asarray(model.predict(pixels, batch_size=batch_size, verbose=0), np.float32)
    ask = in_inference(model)
    batches = [pixels[start : start + batch_size] for start in range(0, len(pixels), batch_size)]
    with ThreadPoolExecutor(max_workers=2) as pool:  # a single batch leaves the second core idle for half of the time
        return np.concatenate(list(pool.map(lambda batch: np.asarray(ask(batch), np.float32), batches)))
