"""How far chance reaches: the mean of something that was measured on each picture, with its interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

SURE = 0.95


def mean_and_interval(
    values: npt.ArrayLike, groups: Sequence[str], *, looks: int = 1
) -> tuple[float, list[float]] | None:  # fmt: skip
    """The mean over pictures and its 95% interval, by Student's t over whole things; None where there is only one.

    values: `[N]`, a number for each picture, such as the difference of two models' losses on it. groups: for each the
    thing it shows; pictures of one thing are not independent, so things are what is counted. looks: how often the
    values were looked at before these were chosen as the best; the interval is so much wider (Bonferroni).
    """
    values = np.asarray(values, np.float64)
    _, thing = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    number = int(thing.max()) + 1 if len(thing) else 0
    if number < 2:
        return None
    mean = float(values.mean())
    of_things = np.bincount(thing, values - mean)
    error = float(np.sqrt(number / (number - 1) * (of_things**2).sum())) / len(values)
    reach = float(stats.t.ppf(1 - (1 - SURE) / (2 * max(1, looks)), number - 1)) * error
    return mean, [mean - reach, mean + reach]


def losses(scores: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The log loss of each picture, in nats. scores: `[N, C]`, probabilities; labels: `[N]`."""
    of_truth = scores[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(-np.log(np.clip(of_truth, 1e-7, 1.0)))
