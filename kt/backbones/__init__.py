"""Backbones: what each family wants to see, and pretrained weights with where they came from.

Start at `kt.backbones.build`. Those that `keras.applications` lacks are here, with the same signature. They are
imported when they are asked for, so that `kt weights` needs no Keras.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kt.backbones.efficientnet_lite import EfficientNetLite0, EfficientNetLite1, EfficientNetLite2

__all__ = ["EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from kt.backbones import efficientnet_lite

    return getattr(efficientnet_lite, name)
