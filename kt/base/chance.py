"""The mean of a value that was measured on each picture, or a share of the pictures, with its confidence interval."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from kt.base.metrics import CONFIDENCE


def mean_and_interval(
    values: npt.ArrayLike, groups: Sequence[str], *, looks: int = 1
) -> tuple[float, list[float]] | None:  # fmt: skip
    """The mean over pictures and its 95% interval, by Student's t over whole groups; None where there is only one.

    values: `[N]`, a number for each picture, such as the difference of two models' losses on it. groups: of each
    picture; pictures of one group are not independent, so groups are counted. looks: how many candidates these values
    were chosen from as the best; the interval is widened for them (Bonferroni).
    """
    values = np.asarray(values, np.float64)
    _, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    number = int(group.max()) + 1 if len(group) else 0
    if number < 2:
        return None
    mean = float(values.mean())
    of_groups = np.bincount(group, values - mean)
    error = float(np.sqrt(number / (number - 1) * (of_groups**2).sum())) / len(values)
    reach = float(stats.t.ppf(1 - (1 - CONFIDENCE) / (2 * max(1, looks)), number - 1)) * error
    return mean, [mean - reach, mean + reach]


def losses(scores: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The log loss of each picture, in nats. scores: `[N, C]`, probabilities; labels: `[N]`."""
    of_truth = scores[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(-np.log(np.clip(of_truth, 1e-7, 1.0)))


def share_and_interval(hits: npt.ArrayLike, groups: Sequence[str]) -> tuple[float, list[float]] | None:
    """The share of true values and its 95% interval (Clopper and Pearson, 1934); None where there is none.

    hits: `[N]`. groups: of each. There are as many independent examples as there are groups, which is too few where
    those of one group differ: the interval is wide enough in any case.
    """
    values = np.asarray(hits, np.float64)
    if not len(values):
        return None
    share, number = float(values.mean()), len(set(groups))
    tail = (1 - CONFIDENCE) / 2
    return share, [least_share(share, number, tail=tail), 1 - least_share(1 - share, number, tail=tail)]


def least_share(share: float, number: float, *, tail: float = 1 - CONFIDENCE) -> float:
    """The lower end, exact for a binomial: the share that would be exceeded by chance in `tail` of all cases only.

    share: of `number` independent examples.
    """
    hits = share * number
    return 0.0 if hits <= 0 else float(stats.beta.ppf(tail, hits, number - hits + 1))


def fewest_to_show(share: float, *, tail: float = 1 - CONFIDENCE) -> int:
    """How many independent examples, all of them right, show that a share above 0 and below 1 is reached."""
    return int(np.ceil(np.log(tail) / np.log(share)))
