"""What can't be compared, found before anything trains."""

from collections.abc import Mapping, Sequence

from kt.console import warn
from kt.data.splits import Splits
from kt.errors import DataError, RecipeError
from kt.model import build
from kt.recipe import Recipe
from kt.strategy.compare.comparison import BASELINE
from kt.strategy.compare.training import forget
from kt.train import check_phases


def check(named: Mapping[str, Recipe], seeds: Sequence[int]) -> None:
    """Raise RecipeError for seeds that tell nothing of chance, and for recipes with nothing to transfer."""
    if len(seeds) < 2:
        raise RecipeError("A comparison needs at least 2 seeds: one training says nothing of chance. 3 are usual.")
    if len(set(seeds)) < len(seeds):
        raise RecipeError(f"Seeds must differ, and these don't: {', '.join(map(str, seeds))}.")
    for name, recipe in named.items():
        if name != BASELINE and recipe.weights in (None, "none", "None"):
            raise RecipeError(
                f"The recipe's weights are {recipe.weights!r}, so there is nothing to transfer and {name!r} would "
                "compare noise. Give it weights: --set weights=imagenet, or --set weights=FILE."
            )


def check_test(splits: Splits) -> None:
    """Raise DataError where all test pictures are of one class."""
    there = sorted(set(splits.test.labels.tolist()))
    if len(there) < 2:
        raise DataError(
            f"The test split has pictures of {splits.classes[there[0]]!r} alone, and whoever always says so would win; "
            "give it pictures of every class."
        )


def buildable(named: Mapping[str, Recipe], splits: Splits) -> tuple[dict[str, Recipe], list[str]]:
    """Build each once, so that weights that can't be had are found before any training.

    A strategy that this backbone or head does not allow (no blocks, a head that is not linear) is left out with a note;
    RecipeError where none is left.
    """
    found: dict[str, Recipe] = {}
    notes: list[str] = []
    refusal = RecipeError("There is nothing to compare.")
    for name, recipe in named.items():
        try:
            check_phases(recipe, build(recipe, image_size=splits.image_size, num_classes=len(splits.classes)))
            found[name] = recipe
        except RecipeError as error:
            refusal = error
            notes.append(f"{name} is left out: {error}")
            warn(notes[-1])
        finally:
            forget()
    if not found:
        raise refusal
    return found, notes
