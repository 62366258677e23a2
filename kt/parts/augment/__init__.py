"""Augmentation of training pictures. Recipes import this package, so it imports nothing heavy before it is called."""

from kt.parts.augment.mixing import CutMix, MixUp
from kt.parts.augment.plan import Augmentation, copies_of, in_graph, plan_of
from kt.parts.augment.rand_augment import RandAugment
from kt.parts.augment.seeds import seed_of
from kt.parts.augment.stored import FeatureAugmentation, Views

__all__ = [
    "Augmentation", "CutMix", "FeatureAugmentation", "MixUp", "RandAugment", "Views", "copies_of", "in_graph",
    "plan_of", "seed_of",
]  # fmt: skip
