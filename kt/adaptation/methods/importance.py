"""Importance weighting: source examples that look like the target's count for more."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kt.adaptation.density import density_ratio
from kt.adaptation.features import checked
from kt.errors import RecipeError
from kt.linear import Linear, fit
from kt.recipe import check_types


@dataclass(frozen=True)
class ImportanceWeighting:
    """Importance weighting by a domain classifier.

    (Sugiyama et al., Direct importance estimation for covariate shift adaptation, 2008; Bickel, Brückner and Scheffer,
    Discriminative Learning Under Covariate Shift, JMLR 2009: the classifier's odds as weights.) largest: the most that
    an example may count, as a multiple of the mean weight, 1 or more; a few examples would decide everything otherwise.
    It helps if the same features mean the same class in both domains and are only more or less frequent. It hurts if
    the domains don't overlap.
    """

    largest: float = 10.0

    name = "importance"

    def __post_init__(self) -> None:
        check_types(self)
        if self.largest < 1:
            raise RecipeError(f"ImportanceWeighting: largest must be 1 or more, not {self.largest}.")

    def fit(
        self,
        source: npt.ArrayLike,
        labels: npt.ArrayLike,
        target: npt.ArrayLike,
        *,
        classes: int,
        groups: Sequence[str] | None = None,
        balanced: bool = False,
        seed: int = 0,
    ) -> Linear:
        """A classifier for features of the target domain; arguments and errors as `kt.recipe.Adaptation.fit` says.

        Raises DataError also if a domain has a single independent example.
        """
        rows, known, others = checked(source, labels, target, classes=classes)
        ratio = density_ratio(rows, others, groups=groups, seed=seed)
        weights = np.minimum(ratio / ratio.mean(), self.largest)
        return fit(rows, known, classes=classes, groups=groups, balanced=balanced, weights=weights, seed=seed)
