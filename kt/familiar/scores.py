"""Scores of how unlike anything known an example is, from its features; higher is more unlike.

Each is fitted on the features of known examples, and is then a function of features `[N, D]` to scores float64 `[N]`:

- `Nearest`: the distance to the k-th nearest (Sun, Ming, Zhu and Li, Out-of-Distribution Detection with Deep Nearest
  Neighbors, ICML 2022).
- `RelativeMahalanobis`: the Mahalanobis distance to the nearest class, less that to all examples (Ren, Fort, Liu, Roy,
  Padhy and Lakshminarayanan, A Simple Fix to Mahalanobis Distance for Improving Near-OOD Detection, 2021).
- `VirtualLogit`, ViM: what lies outside of the main subspace, as a logit beside those of the classes (Wang, Li, Feng
  and Zhang, ViM: Out-Of-Distribution with Virtual-logit Matching, CVPR 2022).
- `least_confidence`: 1 minus the highest of a classifier's scores, the baseline (Hendrycks and Gimpel, A Baseline for
  Detecting Misclassified and Out-of-Distribution Examples in Neural Networks, ICLR 2017).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp
from sklearn.covariance import ledoit_wolf_shrinkage

from kt.errors import DataError
from kt.familiar.nearest import near_distances, unit
from kt.linear.space import Floats

_FLAT = 1e-10
"""Directions with less than this share of the largest variance count as none."""


@dataclass(frozen=True, eq=False)
class Projection:
    """The main directions of features: `(x - mean) @ directions`, `[D]` and `[D, K]`."""

    mean: Floats
    directions: Floats

    @classmethod
    def fit(cls, features: npt.ArrayLike, *, most: int) -> "Projection":
        """Up to `most` main directions, those of the largest variance first (principal component analysis)."""
        rows = _checked(features)
        mean = rows.mean(axis=0)
        _, spread, across = np.linalg.svd(rows - mean, full_matrices=False)
        count = min(most, int((spread**2 > _FLAT * spread[0] ** 2).sum()))
        return cls(mean, across[:count].T)

    def __call__(self, features: npt.ArrayLike) -> Floats:
        """The coordinates float64 `[N, K]`."""
        return np.asarray((np.asarray(features, np.float64) - self.mean) @ self.directions)


@dataclass(frozen=True, eq=False)
class Nearest:
    """The distance, from 0 to 2, to the `neighbours`-th nearest known example; all features have length 1.

    directions: `[D, K]`, orthonormal. known: `[M, K]`, known examples in these directions, of length 1. A new example
    keeps its length in all D directions, so what lies outside of the K makes it farther from all known ones.
    """

    directions: Floats
    known: Floats
    neighbours: int

    @classmethod
    def fit(cls, features: npt.ArrayLike, *, neighbours: int, most: int | None = None) -> "Nearest":
        """From the features of known examples `[M, D]`. most: of directions; None for as many as lose nothing.

        Features are not centred: for features that are never negative, as behind a ReLU, the angle from 0 tells more
        (benchmarks/README.md, Unfamiliar).
        """
        rows = unit(_checked(features))
        _, spread, across = np.linalg.svd(rows, full_matrices=False)
        count = min(most or len(spread), int((spread**2 > _FLAT * spread[0] ** 2).sum()))
        directions = across[:count].T
        return cls(directions, unit(rows @ directions), neighbours)

    def __call__(self, features: npt.ArrayLike) -> Floats:
        """The distance of each example."""
        return near_distances(features, self.known @ self.directions.T, neighbours=self.neighbours)[1]


@dataclass(frozen=True, eq=False)
class RelativeMahalanobis:
    """The squared distance to the nearest class's mean, less that to the mean of all, each in its own covariance.

    means: `[C, D]`. own: `[D, D]`, with `own @ own.T` the inverse of the covariance that the classes share. middle:
    `[D]`. whole: `[D, D]`, the same of all examples together. If relative is False, the second distance is left out.
    """

    means: Floats
    own: Floats
    middle: Floats
    whole: Floats
    relative: bool = True

    @classmethod
    def fit(cls, features: npt.ArrayLike, labels: npt.ArrayLike, *, relative: bool = True) -> "RelativeMahalanobis":
        """From features `[N, D]` and labels `[N]`. Covariances are shrunk, as by Ledoit and Wolf (2004)."""
        rows, known = _checked(features), np.asarray(labels, np.int64)
        present = np.unique(known)
        means = np.stack([rows[known == label].mean(axis=0) for label in present])
        within = rows - means[np.searchsorted(present, known)]
        middle = rows.mean(axis=0)
        return cls(means, _inverse_root(within), middle, _inverse_root(rows - middle), relative)

    def __call__(self, features: npt.ArrayLike) -> Floats:
        """The difference of squared distances of each example; it may be negative."""
        rows = np.asarray(features, np.float64)
        inside, centres = rows @ self.own, self.means @ self.own
        squared = (inside**2).sum(axis=1)[:, None] - 2 * inside @ centres.T + (centres**2).sum(axis=1)
        nearest = np.maximum(squared, 0.0).min(axis=1)
        if not self.relative:
            return np.asarray(nearest)
        return np.asarray(nearest - (((rows - self.middle) @ self.whole) ** 2).sum(axis=1))


@dataclass(frozen=True, eq=False)
class VirtualLogit:
    """The length of what lies outside of the main subspace, times `factor`, less the log of the summed exponents.

    origin: `[D]`. main: `[D, K]`, the subspace. weights `[D, C]`, bias `[C]`: of the classifier.
    """

    origin: Floats
    main: Floats
    factor: float
    weights: Floats
    bias: Floats

    @classmethod
    def fit(
        cls, features: npt.ArrayLike, weights: npt.ArrayLike, bias: npt.ArrayLike, *, dimensions: int
    ) -> "VirtualLogit":  # fmt: skip
        """From features `[N, D]` and the classifier's last layer. dimensions: of the main subspace."""
        rows = _checked(features)
        matrix, offset = np.asarray(weights, np.float64), np.asarray(bias, np.float64)
        origin = -np.linalg.pinv(matrix.T) @ offset
        _, _, across = np.linalg.svd(rows - origin, full_matrices=False)
        main = across[:dimensions].T
        outside = _outside(rows - origin, main).sum()
        highest = (rows @ matrix + offset).max(axis=1).sum()
        return cls(origin, main, float(highest / outside) if outside > 0 else 0.0, matrix, offset)

    def __call__(self, features: npt.ArrayLike) -> Floats:
        """The virtual logit less the classes' logits, for each example."""
        rows = np.asarray(features, np.float64)
        logits = rows @ self.weights + self.bias
        return np.asarray(self.factor * _outside(rows - self.origin, self.main) - logsumexp(logits, axis=1))


def least_confidence(scores: npt.ArrayLike) -> Floats:
    """1 minus the highest of each example's scores `[N, C]`."""
    return np.asarray(1.0 - np.asarray(scores, np.float64).max(axis=1))


def _outside(rows: Floats, main: Floats) -> Floats:
    """The length of what a subspace with this orthonormal basis lacks of each row."""
    return np.asarray(np.linalg.norm(rows - (rows @ main) @ main.T, axis=1))


def _inverse_root(centred: Floats) -> Floats:
    """A root of the inverse of the shrunk covariance of centred rows `[N, D]`."""
    covariance = centred.T @ centred / len(centred)
    size = float(np.trace(covariance)) / len(covariance)
    if size <= 0:
        raise DataError("All examples have the same features, so no distance can be measured.")
    share = float(ledoit_wolf_shrinkage(centred, assume_centered=True))
    values, vectors = np.linalg.eigh((1 - share) * covariance + share * size * np.eye(len(covariance)))
    return np.asarray(vectors / np.sqrt(np.maximum(values, _FLAT * size)))


def _checked(features: npt.ArrayLike) -> Floats:
    rows = np.asarray(features, np.float64)
    if rows.ndim != 2 or not rows.size:
        raise DataError(f"Features of known examples must be [examples, features], not {list(rows.shape)}.")
    if not np.isfinite(rows).all():
        raise DataError("A known example has features that are not finite numbers.")
    return rows
