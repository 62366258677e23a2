"""kt: transfer learning that ships, from a folder of photos to a model on a phone and on a server."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from kt.augment import FeatureAugmentation, Views
from kt.heads import Classifier
from kt.recipe import LinearProbe, Phase, Recipe
from kt.schedules import Cosine, LayerwiseDecay

try:
    __version__ = version("kt-transfer")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"

if TYPE_CHECKING:
    from kt.interactive import Result, train

__all__ = [
    "Classifier", "Cosine", "FeatureAugmentation", "LayerwiseDecay", "LinearProbe", "Phase", "Recipe", "Result",
    "Views", "__version__", "train",
]  # fmt: skip


class _Train:
    """`kt.train("photos/")`, and still the module `kt.train`, which loads Keras, for whoever asks for a name of it.

    Once the module is loaded it takes this place, and can be called likewise.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        return import_module("kt.interactive").train(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(import_module("kt.train"), name)


def __getattr__(name: str) -> Any:
    if name == "train":
        return _Train()
    if name == "Result":
        return import_module("kt.interactive").Result
    raise AttributeError(f"module 'kt' has no attribute {name!r}")
