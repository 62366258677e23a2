"""Where pictures come from: each source is called without arguments and gives `Splits`."""

from kt.data.apples import Apples
from kt.data.sources import Folder, Table, Tfds
from kt.data.splits import Split, Splits

__all__ = ["Apples", "Folder", "Split", "Splits", "Table", "Tfds"]
