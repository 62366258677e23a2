"""No adaptation: what every other method has to beat."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy.typing as npt

from kt.adaptation.features import checked, pair
from kt.linear import Linear, fit
from kt.linear.space import Floats


@dataclass(frozen=True)
class SourceOnly:
    """Learns from the source domain alone (`kt.linear.fit`) and uses the target's features for nothing."""

    name = "none"

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
        """A classifier for features of the target domain; arguments and errors as `kt.recipe.Adaptation.fit` says."""
        rows, known, _ = checked(source, labels, target, classes=classes)
        return fit(rows, known, classes=classes, groups=groups, balanced=balanced, seed=seed)

    def align(self, source: npt.ArrayLike, target: npt.ArrayLike) -> tuple[Floats, Floats]:
        """The features of both domains `[N, D]` and `[M, D]`, unchanged."""
        return pair(source, target)
