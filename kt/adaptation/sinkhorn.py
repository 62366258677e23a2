"""Entropic optimal transport between two sets of examples."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from kt.errors import DataError, RecipeError
from kt.linear.space import Floats

_SCALINGS = 50
"""Cheap iterations between two that are computed with logarithms."""

_RANGE = 1e50
"""How far the factors of cheap iterations may go before they are taken into the potentials."""


@dataclass(frozen=True, eq=False)
class Coupling:
    """A transport plan.

    plan: `[N, M]`, the mass that goes from each source example to each target example; the sum is 1. error: the sum of
    the absolute differences between the plan's marginals and those asked for. converged: whether this is within the
    tolerance.
    """

    plan: Floats
    error: float
    converged: bool


def sinkhorn(
    cost: npt.ArrayLike,
    regularisation: float,
    *,
    source: npt.ArrayLike | None = None,
    target: npt.ArrayLike | None = None,
    tolerance: float = 1e-7,
    iterations: int = 10_000,
) -> Coupling:
    """The plan with the lowest `cost` minus `regularisation` times its entropy (Cuturi, Sinkhorn Distances, NIPS 2013).

    cost: `[N, M]`. regularisation: above 0, in the unit of the cost. source, target: the mass of each example, above 0,
    with a sum of 1; None for the same mass for all. The logarithms of the scaling factors are kept, so that a small
    regularisation doesn't underflow; in between the factors are multiplied up as they are, which is quicker
    (Schmitzer, Stabilized sparse scaling algorithms for entropy regularized transport problems, 2019).

    Raises RecipeError if the regularisation is not above 0, and DataError if a cost is not finite or the masses don't
    fit.
    """
    if not regularisation > 0:
        raise RecipeError(f"The regularisation of optimal transport must be above 0, not {regularisation}.")
    scaled = -np.asarray(cost, np.float64) / regularisation
    if scaled.ndim != 2 or not scaled.size or not np.isfinite(scaled).all():
        raise DataError("The cost of optimal transport must be a table of finite numbers.")
    first, second = _mass(source, scaled.shape[0]), _mass(target, scaled.shape[1])
    over = np.zeros(scaled.shape[1])
    error = np.inf
    for _ in range(max(1, iterations // (_SCALINGS + 1))):
        down = np.log(first) - logsumexp(scaled + over, axis=1)
        over = np.log(second) - logsumexp(scaled + down[:, None], axis=0)
        plan = np.exp(scaled + down[:, None] + over)
        left, right = _factors(plan, first, second)
        plan = left[:, None] * plan * right
        error = float(np.abs(plan.sum(axis=1) - first).sum() + np.abs(plan.sum(axis=0) - second).sum())
        if error <= tolerance:
            break
        over = over + np.log(right)
    return Coupling(plan, error, error <= tolerance)


def _factors(plan: Floats, first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """The factors of the plan's rows and columns after some iterations, or as far as they stay in range."""
    left, right = np.ones(len(first)), np.ones(len(second))
    for _ in range(_SCALINGS):
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            rows = first / (plan @ right)
            columns = second / (rows @ plan)
        factors = np.concatenate([rows, columns])
        if not (np.isfinite(factors).all() and factors.max() < _RANGE and factors.min() > 1 / _RANGE):
            break
        left, right = rows, columns
    return left, right


def _mass(given: npt.ArrayLike | None, count: int) -> Floats:
    if given is None:
        return np.full(count, 1 / count)
    mass = np.asarray(given, np.float64)
    if mass.shape != (count,) or not (mass > 0).all() or abs(mass.sum() - 1) > 1e-6:
        raise DataError(f"The masses of {count} examples must be {count} numbers above 0 with a sum of 1.")
    return mass
