"""The size of the pictures that each backbone was trained on. Standard library only."""

USUAL = 224

_OTHER = {
    240: "EfficientNetB1 EfficientNetV2B1 EfficientNetLite1",
    260: "EfficientNetB2 EfficientNetV2B2 EfficientNetLite2",
    299: "InceptionV3 InceptionResNetV2 Xception",
    300: "EfficientNetB3 EfficientNetV2B3",
    331: "NASNetLarge",
    380: "EfficientNetB4",
    384: "EfficientNetV2S",
    456: "EfficientNetB5",
    480: "EfficientNetV2M EfficientNetV2L",
    528: "EfficientNetB6",
    600: "EfficientNetB7",
}

_SIZES = {name: size for size, names in _OTHER.items() for name in names.split()}


def natural_size(backbone: str) -> int:
    """Height and width in pixels of the pictures that a constructor's ImageNet weights were trained on.

    backbone: its name in `keras.applications` or `kt.backbones`. It takes other sizes too, mostly a little worse.
    """
    return _SIZES.get(backbone, USUAL)
