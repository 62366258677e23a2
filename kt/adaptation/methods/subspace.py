"""Subspace alignment: the source's principal directions are turned to the target's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kt.adaptation.features import checked, pair
from kt.errors import DataError, RecipeError
from kt.linear import Linear, fit
from kt.linear.space import Floats
from kt.recipe import check_types

VARIANCE = 0.95
"""The share of a domain's variance that its subspace holds, if the number of dimensions is not set."""

RESOLVED = 1e-7
"""Directions narrower than this share of the widest are rounding: float32 features do not resolve them either."""


@dataclass(frozen=True)
class SubspaceAlignment:
    """Subspace alignment (Fernando et al., Unsupervised Visual Domain Adaptation Using Subspace Alignment, ICCV 2013).

    Each domain is centred at its own mean. dimensions: of both subspaces, 1 or more; None takes as many as hold 95% of
    the variance of the domain that needs fewer. It hurts if classes differ in directions of little variance, which the
    subspaces leave out, and if the domains hold the classes in other shares, because these move the mean.
    """

    dimensions: int | None = None

    name = "subspace"

    def __post_init__(self) -> None:
        check_types(self)
        if self.dimensions is not None and self.dimensions < 1:
            raise RecipeError(f"SubspaceAlignment: dimensions must be 1 or more, or None, not {self.dimensions}.")

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

        Raises DataError also if a domain has fewer dimensions than are asked for.
        """
        rows, known, others = checked(source, labels, target, classes=classes)
        own, its = bases(rows, others, dimensions=self.dimensions)
        aligned = (rows - rows.mean(axis=0)) @ own @ (own.T @ its)
        inside = fit(aligned, known, classes=classes, groups=groups, balanced=balanced, seed=seed)
        weights = its @ inside.weights
        return replace(inside, weights=weights, bias=inside.bias - others.mean(axis=0) @ weights)

    def align(self, source: npt.ArrayLike, target: npt.ArrayLike) -> tuple[Floats, Floats]:
        """Both domains in the target's subspace, `[N, dimensions]` and `[M, dimensions]`; the source is turned."""
        rows, others = pair(source, target)
        own, its = bases(rows, others, dimensions=self.dimensions)
        return (rows - rows.mean(axis=0)) @ own @ (own.T @ its), (others - others.mean(axis=0)) @ its


def bases(source: Floats, target: Floats, *, dimensions: int | None = None) -> tuple[Floats, Floats]:
    """Orthonormal principal directions `[D, dimensions]` of the source and of the target."""
    directions, needed = zip(*(_principal(rows) for rows in (source, target)), strict=True)
    count = min(needed) if dimensions is None else dimensions
    there_are = min(found.shape[1] for found in directions)
    if count > there_are or not there_are:
        raise DataError(
            f"Subspace alignment needs {max(count, 1)} dimensions in both domains, and one has {there_are}. Add "
            "examples, or set fewer dimensions."
        )
    return _orthonormal(directions[0][:, :count]), _orthonormal(directions[1][:, :count])


def _principal(rows: Floats) -> tuple[Floats, int]:
    """All directions in which the examples vary, the widest first, and how many of them hold `VARIANCE`.

    They come from the smaller of two symmetric matrices with the same eigenvalues: the examples' products `[N, N]`, or
    the features' `[D, D]`. A singular value decomposition of thousands of features takes ten times as long and more.
    """
    centred = rows - rows.mean(axis=0)
    wide = centred.shape[1] > centred.shape[0]
    squares, vectors = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    widths, vectors = np.sqrt(np.maximum(squares[::-1], 0.0)), vectors[:, ::-1]
    rounding = max(
        1e-6 * np.abs(rows).max() * np.sqrt(len(rows)), RESOLVED * widths[0]
    )  # of float32, and of the squares
    used = widths > rounding
    held = np.cumsum(widths[used] ** 2)
    directions = centred.T @ (vectors[:, used] / widths[used]) if wide else vectors[:, used]
    return directions, int(np.searchsorted(held, VARIANCE * held[-1]) + 1) if len(held) else 0


def _orthonormal(directions: Floats) -> Floats:
    """The nearest orthonormal directions of some that are so but for rounding, by a step of Newton's iteration."""
    return np.asarray(directions @ (1.5 * np.eye(directions.shape[1]) - 0.5 * (directions.T @ directions)))
