"""CORAL: the source's features get the target's covariance and mean before a classifier learns from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from kt.adaptation.covariance import check_shrinkage, covariance_of, moved, power_of
from kt.adaptation.features import checked, pair
from kt.linear import Linear, fit
from kt.linear.space import Floats
from kt.recipe import check_types


@dataclass(frozen=True)
class CorrelationAlignment:
    """CORAL (Sun, Feng and Saenko, Return of Frustratingly Easy Domain Adaptation, AAAI 2016), with the mean as well.

    shrinkage: of both covariances, from 0 to 1; None estimates it for each domain (Ledoit and Wolf, 2004). The paper
    adds the identity instead, which suits features of one scale alone. Features need comparable units, as those of one
    layer have. It hurts if the domains hold the classes in other shares, because these move the mean too.
    """

    shrinkage: float | None = None

    name = "coral"

    def __post_init__(self) -> None:
        check_types(self)
        check_shrinkage(self.shrinkage, "CorrelationAlignment")

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
        rows, known, others = checked(source, labels, target, classes=classes)
        like_target, _ = self.align(rows, others)
        return fit(like_target, known, classes=classes, groups=groups, balanced=balanced, seed=seed)

    def align(self, source: npt.ArrayLike, target: npt.ArrayLike) -> tuple[Floats, Floats]:
        """The source's features `[N, D]`, moved to where the target's are, and those `[M, D]`, unchanged."""
        rows, others = pair(source, target)
        return moved(rows, others, partial(recolouring, shrinkage=self.shrinkage)), others


def recolouring(
    source: npt.ArrayLike, target: npt.ArrayLike, *, shrinkage: float | None = None
) -> tuple[Floats, Floats]:  # fmt: skip
    """The matrix `[D, D]` and offset `[D]` of CORAL's map: `source @ matrix + offset` looks like the target.

    The matrix is Cs^(-1/2) Ct^(1/2), of the covariances Cs and Ct.
    """
    rows, others = pair(source, target)
    whitening = power_of(covariance_of(rows, shrinkage=shrinkage), -0.5)
    matrix = whitening @ power_of(covariance_of(others, shrinkage=shrinkage), 0.5)
    return matrix, np.asarray(others.mean(axis=0) - rows.mean(axis=0) @ matrix)
