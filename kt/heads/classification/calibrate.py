"""One temperature for a classifier's scores, fitted on held-out examples and drawn towards 1 where these are few."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

PRIOR = 1.0
"""The spread of log temperatures that is expected before any example is seen: two thirds are between 0.37 and 2.7.

So ten independent examples move the temperature about half as far as they would alone, and a hundred nearly as far.
"""

COOLEST, HOTTEST = 1.0, 10.0
"""The temperatures that can be fitted. One below 1 would make a model surer of itself than its training made it, also
on pictures that differ from the held-out ones, where models are too sure already."""

Floats = npt.NDArray[np.float64]

_TINY = float(np.finfo(np.float32).tiny)


def logits_of(scores: npt.ArrayLike) -> Floats:
    """Logits float64 `[N, C]` with these scores as their softmax. A score of 0 counts as float32's smallest."""
    return np.log(np.clip(np.asarray(scores, np.float64), _TINY, None))


def at_temperature(scores: npt.ArrayLike, temperature: float) -> Floats:
    """The scores float64 `[N, C]` that a softmax gives where its logits are divided by the temperature, above 0.

    The order of the classes stays the same in each row.
    """
    return np.asarray(softmax(logits_of(scores) / temperature, axis=1))


def fitted_temperature(
    scores: npt.ArrayLike, labels: npt.ArrayLike, groups: Sequence[str], *, prior: float = PRIOR
) -> float:  # fmt: skip
    """The temperature with the lowest log loss, drawn towards 1 (Guo et al., ICML 2017, who don't draw it).

    scores: `[N, C]`, probabilities of examples that the model did not learn from. labels: `[N]`. groups: of each
    example. It is the most probable temperature if logs of temperatures are normal around 0 with spread `prior`, and if
    each group is one independent observation: the fewer groups, the closer to 1. From `COOLEST` to `HOTTEST`.
    """
    logits, truth = logits_of(scores), np.asarray(labels, np.int64)
    number = len(set(groups))
    if not number:
        return 1.0

    def loss(power: float) -> float:
        own = log_softmax(logits * np.exp(-power), axis=1)[np.arange(len(truth)), truth]
        return float(-own.mean() + power**2 / (2 * prior**2 * number))

    bounds = (float(np.log(COOLEST)), float(np.log(HOTTEST)))
    lowest = float(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x)
    return float(np.exp(lowest)) if loss(lowest) < loss(0.0) else 1.0
