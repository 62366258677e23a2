"""Where pictures come from: each source is called without arguments and gives `Splits`.

Names are imported when they are asked for, so that what only finds files or labels loads no TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kt.data.apples import Apples
    from kt.data.sources import Folder, Tfds
    from kt.data.splits import Split, Splits
    from kt.data.tables.source import Table

_MODULES = {
    "Apples": "apples",
    "Folder": "sources",
    "Split": "splits",
    "Splits": "splits",
    "Table": "tables.source",
    "Tfds": "sources",
}

__all__ = ["Apples", "Folder", "Split", "Splits", "Table", "Tfds"]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"kt.data.{_MODULES[name]}"), name)
