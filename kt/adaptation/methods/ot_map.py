"""Linear optimal transport: the cheapest map that gives the source the target's mean and covariance."""

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
class LinearTransport:
    """The Monge map between two Gaussians with the domains' means and covariances.

    (Knott and Smith, On the optimal mapping of distributions, 1984; Flamary et al., Concentration bounds for linear
    Monge mapping estimation and optimal transport domain adaptation, 2019.) Of all affine maps that give the source
    this mean and covariance, it moves the examples least, so it turns no more than it must; CORAL's may turn more.
    shrinkage: of both covariances, from 0 to 1; None estimates it for each domain (Ledoit and Wolf, 2004). Features
    need comparable units. It hurts if the domains hold the classes in other shares.
    """

    shrinkage: float | None = None

    name = "ot_map"

    def __post_init__(self) -> None:
        check_types(self)
        check_shrinkage(self.shrinkage, "LinearTransport")

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
        return moved(rows, others, partial(monge_map, shrinkage=self.shrinkage)), others


def monge_map(
    source: npt.ArrayLike, target: npt.ArrayLike, *, shrinkage: float | None = None
) -> tuple[Floats, Floats]:  # fmt: skip
    """The symmetric matrix `[D, D]` and offset `[D]` of the map `source @ matrix + offset`.

    The matrix is Cs^(-1/2) (Cs^(1/2) Ct Cs^(1/2))^(1/2) Cs^(-1/2), of the covariances Cs and Ct.
    """
    rows, others = pair(source, target)
    own = covariance_of(rows, shrinkage=shrinkage)
    root, whitening = power_of(own, 0.5), power_of(own, -0.5)
    middle = root @ covariance_of(others, shrinkage=shrinkage) @ root
    matrix = whitening @ power_of((middle + middle.T) / 2, 0.5) @ whitening
    return matrix, np.asarray(others.mean(axis=0) - rows.mean(axis=0) @ matrix)
