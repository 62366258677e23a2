"""Backbones: the preprocessing of each family, and pretrained weights with their origin.

Start at `kt.backbones.build`. Backbones that `keras.applications` lacks are here, with the same signature. They are
imported on first use, so that `kt weights` needs no Keras.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kt.backbones.efficientnet_lite import EfficientNetLite0, EfficientNetLite1, EfficientNetLite2
    from kt.backbones.rows import RowNetwork

__all__ = ["EfficientNetLite0", "EfficientNetLite1", "EfficientNetLite2", "RowNetwork"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "rows" if name == "RowNetwork" else "efficientnet_lite"
    return getattr(import_module(f"kt.backbones.{module}"), name)
