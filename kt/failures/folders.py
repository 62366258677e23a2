"""The folder that each example comes from, where it says more than its class."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from kt.data.labels import key_of
from kt.data.split_words import split_of
from kt.kinds.kind import Property

NONE = "no further folder"


def folders(names: Sequence[str], labels: Sequence[str]) -> Property:
    """The folders of examples by their names, such as `test/good/camera_2/001.jpg`, without class and split.

    labels: the class of each. So `good/camera_2` and `bad/camera_2` are one folder, `camera_2`.
    """
    return Property("folder", names=tuple(map(_folder, names, labels)), of="in {}")


def _folder(name: str, label: str) -> str:
    own = key_of(label)
    parts = [part for part in PurePosixPath(name).parent.parts if key_of(part) != own and split_of(part) is None]
    return "/".join(parts) or NONE
