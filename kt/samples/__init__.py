"""Data sets that come with kt, for trying it without your own photos."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kt.samples.apples.source import Apples

__all__ = ["Apples"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("kt.samples.apples.source").Apples
