"""Checks for recipes and data that can't be compared, made before anything trains."""

from collections.abc import Mapping, Sequence

from kt.base.console import warn
from kt.data.splits import Splits
from kt.errors import DataError, RecipeError
from kt.network.model import build
from kt.recipe import Recipe
from kt.strategy.compare.comparison import BASELINE
from kt.strategy.compare.training import forget
from kt.training import check_phases


def check_comparable(named: Mapping[str, Recipe], seeds: Sequence[int]) -> None:
    """Raise RecipeError for seeds that show nothing of chance, and for recipes with nothing to transfer."""
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
    """Raise DataError if all test pictures are of one class."""
    present = sorted(set(splits.test.labels.tolist()))
    if len(present) < 2:
        raise DataError(
            f"The test split has pictures of {splits.classes[present[0]]!r} alone, and whoever always says so would "
            "win; give it pictures of every class."
        )


def buildable(named: Mapping[str, Recipe], splits: Splits) -> tuple[dict[str, Recipe], list[str]]:
    """The recipes that can be built, and notes on the others. Each is built once, so that weights are fetched first.

    A strategy that this backbone or head does not allow (no blocks, a head that is not linear) is left out with a note.
    Raises RecipeError if none is left.
    """
    allowed: dict[str, Recipe] = {}
    notes: list[str] = []
    refusal = RecipeError("There is nothing to compare.")
    for name, recipe in named.items():
        try:
            check_phases(recipe, build(recipe, kind=splits.kind, num_classes=len(splits.classes)))
            allowed[name] = recipe
        except RecipeError as error:
            refusal = error
            notes.append(f"{name} is left out: {error}")
            warn(notes[-1])
        finally:
            forget()
    if not allowed:
        raise refusal
    return allowed, notes
