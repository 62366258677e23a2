"""How well frozen features suit a task, without training a network: LogME, the H-score and nearest neighbours.

All functions take NumPy arrays. A larger LogME, H-score or accuracy of the neighbours means better features.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

NEIGHBOURS = 5

_LEAST_NOISE = 1e-6
"""The smallest noise variance of a one-hot label: if features fit the labels exactly, the evidence is infinite."""

_FLATTEST, _STEEPEST = 1e-10, 1e10
"""Bounds of the weights' precision for a largest singular value of 1; useless features drive it up."""

_STEPS = 1000
_STILL = 1e-7
"""The fixed point is reached when neither precision changes by more than this share."""


def logme(features: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """LogME: the largest log evidence of a Bayesian linear model for each class's one-hot label, per picture and class.

    features: `[N, D]`; labels: `[N]`, indices of classes. It is the mean over the classes that occur of
    `max over a, b of log p(y | F, a, b) / N`, with weights drawn from N(0, 1/a) and noise of variance 1/b. The maximum
    is the fixed point of the paper, computed on the singular values, so that it costs one decomposition. The scale of
    the features does not matter. (You et al., LogME: Practical Assessment of Pre-trained Models for Transfer Learning,
    ICML 2021.)
    """
    matrix, indices = _checked(features, labels)
    one_hot = np.equal.outer(indices, np.unique(indices)).astype(np.float64)
    left, values = _decomposed(matrix)
    along = left.T @ one_hot
    outside = np.maximum((one_hot**2).sum(axis=0) - (along**2).sum(axis=0), 0.0)
    # In units of the largest value, so that the bounds of the precision do not depend on the features' scale.
    squares = (values / values[0]) ** 2 if len(values) else values
    return float(np.mean([_evidence(squares, along[:, k], outside[k], len(matrix)) for k in range(one_hot.shape[1])]))


def _evidence(squares: Floats, along: Floats, outside: float, count: int) -> float:
    """The log evidence per picture at the fixed point.

    squares: of the singular values `[R]`; along: the label in the basis of the left singular vectors `[R]`; outside:
    the squared length of the label's part that no weights reach.
    """
    prior, noise = 1.0, 1.0
    for _ in range(_STEPS):
        shares = noise * squares / (prior + noise * squares)
        effective = float(shares.sum())
        lengths = float(((shares * along) ** 2 / np.maximum(squares, np.finfo(float).tiny)).sum())
        misfit = float((((1 - shares) * along) ** 2).sum()) + outside
        new_prior = float(np.clip(effective / max(lengths, np.finfo(float).tiny), _FLATTEST, _STEEPEST))
        new_noise = float(min((count - effective) / max(misfit, np.finfo(float).tiny), 1 / _LEAST_NOISE))
        moved = max(abs(np.log(new_prior / prior)), abs(np.log(new_noise / noise)))
        prior, noise = new_prior, new_noise
        if moved < _STILL:
            break
    return _log_evidence(squares, along, outside, count=count, prior=prior, noise=noise)


def _log_evidence(
    squares: Floats, along: Floats, outside: float, *, count: int, prior: float, noise: float
) -> float:  # fmt: skip
    """log p(y | F, prior, noise) / N; prior and noise are precisions. The other arguments are those of `_evidence`."""
    spread = prior + noise * squares
    weights = noise * np.sqrt(squares) * along / spread
    misfit = float(((prior / spread * along) ** 2).sum()) + outside
    total = (
        count * np.log(noise) - count * np.log(2 * np.pi) - noise * misfit - prior * float((weights**2).sum())
        + float(np.log(prior / spread).sum())
    )  # fmt: skip
    return float(total / (2 * count))


def h_score(features: npt.ArrayLike, labels: npt.ArrayLike, *, shrinkage: float | None = None) -> float:
    """The H-score: tr(cov(f)^-1 cov(E[f | y])), how much of the features' variance lies between the classes.

    It goes from 0 to the number of classes less one. shrinkage: 0 for the definition of Bao et al., An
    Information-Theoretic Approach to Transferability in Task Transfer Learning, ICIP 2019; it is invariant under
    invertible linear maps of the features, but meaningless where features outnumber pictures. A share from 0 to 1
    replaces this share of the covariance by a multiple of the identity, and scales the classes' covariance by the rest
    (Ibrahim, Ponomareva and Mazumder, Newer is Not Always Better: Rethinking Transferability Metrics, their
    Peculiarities, Stability and Performance, ECML PKDD 2022). None takes the share of Ledoit and Wolf, as they do.
    """
    matrix, indices = _checked(features, labels)
    matrix = np.where(np.ptp(matrix, axis=0) > 0, matrix - matrix.mean(axis=0), 0.0)  # exactly 0, free of rounding
    share = _ledoit_wolf(matrix) if shrinkage is None else shrinkage
    left, values = _decomposed(matrix)
    if not len(values):
        return 0.0
    variances = values**2 / len(matrix)
    target = variances.sum() / matrix.shape[1]
    shrunk = (1 - share) * variances + share * target
    total = 0.0
    for label in np.unique(indices):
        members = indices == label
        mean = values * left[members].mean(axis=0)  # the class's mean, in the basis of the right singular vectors
        total += float(members.mean() * (mean**2 / shrunk).sum())
    return (1 - share) * total


def _ledoit_wolf(centred: Floats) -> float:
    """The share of the identity; 1 if no feature varies."""
    from sklearn.covariance import ledoit_wolf_shrinkage

    return float(ledoit_wolf_shrinkage(centred, assume_centered=True)) if centred.any() else 1.0


def neighbours(
    features: npt.ArrayLike, labels: npt.ArrayLike, groups: Sequence[str] | None = None, *, k: int = NEIGHBOURS
) -> Labels:
    """The label `[N]` that each picture's `k` nearest pictures of other groups vote for, by cosine distance.

    Features are standardised first. Without groups every picture is its own group. If classes have equally many votes,
    that of the nearest picture wins.
    """
    from sklearn.metrics import pairwise_distances
    from sklearn.preprocessing import StandardScaler

    matrix, indices = _checked(features, labels)
    numbers = np.arange(len(indices))
    own = numbers if groups is None else np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    distances = pairwise_distances(StandardScaler().fit_transform(matrix), metric="cosine")
    distances[np.equal.outer(own, own)] = np.inf
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
    reachable = np.isfinite(np.take_along_axis(distances, nearest, axis=1))
    # A nearer picture's vote weighs a little more: enough to settle ties, too little to outvote others.
    votes = reachable * (1 + 0.5 ** np.arange(1, nearest.shape[1] + 1) / nearest.shape[1])
    tally = np.zeros((len(indices), int(indices.max()) + 1))
    np.add.at(tally, (numbers[:, None], indices[nearest]), votes)
    return np.asarray(tally.argmax(axis=1), np.int64)


def _checked(features: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Labels]:
    matrix, indices = np.asarray(features, np.float64), np.asarray(labels, np.int64)
    if matrix.ndim != 2 or indices.shape != matrix.shape[:1] or not matrix.size:
        raise ValueError(f"Features of shape {matrix.shape} do not fit labels of shape {indices.shape}.")
    if not np.isfinite(matrix).all():
        raise ValueError("Features must be numbers, and some are infinite or NaN.")
    return matrix, indices


def _decomposed(matrix: Floats) -> tuple[Floats, Floats]:
    """The left singular vectors `[N, R]` and the singular values `[R]`, largest first, without those from rounding."""
    from scipy import linalg

    if matrix.shape[1] > matrix.shape[0]:  # a square matrix with the same left side, in a quarter of the time
        matrix = linalg.qr(matrix.T, mode="r", check_finite=False)[0][: len(matrix)].T
    left, values, _ = linalg.svd(matrix, full_matrices=False, check_finite=False)
    real = values > values[0] * max(matrix.shape) * np.finfo(float).eps if values[0] > 0 else values > 0
    return left[:, real], values[real]
