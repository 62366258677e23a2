"""Data sources: each is called without arguments and returns `Splits`.

Names are imported on first use, so that code which only finds files or labels doesn't load TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kt.data.sources.domains import Domains, Unlabelled
    from kt.data.sources.folder import Folder
    from kt.data.sources.records import Records
    from kt.data.sources.table import Table
    from kt.data.sources.tfds import Tfds
    from kt.data.splits import Split, Splits

_MODULES = {
    "Domains": "sources.domains",
    "Folder": "sources.folder",
    "Records": "sources.records",
    "Split": "splits",
    "Splits": "splits",
    "Table": "sources.table",
    "Tfds": "sources.tfds",
    "Unlabelled": "sources.domains",
}

__all__ = ["Domains", "Folder", "Records", "Split", "Splits", "Table", "Tfds", "Unlabelled"]


def __getattr__(name: str) -> Any:
    if name == "Apples":
        raise ImportError("Apples has moved; write: from kt.samples import Apples")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"kt.data.{_MODULES[name]}"), name)
