"""The parts of a recipe that `--set` knows by name, as in `--set fine_tune.trainable=last_blocks(6)`."""

from collections.abc import Sequence

from kt import freeze
from kt.heads import Classifier
from kt.parts.objectives import Cdan, Coral, Dann, Mcc, Mmd
from kt.parts.schedules import Cosine, LayerwiseDecay
from kt.recipe import Recipe, override

PARTS = {
    "trainable": freeze.NAMED,
    "schedule": {"Cosine": Cosine},
    "layer_rates": {"LayerwiseDecay": LayerwiseDecay},
    "head": {"Classifier": Classifier},
    "objective": {"Cdan": Cdan, "Coral": Coral, "Dann": Dann, "Mcc": Mcc, "Mmd": Mmd},
}
"""The values that fields of a recipe or a phase can be set to, by the field's name."""


def changed(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """The recipe with `path=value` settings applied by `kt.recipe.override`, which knows kt's parts by name."""
    return override(recipe, settings, parts=PARTS)
