"""kt: transfer learning that ships, from a folder of photos to a model on a phone and on a server."""

from importlib.metadata import PackageNotFoundError, version

from kt.augment import FeatureAugmentation, Views
from kt.heads import Classifier
from kt.recipe import LinearProbe, Phase, Recipe
from kt.schedules import Cosine, LayerwiseDecay

try:
    __version__ = version("kt-transfer")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"

__all__ = [
    "Classifier", "Cosine", "FeatureAugmentation", "LayerwiseDecay", "LinearProbe", "Phase", "Recipe", "Views",
    "__version__",
]  # fmt: skip
