"""EfficientNet-Lite 0 to 2, which `keras.applications` lacks: made for phones that compute in eight bits.

They are EfficientNet (Tan and Le, 2019) without squeeze-and-excitation, with ReLU6 instead of swish, and with a stem
and a head of constant size. Layers are named as in `keras.applications.EfficientNetB0`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from kt.backbones.catalogue import entry_named
from kt.backbones.fetch import obtain
from kt.backbones.weights_file import load_weights_file
from kt.errors import RecipeError, WeightsError

SMALLEST = 32
"""The smallest side of a picture in pixels: smaller pictures would leave no feature map."""

_KERNELS, _STRIDES = (3, 3, 5, 3, 5, 5, 3), (1, 2, 2, 2, 1, 2, 1)
_DROP = 0.2  # stochastic depth's rate at the end; it grows from 0 with the blocks
_EPSILON, _MOMENTUM = 1e-3, 0.99


@dataclass(frozen=True)
class _Variant:
    """The differences between EfficientNet-Lites: the natural size in pixels, and each stage's width and depth."""

    size: int
    filters: tuple[int, ...]
    repeats: tuple[int, ...]
    dropout: float


_LITE0 = _Variant(224, (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1), 0.2)
_LITE1 = _Variant(240, (16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1), 0.2)
_LITE2 = _Variant(260, (16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1), 0.3)


def EfficientNetLite0(  # noqa: N802 - as keras.applications names its constructors
    include_top: bool = True,
    weights: str | None = "imagenet",
    input_tensor: Any = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "efficientnetlite0",
) -> keras.Model:
    """The smallest EfficientNet-Lite, with 4.7 million parameters including the top; natural size 224x224.

    It has the arguments of `keras.applications.EfficientNetB0`. Its input is (pixels - 127) / 128, which kt computes
    in the models that it builds. Raises RecipeError and WeightsError.
    """
    top = _Top(include_top, pooling, classes, classifier_activation)
    return _build(_LITE0, weights, top, input_tensor=input_tensor, input_shape=input_shape, name=name)


def EfficientNetLite1(  # noqa: N802
    include_top: bool = True,
    weights: str | None = "imagenet",
    input_tensor: Any = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "efficientnetlite1",
) -> keras.Model:
    """The middle EfficientNet-Lite here, 5.5 million parameters; natural size 240x240. See `EfficientNetLite0`."""
    top = _Top(include_top, pooling, classes, classifier_activation)
    return _build(_LITE1, weights, top, input_tensor=input_tensor, input_shape=input_shape, name=name)


def EfficientNetLite2(  # noqa: N802
    include_top: bool = True,
    weights: str | None = "imagenet",
    input_tensor: Any = None,
    input_shape: tuple[int | None, int | None, int] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: Any = "softmax",
    name: str = "efficientnetlite2",
) -> keras.Model:
    """The largest EfficientNet-Lite here, 6.2 million parameters; natural size 260x260. See `EfficientNetLite0`."""
    top = _Top(include_top, pooling, classes, classifier_activation)
    return _build(_LITE2, weights, top, input_tensor=input_tensor, input_shape=input_shape, name=name)


CONSTRUCTORS = (EfficientNetLite0, EfficientNetLite1, EfficientNetLite2)


@dataclass(frozen=True)
class _Top:
    """The layers after the last convolution: a classifier, a pooling, or none."""

    include: bool
    pooling: str | None
    classes: int
    activation: Any


def _build(
    variant: _Variant,
    weights: str | None,
    top: _Top,
    *,
    input_tensor: Any,
    input_shape: tuple[int | None, int | None, int] | None,
    name: str,
) -> keras.Model:
    _check(weights, top, input_shape)
    side = variant.size if top.include else None
    pixels = keras.Input(input_shape or (side, side, 3)) if input_tensor is None else input_tensor
    x = _ending(_features(pixels, variant), top, dropout=variant.dropout)
    inputs = pixels if input_tensor is None else keras.utils.get_source_inputs(input_tensor)
    model = keras.Model(inputs, x, name=name)
    if weights == "imagenet":
        number = (_LITE0, _LITE1, _LITE2).index(variant)
        load_weights_file(model, obtain(entry_named(f"efficientnet_lite{number}_imagenet"))[0])
    elif weights is not None:
        load_weights_file(model, Path(weights).expanduser())
    return model


def _check(weights: str | None, top: _Top, input_shape: tuple[int | None, int | None, int] | None) -> None:
    if top.pooling not in {None, "avg", "max"}:
        raise RecipeError(f"EfficientNet-Lite: pooling is None, 'avg' or 'max', not {top.pooling!r}.")
    if weights == "imagenet" and top.include and top.classes != 1000:
        raise WeightsError(
            f"ImageNet weights have 1000 classes, not {top.classes}; leave out the top (include_top=False)."
        )
    if input_shape is None:
        return
    if len(input_shape) != 3 or (weights == "imagenet" and input_shape[-1] != 3):
        raise RecipeError(f"EfficientNet-Lite: input_shape is (height, width, 3), not {tuple(input_shape)}.")
    if any(side is not None and side < SMALLEST for side in input_shape[:2]):
        size = "x".join(map(str, input_shape[:2]))
        raise RecipeError(
            f"EfficientNet-Lite cannot take pictures of {size} pixels: they have to be at least {SMALLEST}x{SMALLEST}. "
            "Set a larger image_size."
        )


def _features(x: Any, variant: _Variant) -> Any:
    """The feature map `[B, H/32, W/32, 1280]`, sides rounded up, of the prepared picture `[B, H, W, 3]`."""
    x = _convolution(x, 32, kernel=3, strides=2, name="stem_conv")
    x = _normalised(x, name="stem_bn", activation="stem_activation")
    total, done = sum(variant.repeats), 0
    for stage, (filters, repeats) in enumerate(zip(variant.filters, variant.repeats, strict=True)):
        for repeat in range(repeats):
            block = _Block(
                name=f"block{stage + 1}{'abcde'[repeat]}_",
                filters=filters,
                kernel=_KERNELS[stage],
                strides=_STRIDES[stage] if repeat == 0 else 1,
                expand=1 if stage == 0 else 6,
                skip=repeat > 0,
                drop=_DROP * done / total,
            )
            x = block(x)
            done += 1
    x = _convolution(x, 1280, kernel=1, strides=1, name="top_conv")
    return _normalised(x, name="top_bn", activation="top_activation")


@dataclass(frozen=True)
class _Block:
    """An inverted residual: expansion, a depthwise convolution, projection; with skip, the input is added."""

    name: str
    filters: int
    kernel: int
    strides: int
    expand: int
    skip: bool
    drop: float

    def __call__(self, inputs: Any) -> Any:
        x = inputs
        if self.expand > 1:
            x = _convolution(x, self.expand * x.shape[-1], kernel=1, strides=1, name=f"{self.name}expand_conv")
            x = _normalised(x, name=f"{self.name}expand_bn", activation=f"{self.name}expand_activation")
        x = keras.layers.DepthwiseConv2D(
            self.kernel,
            strides=self.strides,
            padding="same",
            use_bias=False,
            depthwise_initializer=_scale(),
            name=f"{self.name}dwconv",
        )(x)
        x = _normalised(x, name=f"{self.name}bn", activation=f"{self.name}activation")
        x = _convolution(x, self.filters, kernel=1, strides=1, name=f"{self.name}project_conv")
        x = _normalised(x, name=f"{self.name}project_bn")
        if not self.skip:
            return x
        x = keras.layers.Dropout(self.drop, noise_shape=(None, 1, 1, 1), name=f"{self.name}drop")(x)
        return keras.layers.Add(name=f"{self.name}add")([x, inputs])


def _convolution(x: Any, filters: int, *, kernel: int, strides: int, name: str) -> Any:
    # The weights were trained with "same", which at even sizes pads one more row below and one column to the right.
    return keras.layers.Conv2D(
        filters, kernel, strides=strides, padding="same", use_bias=False, kernel_initializer=_scale(), name=name
    )(x)


def _normalised(x: Any, *, name: str, activation: str | None = None) -> Any:
    x = keras.layers.BatchNormalization(momentum=_MOMENTUM, epsilon=_EPSILON, name=name)(x)
    return x if activation is None else keras.layers.ReLU(max_value=6.0, name=activation)(x)


def _scale() -> keras.initializers.Initializer:
    """The initializer for random weights; a new one for each layer, since a shared one repeats its numbers."""
    return keras.initializers.VarianceScaling(2.0, mode="fan_out", distribution="truncated_normal")


def _ending(x: Any, top: _Top, *, dropout: float) -> Any:
    if top.include:
        x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = keras.layers.Dropout(dropout, name="top_dropout")(x)
        return keras.layers.Dense(top.classes, activation=top.activation, name="predictions")(x)
    if top.pooling == "avg":
        return keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return keras.layers.GlobalMaxPooling2D(name="max_pool")(x) if top.pooling == "max" else x
