"""kt: transfer learning that ships, from a folder of photos to a model on a phone and on a server."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from kt.heads import Classifier
from kt.parts.augment import CutMix, FeatureAugmentation, MixUp, RandAugment, Views
from kt.parts.objectives import Cdan, Coral, Dann, Mcc, Mmd
from kt.parts.schedules import Cosine, LayerwiseDecay
from kt.recipe import AdaptedProbe, AdaptiveBatchNorm, Format, LinearProbe, Phase, Recipe, Shot

try:
    __version__ = version("kt-transfer")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"

if TYPE_CHECKING:
    from kt.interactive import Result, train

__all__ = [
    "AdaptedProbe", "AdaptiveBatchNorm", "Cdan", "Classifier", "Coral", "Cosine", "CutMix", "Dann",
    "FeatureAugmentation", "Format", "LayerwiseDecay", "LinearProbe", "Mcc", "MixUp", "Mmd", "Phase", "RandAugment",
    "Recipe", "Result", "Shot", "Views", "__version__", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("Result", "train"):  # loaded when they are asked for
        return getattr(import_module("kt.interactive"), name)
    raise AttributeError(f"module 'kt' has no attribute {name!r}")
