"""Covariances from few examples, their powers, and affine maps of one domain to another."""

from collections.abc import Callable

import numpy as np
from sklearn.covariance import ledoit_wolf_shrinkage

from kt.adaptation.features import drawn
from kt.errors import DataError, RecipeError
from kt.linear.space import Floats

_NOTHING = 1e-12
"""Eigenvalues below this share of the largest count as 0."""


WIDEST = 512
"""The most dimensions whose whole covariance is used."""


def covariance_of(rows: Floats, *, shrinkage: float | None) -> Floats:
    """The covariance `[D, D]` of `[N, D]`, divided by N and shrunk towards the identity times its mean variance.

    shrinkage: from 0, the sample's covariance, to 1; None estimates the share that has the lowest expected error
    (Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance matrices, 2004). Raises DataError if
    all examples are the same.
    """
    if np.ptp(rows, axis=0).max() <= 1e-6 * np.abs(rows).max():
        raise DataError("All examples of a domain have the same features, so there is no covariance to match.")
    centred = rows - rows.mean(axis=0)
    sample = centred.T @ centred / len(rows)
    share = float(ledoit_wolf_shrinkage(centred, assume_centered=True)) if shrinkage is None else shrinkage
    variance = np.trace(sample) / len(sample)
    return np.asarray((1 - share) * sample + share * variance * np.eye(len(sample)))


def power_of(matrix: Floats, exponent: float) -> Floats:
    """A power of a symmetric matrix without negative eigenvalues; a direction without variance stays 0."""
    values, vectors = np.linalg.eigh(matrix)
    used = values > _NOTHING * max(values.max(), 0.0)
    return np.asarray((vectors[:, used] * values[used] ** exponent) @ vectors[:, used].T)


def moved(source: Floats, target: Floats, map_of: Callable[[Floats, Floats], tuple[Floats, Floats]]) -> Floats:
    """The source's features `[N, D]` as an affine map moves them towards the target's `[M, D]`.

    map_of: gives the map's matrix and offset for two domains. Of features with more than `WIDEST` dimensions the map
    moves the `WIDEST` directions in which the domains vary most, and leaves the others as they are: the covariance of
    thousands of features takes minutes, and can't be known from so few examples.
    """
    if source.shape[1] <= WIDEST:
        matrix, offset = map_of(source, target)
        return np.asarray(source @ matrix + offset)
    sample = np.concatenate([rows[drawn(len(rows), WIDEST, seed=0)] for rows in (source, target)])
    centre = sample.mean(axis=0)
    directions = _directions(sample - centre)[:, :WIDEST]
    inside = (source - centre) @ directions
    matrix, offset = map_of(inside, (target - centre) @ directions)
    return np.asarray(source + (inside @ matrix + offset - inside) @ directions.T)


def _directions(centred: Floats) -> Floats:
    """Orthonormal directions `[D, K]` in which centred rows `[N, D]` vary, the widest first."""
    values, vectors = np.linalg.eigh(centred @ centred.T)
    used = values[::-1] > _NOTHING * max(values[-1], 0.0)
    return np.asarray(centred.T @ (vectors[:, ::-1][:, used] / np.sqrt(values[::-1][used])))


def check_shrinkage(shrinkage: float | None, method: str) -> None:
    """Raise RecipeError if the setting `shrinkage` of a method is not from 0 to 1."""
    if shrinkage is not None and not 0 <= shrinkage <= 1:
        raise RecipeError(f"{method}: shrinkage must be from 0 to 1, or None to estimate it, not {shrinkage}.")
