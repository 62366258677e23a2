"""What a recipe is, and how it is loaded, changed from the command line and described (standard library only).

A recipe is a Python file with one object named `recipe`. Its mistakes are found when it is loaded, before any data is
read.
"""

from kt.recipe.contracts import Adaptation, Answers, Objective, ObjectiveWithLayers, Step
from kt.recipe.definition import ALL, TOP, AdaptedProbe, LinearProbe, Phase, Recipe, depths_of, epochs_of, streams_of
from kt.recipe.description import describe
from kt.recipe.exports import EXPORTS, Format
from kt.recipe.field_types import check_types
from kt.recipe.loading import Loaded, is_recipe, load, load_text, summary_of
from kt.recipe.settings import override
from kt.recipe.unlabelled import AdaptiveBatchNorm, Shot

__all__ = [
    "ALL",
    "EXPORTS",
    "TOP",
    "Adaptation",
    "AdaptedProbe",
    "AdaptiveBatchNorm",
    "Answers",
    "Format",
    "LinearProbe",
    "Loaded",
    "Objective",
    "ObjectiveWithLayers",
    "Phase",
    "Recipe",
    "Shot",
    "Step",
    "check_types",
    "depths_of",
    "describe",
    "epochs_of",
    "is_recipe",
    "load",
    "load_text",
    "override",
    "streams_of",
    "summary_of",
]
