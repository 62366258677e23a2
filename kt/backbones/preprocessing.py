"""The preprocessing of each family of backbones, built into the model from standard Keras layers."""

from typing import Any

import keras

IN_THE_GRAPH = "in the graph"
SCALE = "scale -1..1"
CAFFE = "caffe: BGR minus mean"
TORCH = "torch: mean/std"
LITE = "lite: (x - 127) / 128"
AS_THEY_ARE = "none: pixels 0..255 as they are"
EFFICIENTNET_FILE = "in the graph, behind the rescaling that Keras adds for ImageNet weights"

PREPROCESSINGS = (IN_THE_GRAPH, SCALE, CAFFE, TORCH, LITE, AS_THEY_ARE, EFFICIENTNET_FILE)

_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of pixels 0..1, RGB
_CAFFE_MEAN = (103.939, 116.779, 123.68)  # of pixels 0..255, BGR

# fmt: off
_CONSTRUCTORS = {
    IN_THE_GRAPH: """
        ConvNeXtTiny ConvNeXtSmall ConvNeXtBase ConvNeXtLarge ConvNeXtXLarge
        EfficientNetB0 EfficientNetB1 EfficientNetB2 EfficientNetB3
        EfficientNetB4 EfficientNetB5 EfficientNetB6 EfficientNetB7
        EfficientNetV2B0 EfficientNetV2B1 EfficientNetV2B2 EfficientNetV2B3
        EfficientNetV2S EfficientNetV2M EfficientNetV2L
        MobileNetV3Small MobileNetV3Large""",
    SCALE: """
        InceptionResNetV2 InceptionV3 MobileNet MobileNetV2 NASNetLarge NASNetMobile
        ResNet50V2 ResNet101V2 ResNet152V2 Xception""",
    CAFFE: "ResNet50 ResNet101 ResNet152 VGG16 VGG19",
    TORCH: "DenseNet121 DenseNet169 DenseNet201",
    LITE: "EfficientNetLite0 EfficientNetLite1 EfficientNetLite2",
}
# fmt: on

PREPROCESSING_OF = {name: kind for kind, names in _CONSTRUCTORS.items() for name in names.split()}
"""The preprocessing of pixels for each constructor of `keras.applications` or `kt.backbones`."""


def preprocess(x: Any, name: str) -> Any:
    """Turn pixels into a backbone's input, inside a functional graph.

    x: float32 `[B, H, W, 3]`, RGB, 0 to 255. name: one of `PREPROCESSINGS`; others raise KeyError. Only standard Keras
    layers are used, so a saved model loads without kt.
    """
    if name == CAFFE:
        x = keras.ops.flip(x, axis=-1)
    scale, offset = _affine(name)
    return x if (scale, offset) == (1, 0) else keras.layers.Rescaling(scale, offset, name="preprocessing")(x)


def _affine(name: str) -> tuple[float | list[float], float | list[float]]:
    """The scale and offset of a preprocessing, one for all channels or one for each."""
    table: dict[str, tuple[float | list[float], float | list[float]]] = {
        IN_THE_GRAPH: (1, 0),
        AS_THEY_ARE: (1, 0),
        SCALE: (1 / 127.5, -1),
        LITE: (1 / 128, -127 / 128),
        CAFFE: (1, [-mean for mean in _CAFFE_MEAN]),
        TORCH: (
            [1 / (255 * std) for std in _IMAGENET_STD],
            [-mean / std for mean, std in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True)],
        ),
        # Keras puts Rescaling(s = 1/sqrt(std)) behind the graph's normalisation, but only for weights="imagenet": the
        # same file loaded by path lacks it. Expressed before the normalisation, it is 255 m (1 - s) + s x.
        EFFICIENTNET_FILE: (
            [std**-0.5 for std in _IMAGENET_STD],
            [255 * mean * (1 - std**-0.5) for mean, std in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True)],
        ),
    }
    return table[name]


def is_normalised_for_imagenet(model: keras.Model) -> bool:
    """Whether a model's own normalisation layer holds ImageNet's mean, as EfficientNet's weight files set it."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            mean = keras.ops.convert_to_numpy(layer.weights[0]).ravel()
            return bool(mean.shape == (3,) and abs(mean - _IMAGENET_MEAN).max() < 1e-3)
    return False
