"""Measures a classifier on pictures that it has not been trained on: figures with intervals, and figures by class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats
from sklearn import metrics

from kt.base.few import FEW
from kt.base.metrics import CONFIDENCE
from kt.errors import DataError, TrainingError

BINS = 15

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Bootstrap weights are [pictures, resamples]. Blocks of this many numbers about fit the processor's cache.
_BLOCK = 2_000_000


def evaluate(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    classes: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> dict[str, Any]:
    """The figures of a classifier for the report, as plain numbers that JSON can hold.

    scores: `[N, C]`, a probability for each class. labels: `[N]`, indices into `classes`. groups: the group of each
    picture; unless given, every picture is its own group.

    The main figures are `accuracy`; `balanced_accuracy`, the mean recall of the classes that have test pictures;
    `roc_auc`; `log_loss` in nats; `brier_score`; and `calibration_error`, the expected calibration error of the top
    score over 15 equally wide bins (Guo et al., On Calibration of Modern Neural Networks, 2017). With two classes
    `roc_auc` is that of the score of class 1; with more it is the mean over the classes with test pictures, each
    against the rest; it is `None` if fewer than two classes have test pictures. The Brier score is half the squared
    distance between scores and truth, 0 to 1 (Brier, Verification of forecasts expressed in terms of probability,
    1950, without the half): with two classes, the mean squared error of either score. A figure that is undefined, such
    as the recall of a class without test pictures, is `None`, never NaN.

    Intervals are 95% percentile bootstrap intervals. Pictures of one group are not independent, so whole groups are
    drawn, with replacement (a cluster bootstrap): 400 pictures of 4 apples are evidence of 4 apples only. Groups are
    drawn within each class, so that every class is in every resample; a group with pictures of several classes counts
    as one group in each. If a class has very few groups, the interval is too narrow: a single group has no spread.
    Therefore, if a class has fewer than `FEW` pictures, the intervals of both accuracies are widened to the interval of
    a proportion (Jeffreys' prior; Brown et al., Interval Estimation for a Binomial Proportion, 2001); it assumes as
    many independent pictures as the groups are worth. The calibration error is biased upwards in small samples, and
    more so in resamples, so its interval is too high.

    Raises DataError if the shapes or labels don't fit, TrainingError if scores are not probabilities.
    """
    scores, labels = np.asarray(scores), np.asarray(labels, dtype=np.int64)
    _check(scores, labels, classes=classes, groups=groups)
    present = np.unique(labels)
    predicted = scores.argmax(axis=1)
    top = np.clip(scores.max(axis=1).astype(np.float64), 0.0, 1.0)
    right = (predicted == labels).astype(np.float64)
    bins = _bins(top)
    probabilities = _normalised(scores)
    confusion = _confusion(labels, predicted, len(classes))
    hits, support, answered = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    precision, recall, f1 = _share(hits, answered), _share(hits, support), _share(2 * hits, support + answered)
    losses = -np.log(probabilities[np.arange(len(labels)), labels])
    distances = squared_distances(probabilities, labels)
    calibration = _calibration(top, right, bins)
    figures = {
        "accuracy": right.mean(),
        "balanced_accuracy": recall[present].mean(),
        "roc_auc": _roc_auc(scores, labels, present),
        "log_loss": losses.mean(),
        "brier_score": distances.mean(),
        "calibration_error": sum(
            row["count"] / len(labels) * abs(row["confidence"] - row["accuracy"]) for row in calibration if row["count"]
        ),
    }
    clusters = clusters_of(labels, groups)
    means = {"accuracy": right, "log_loss": losses, "brier_score": distances}
    draws = _bootstrap(scores, labels, clusters, means=means, gaps=top - right, bins=bins,
                       seed=seed, resamples=resamples)  # fmt: skip
    intervals = {name: _interval(draws.get(name)) for name in figures}
    return {
        "images": len(labels),
        "groups": len(labels) if groups is None else len(set(groups)),
        **{name: _plain(value) for name, value in figures.items()},
        "confidence": CONFIDENCE,
        "intervals": {**intervals, **_of_few(figures, intervals, clusters)},
        "per_class": [
            {
                "label": str(label),
                "precision": _plain(precision[i]),
                "recall": _plain(recall[i]),
                "f1": _plain(f1[i]),
                "support": int(support[i]),
            }
            for i, label in enumerate(classes)
        ],
        "confusion_matrix": confusion.tolist(),
        "calibration": calibration,
    }


def squared_distances(probabilities: npt.NDArray[Any], labels: Ints) -> Floats:
    """The Brier score of each picture, `[N]`, 0 to 1: half the squared distance of scores `[N, C]` from the truth."""
    truth = np.eye(probabilities.shape[1])[labels]
    return np.asarray(((probabilities - truth) ** 2).sum(axis=1) / 2)


def balanced_accuracy(labels: Ints, predicted: Ints, *, classes: int) -> float:
    """The mean recall of the classes that have pictures; any class may be predicted."""
    confusion = _confusion(labels, predicted, classes)
    return float(np.nanmean(_share(confusion.diagonal(), confusion.sum(axis=1))))


def _confusion(labels: Ints, predicted: Ints, classes: int) -> Ints:
    """The number of pictures by true class, in rows, and predicted class, in columns.

    kt counts itself, because scikit-learn 1.9 takes many classes with few pictures for a regression, and warns.
    """
    counts = np.bincount(labels * classes + predicted, minlength=classes**2)
    return np.asarray(counts.reshape(classes, classes), np.int64)


def _share(part: Ints, whole: Ints) -> Floats:
    """Part divided by whole; NaN if the whole is 0."""
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0))


def _check(scores: npt.NDArray[Any], labels: Ints, *, classes: Sequence[str], groups: Sequence[str] | None) -> None:
    """Raise an error for scores or labels that don't fit, before they become a figure that looks right."""
    if scores.ndim != 2 or scores.shape != (len(labels), len(classes)) or labels.ndim != 1:
        raise DataError(
            f"Cannot evaluate scores of shape {list(scores.shape)} with labels of shape {list(labels.shape)}: "
            f"expected a row for each label and a column for each of the {len(classes)} classes."
        )
    if not len(labels):
        raise DataError("Cannot evaluate without examples: the test split is empty. Give it some, or a larger share.")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(f"Labels go from {labels.min()} to {labels.max()}; expected 0 to {len(classes) - 1}.")
    if groups is not None and len(groups) != len(labels):
        raise DataError(f"There are {len(groups)} groups for {len(labels)} examples; expected a group for each.")
    if not np.isfinite(scores).all():
        raise TrainingError("The model answered NaN or infinity for a test example. Train it again with a lower lr.")
    sums = scores.sum(axis=1, dtype=np.float64)
    if scores.min() < -1e-3 or np.abs(sums - 1).max() > 0.1:
        raise TrainingError(
            f"Scores must be probabilities that sum to 1; here they go from {scores.min():.3g} to {scores.max():.3g} "
            f"and a row sums to {sums[np.abs(sums - 1).argmax()]:.3g}. Does the head end in a softmax?"
        )


def _normalised(scores: npt.NDArray[Any]) -> Floats:
    """Scores whose rows sum to 1, clipped at the precision of their type, so that no logarithm is infinite."""
    eps = np.finfo(scores.dtype if scores.dtype.kind == "f" else np.float64).eps
    clipped = np.clip(scores.astype(np.float64), eps, None)
    return np.asarray(clipped / clipped.sum(axis=1, keepdims=True))


def calibration_of(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> list[dict[str, Any]]:
    """The rows of `calibration` that `evaluate` gives: for each bin of the top score, confidence and accuracy."""
    top = np.clip(scores.max(axis=1).astype(np.float64), 0.0, 1.0)
    return _calibration(top, (scores.argmax(axis=1) == labels).astype(np.float64), _bins(top))


def _bins(top: Floats) -> Ints:
    """The calibration bin of each top score; a bin includes its upper edge."""
    return np.clip(np.ceil(top * BINS).astype(np.int64) - 1, 0, BINS - 1)


def _calibration(top: Floats, right: Floats, bins: Ints) -> list[dict[str, Any]]:
    """For each bin the mean confidence and the accuracy; `None` if the bin is empty."""
    rows = []
    for i in range(BINS):
        inside = bins == i
        count = int(inside.sum())
        rows.append(
            {
                "lower": i / BINS,
                "upper": (i + 1) / BINS,
                "count": count,
                "confidence": float(top[inside].mean()) if count else None,
                "accuracy": float(right[inside].mean()) if count else None,
            }
        )
    return rows


def _ranked(classes: int, present: Ints) -> list[int]:
    """The columns whose ROC-AUC is averaged: class 1 if there are two classes, else each class with test pictures.

    There are none if fewer than two classes have test pictures.
    """
    if len(present) < 2:
        return []
    return [1] if classes == 2 else [int(i) for i in present]


def _roc_auc(scores: npt.NDArray[Any], labels: Ints, present: Ints) -> float | None:
    columns = _ranked(scores.shape[1], present)
    return float(np.mean([metrics.roc_auc_score(labels == i, scores[:, i]) for i in columns])) if columns else None


def clusters_of(labels: Ints, groups: Sequence[str] | None) -> list[tuple[Ints, Ints, int]]:
    """For each class: its pictures, the group of each picture, counted from 0, and the number of groups."""
    ids = np.arange(len(labels)) if groups is None else np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    clusters = []
    for label in np.unique(labels):
        pictures = np.flatnonzero(labels == label)
        distinct, group = np.unique(ids[pictures], return_inverse=True)
        clusters.append((pictures, group, len(distinct)))
    return clusters


def draw(clusters: list[tuple[Ints, Ints, int]], resamples: int, rng: np.random.Generator) -> Floats:
    """How often each picture is drawn in each resample, `[pictures, resamples]`."""
    weights = np.empty((sum(len(pictures) for pictures, _, _ in clusters), resamples))
    for pictures, group, number in clusters:
        drawn = rng.integers(number, size=(number, resamples)) * resamples + np.arange(resamples)
        counts = np.bincount(drawn.ravel(), minlength=number * resamples).reshape(number, resamples)
        weights[pictures] = counts[group]
    return weights


def _bootstrap(
    scores: npt.NDArray[Any],
    labels: Ints,
    clusters: list[tuple[Ints, Ints, int]],
    *,
    means: Mapping[str, Floats],
    gaps: Floats,
    bins: Ints,
    seed: int,
    resamples: int,
) -> dict[str, Floats]:
    """Each main figure in each resample, `[resamples]`: as scikit-learn defines it, but for many resamples at once.

    means: for figures that are a mean over the pictures, the value of each picture, `[N]`. Calling scikit-learn for
    each resample would take minutes.
    """
    rng = np.random.default_rng(seed)
    ranks = [_ranking(scores[:, i], labels == i) for i in _ranked(scores.shape[1], np.unique(labels))]
    of_bin = np.equal.outer(np.arange(BINS), bins) * gaps
    block = max(1, _BLOCK // len(labels))
    blocks: list[dict[str, Floats]] = []
    for start in range(0, resamples, block):
        weights = draw(clusters, min(block, resamples - start), rng)
        total = weights.sum(axis=0)
        right = means["accuracy"]
        recalls = [right[p] @ weights[p] / weights[p].sum(axis=0) for p, _, _ in clusters]
        blocks.append(
            {
                **{name: values @ weights / total for name, values in means.items()},
                "balanced_accuracy": np.mean(recalls, axis=0),
                "calibration_error": np.abs(of_bin @ weights).sum(axis=0) / total,
            }
        )
        if ranks:
            blocks[-1]["roc_auc"] = np.mean([_weighted_auc(weights, *rank) for rank in ranks], axis=0)
    return {name: np.concatenate([part[name] for part in blocks]) for name in blocks[0]} if blocks else {}


def _ranking(score: npt.NDArray[Any], positive: npt.NDArray[np.bool_]) -> tuple[Ints, Ints, Ints, Ints]:
    """The positive pictures, the others by rising score, and two counts for each positive picture.

    The counts are how many of the others have a lower score (below), and how many have a lower or equal one (through).
    """
    ours, others = np.flatnonzero(positive), np.flatnonzero(~positive)
    others = others[np.argsort(score[others], kind="stable")]
    below = np.searchsorted(score[others], score[ours], side="left")
    through = np.searchsorted(score[others], score[ours], side="right")
    return ours, others, below, through


def _weighted_auc(weights: Floats, ours: Ints, others: Ints, below: Ints, through: Ints) -> Floats:
    """The share of pairs in which the positive scores higher, a tie counting half (Mann-Whitney), for each resample."""
    beaten = np.zeros((len(others) + 1, weights.shape[1]))
    np.cumsum(weights[others], axis=0, out=beaten[1:])
    mine = weights[ours]
    wins = np.einsum("ij,ij->j", mine, beaten[below]) + np.einsum("ij,ij->j", mine, beaten[through])
    return np.asarray(wins / 2 / (mine.sum(axis=0) * beaten[-1]))


def _interval(draws: Floats | None) -> list[float] | None:
    """The middle 95% of the resamples, or `None` if the figure is undefined."""
    if draws is None:
        return None
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return [float(low), float(high)]


def _of_few(
    figures: dict[str, float], intervals: dict[str, list[float] | None], clusters: list[tuple[Ints, Ints, int]]
) -> dict[str, list[float]]:
    """The intervals of both accuracies, widened, if a class has few pictures; else empty."""
    sizes = np.array([len(pictures) for pictures, _, _ in clusters])
    groups = np.array([number for _, _, number in clusters])
    if sizes.min() >= FEW:
        return {}
    # If all of three pictures are classified correctly, every resample is too: the bootstrap would be sure of 1.0.
    widened = {}
    for name, shares in (("accuracy", sizes / sizes.sum()), ("balanced_accuracy", np.full(len(sizes), 1 / len(sizes)))):
        # A share over this many independent pictures of one class has the same variance as this figure over all groups.
        number, share = 1 / (shares**2 / groups).sum(), float(figures[name])
        ends = stats.beta.interval(CONFIDENCE, share * number + 0.5, (1 - share) * number + 0.5)
        low, high = intervals[name] or (share, share)
        widened[name] = [float(min(low, ends[0], share)), float(max(high, ends[1], share))]
    return widened


def _plain(value: float | None) -> float | None:
    """A float that JSON can hold; NaN becomes `None`."""
    return None if value is None or np.isnan(value) else float(value)
