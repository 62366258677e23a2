"""One model from pixels to scores: preprocessing, backbone and head, so that none can be left out."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt.backbones.build import Pretrained
from kt.backbones.build import build as build_backbone
from kt.backbones.preprocessing import preprocess
from kt.backend import accelerated
from kt.data.splits import Pixels
from kt.errors import RecipeError, did_you_mean
from kt.freeze import blocks
from kt.graph import TAP, Block, is_functional, leaves
from kt.recipe import ALL, TOP, Recipe, depths_of
from kt.traced import in_inference

MOST_DEPTHS = 20
"""Of so many blocks a probe on all depths takes features, at most."""

MOST_FEATURES = 10_000
"""And so many features, beside those of the top: what a thousand pictures of them take is 80 MB."""


@dataclass(frozen=True)
class Built:
    """The whole model (pixels uint8 `[N, H, W, 3]` to scores float32 `[N, C]`) and its parts.

    prepared and features: the symbolic tensors before and behind the backbone. taps: where the features come from, each
    with its width, in their order, where that is not the backbone's end alone.
    """

    model: Any
    backbone: Any
    pretrained: Pretrained
    prepared: Any
    features: Any
    taps: tuple[tuple[str, int], ...] = ()


def build(recipe: Recipe, *, image_size: tuple[int, int], num_classes: int) -> Built:
    """Preprocessing (as the weights want it), backbone and head in one functional model.

    Raises WeightsError where the weights can't be had, RecipeError where the head does not fit.
    """
    pretrained = build_backbone(recipe.backbone, recipe.weights, image_size=image_size)
    depths: Sequence[str] = depths_of(recipe)
    if depths == (ALL,):
        depths = every_depth(pretrained.model)
    taps: tuple[tuple[str, int], ...] = ()
    if depths != (TOP,):
        model, taps = tapped(pretrained.model, depths)
        pretrained = replace(pretrained, model=model)
    built = _assemble(recipe, pretrained, image_size=image_size, num_classes=num_classes)
    return replace(built, taps=taps)


def tapped(backbone: Any, depths: Sequence[str]) -> tuple[Any, tuple[tuple[str, int], ...]]:
    """The backbone with other outputs: what its blocks or layers give at these depths, pooled over the picture.

    Several stand side by side in one row `[N, D]`; each depth is given back with its width. "top" is the backbone's own
    end. What no depth needs falls away. Raises RecipeError for a depth that does not exist.
    """
    found = [_pooled(_tensor_at(backbone, depth), depth) for depth in depths]
    joined = found[0] if len(found) == 1 else keras.layers.Concatenate(name=f"{TAP}joined")(found)
    widths = tuple((depth, int(tensor.shape[-1])) for depth, tensor in zip(depths, found, strict=True))
    return keras.Model(backbone.inputs, joined, name=backbone.name), widths


def every_depth(backbone: Any) -> tuple[str, ...]:
    """The last of the widest maps of each block, and the top, where the last block ends.

    The widest: a block's end may be a bottleneck that has dropped what tells these classes apart; in MobileNetV2 it has
    a sixth of what the depthwise convolution gives (benchmarks/README.md, Defaults). Blocks are left out, evenly, until
    no more than `MOST_DEPTHS` and `MOST_FEATURES` are left. Where the blocks are unknown there is the top alone.
    """
    if not is_functional(backbone):
        return (TOP,)
    widest = [_widest(block) for block in blocks(backbone)[:-1]]
    for step in range(1, len(widest) + 1):
        taken = widest[::-step][::-1]
        if len(taken) <= MOST_DEPTHS and sum(width for _, width in taken) <= MOST_FEATURES:
            return (*(name for name, _ in taken), TOP)
    return (TOP,)


def _widest(block: Block) -> tuple[str, int]:
    """The last of the block's widest maps, named by the block where it ends there, and its width."""
    maps = [(layer, int(layer.output.shape[-1])) for layer in block.layers if _is_map(layer)]
    width = max(width for _, width in maps)
    layer = [layer for layer, its in maps if its == width][-1]
    return block.name if layer is block.layers[-1] else layer.name, width


def _is_map(layer: Any) -> bool:
    return not isinstance(layer.output, list | tuple) and len(layer.output.shape) == 4


def _tensor_at(backbone: Any, depth: str) -> Any:
    if depth == TOP:
        return backbone.outputs[0]
    order = blocks(backbone)
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
    """A row of numbers `[N, c]` from a map `[N, h, w, c]`, or from what is one already."""
    if len(tensor.shape) == 2:
        return tensor
    if len(tensor.shape) != 4:
        raise RecipeError(f"LinearProbe: {depth!r} gives {tuple(tensor.shape)}; expected a map (N, height, width, c).")
    return keras.layers.GlobalAveragePooling2D(name=f"{TAP}{depth}")(tensor)


def _assemble(recipe: Recipe, pretrained: Pretrained, *, image_size: tuple[int, int], num_classes: int) -> Built:
    inputs = keras.Input((*image_size, 3), dtype="uint8", name="pixels")
    x = keras.ops.cast(inputs, "float32")
    prepared = preprocess(x, pretrained.preprocessing)
    features = pretrained.model(prepared)
    outputs = recipe.head(features, num_classes)
    if tuple(outputs.shape) != (None, num_classes):
        raise RecipeError(
            f"The head gives {tuple(outputs.shape)} for {num_classes} classes; expected (N, {num_classes})."
        )
    model = keras.Model(inputs, outputs, name="classifier")
    return Built(model, pretrained.model, pretrained, prepared, features)


def in_float32(built: Built, recipe: Recipe) -> Any:
    """The trained model with all computation in float32: itself, or its copy where it trained in mixed precision.

    What is evaluated, compared and exported is this one: phones and TensorFlow Serving compute in float32.
    """
    model = built.model
    if all(leaf.compute_dtype in ("float32", "uint8") for leaf in leaves(model)):
        return model
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        _, height, width, _ = model.input_shape
        plain = build(recipe, image_size=(height, width), num_classes=model.output_shape[-1]).model
    finally:
        keras.config.set_dtype_policy(policy)
    plain.set_weights(model.get_weights())
    return plain


def predict(model: Any, pixels: Pixels, *, batch_size: int = 32) -> npt.NDArray[np.float32]:
    """Scores float32 `[N, C]` of uint8 pictures `[N, H, W, 3]`, in inference mode."""
    if keras.backend.backend() != "tensorflow" or accelerated() or not len(pixels):
        return np.asarray(model.predict(pixels, batch_size=batch_size, verbose=0), np.float32)
    ask = in_inference(model)
    batches = [pixels[start : start + batch_size] for start in range(0, len(pixels), batch_size)]
    with ThreadPoolExecutor(max_workers=2) as pool:  # one batch leaves a second core idle for half of the time
        return np.concatenate(list(pool.map(lambda batch: np.asarray(ask(batch), np.float32), batches)))
