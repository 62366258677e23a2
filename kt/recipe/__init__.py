"""What a recipe is, and how one is loaded, changed from the command line and described (standard library only).

A recipe is a Python file with one object named `recipe`. Its mistakes are found here, at load, before any data is read.
"""

from kt.recipe.definition import ALL, EXPORTS, TOP, LinearProbe, Phase, Recipe, Step, depths_of, epochs_of
from kt.recipe.description import describe
from kt.recipe.field_types import check_types
from kt.recipe.loading import Loaded, is_recipe, load, load_text, summary_of
from kt.recipe.settings import override

__all__ = [
    "ALL",
    "EXPORTS",
    "TOP",
    "LinearProbe",
    "Loaded",
    "Phase",
    "Recipe",
    "Step",
    "check_types",
    "depths_of",
    "describe",
    "epochs_of",
    "is_recipe",
    "load",
    "load_text",
    "override",
    "summary_of",
]
