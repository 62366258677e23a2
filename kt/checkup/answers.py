"""What a linear probe answers for pictures that it has not seen: cheap enough to be asked again and again.

Two least-squares probes are fitted on the one-hot labels: one on the features of all depths, standardised, as
`LinearProbe(features="all")` does, and one on the top of the network alone. Each picture's features have length 1. Each
probe is solved in its dual form (kernel ridge regression: Saunders, Gammerman and Vovk, Ridge Regression Learning
Algorithm in Dual Variables, ICML 1998), which costs one system of equations as large as the number of pictures,
whatever the number of features and classes. Their answers become probabilities, each by one temperature, and are
averaged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg
from scipy.special import softmax

from kt.checkup.features import BLOCK, Features
from kt.linear import folds_of, one_thread
from kt.linear.space import Floats, scale_of

FOLDS = 5

PENALTIES = (0.3, 1.0, 3.0)
"""The penalties that are tried; features have length 1, so a picture's own entry in the kernel is 1."""

MOST = 3000
"""The most pictures that a probe learns from: its cost grows with the third power."""

OF_TOP = 1 / 3
"""The weight of the probe on the top alone, which helps on clothes, and costs a little on leaves."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Directions:
    """Features of length 1 for a probe: standardised ones of all depths, or those of the top less their mean.

    own: the columns. mean, scale: `[d]` of these, from up to `MOST` pictures; labels play no part.
    """

    features: Features
    columns: slice
    mean: Floats
    scale: Floats
    first: bool

    @classmethod
    def all_depths(cls, features: Features) -> "Directions":
        """Each feature standardised, then each picture's features scaled to length 1."""
        rows = _sample(features)
        return cls(features, slice(None), rows.mean(axis=0), scale_of(rows), first=False)

    @classmethod
    def of_top(cls, features: Features) -> "Directions":
        """The features of the top scaled to length 1 first; then their mean is subtracted."""
        columns = slice(features.width - features.depths[-1][1], None)
        rows = _unit(_sample(features)[:, columns])
        return cls(features, columns, rows.mean(axis=0), np.ones(rows.shape[1]), first=True)

    def at(self, places: Ints) -> npt.NDArray[np.float32]:
        """The features float32 `[B, d]` of the pictures at these places."""
        rows = np.empty((len(places), len(self.mean)), np.float32)
        for start in range(0, len(places), BLOCK):
            own = self.features.at(places[start : start + BLOCK])[:, self.columns].astype(np.float64)
            if self.first:
                rows[start : start + BLOCK] = _unit(own) - self.mean
            else:
                rows[start : start + BLOCK] = _unit((own - self.mean) / self.scale)
        return rows


def cross_validated(
    features: Features, labels: Ints, groups: Sequence[str], *, classes: int, seed: int = 0
) -> Floats:  # fmt: skip
    """Probabilities float64 `[N, C]` for each picture, by probes that saw neither it nor its group.

    labels: `[N]`, each from 0 to below `classes`; each class has pictures of at least two groups. Each probe learns
    from up to `MOST` pictures. The penalty is the one with the lowest squared error over all held-out pictures, the
    temperature the one that explains their labels best. Raises DataError as `kt.linear.folds_of` does.
    """
    with one_thread():
        folds = folds_of(labels, groups, folds=FOLDS, seed=seed)
        answers = _answers(Directions.all_depths(features), labels, folds, classes=classes, seed=seed)
        if features.depths[-1][1] == features.width:
            return answers
        of_top = _answers(Directions.of_top(features), labels, folds, classes=classes, seed=seed)
    return (1 - OF_TOP) * answers + OF_TOP * of_top


def _answers(
    of: Directions, labels: Ints, folds: Sequence[tuple[Ints, Ints]], *, classes: int, seed: int
) -> Floats:  # fmt: skip
    """The probabilities of one probe."""
    one_hot = np.eye(classes)[labels]
    random = np.random.default_rng(seed)
    values = np.empty((len(PENALTIES), len(labels), classes))
    for learned, held_out in folds:
        if len(learned) > MOST:
            learned = np.sort(random.choice(learned, MOST, replace=False))
        known = of.at(learned)
        middle = one_hot[learned].mean(axis=0)
        kernel = (known @ known.T).astype(np.float64)
        weights = np.concatenate(list(_solved(kernel, one_hot[learned] - middle)), axis=1)
        for start in range(0, len(held_out), BLOCK):
            part = held_out[start : start + BLOCK]
            found = (of.at(part) @ known.T) @ weights
            values[:, part] = found.reshape(len(part), len(PENALTIES), classes).swapaxes(0, 1) + middle
    best = values[int(np.argmin(((values - one_hot) ** 2).mean(axis=(1, 2))))]
    return _calibrated(best, labels)


def wrong_shares(own: Floats, classes: int) -> tuple[float, Floats]:
    """The share of labels that are wrong, and for each label the probability float64 `[N]` that it is.

    own: `[N]`, the probability of each picture's label by answers to which labels are no news. A wrong label is any of
    the others with equal probability. Each share of a grid counts by its likelihood (Bayes with equal priors), so that
    few labels leave open how many are wrong.
    """
    shares = np.array(_WRONG)
    wrong, labels = _by_share(own, classes)
    likelihoods = np.log(labels).sum(axis=0)
    weights = np.exp(likelihoods - likelihoods.max())
    weights /= weights.sum()
    return float(weights @ shares), np.asarray((wrong / labels) @ weights)


def evidence(own: Floats, classes: int) -> float:
    """The mean log likelihood of the labels, in nats, at the share of wrong ones that makes it highest."""
    return float(np.log(_by_share(own, classes)[1]).mean(axis=0).max())


def _by_share(own: Floats, classes: int) -> tuple[Floats, Floats]:
    """For each label and share: the probability of it and of being wrong, and that of it; both `[N, shares]`."""
    shares = np.array(_WRONG)
    wrong = shares * (1 - own[:, None]) / (classes - 1)
    return wrong, np.maximum((1 - shares) * own[:, None] + wrong, 1e-300)


_WRONG = (0.0, *np.geomspace(0.001, 0.4, 40).tolist())
_FACTORS = tuple(np.geomspace(1.0, 100.0, 40).tolist())
_AS_LIKELY = 2.0  # nats; half of the 5% point of the chi-squared distribution, for one degree of freedom


def _calibrated(values: Floats, labels: Ints) -> Floats:
    """Probabilities by the temperature that explains the labels best, if a share of them is wrong.

    Were no label taken to be wrong, a tenth of wrong ones would make the probes unsure of everything. If classes are so
    easy that the probes can't say whether labels are wrong or a class is unsure everywhere, wrong labels are assumed:
    the largest share counts that is within `_AS_LIKELY` of the likeliest.
    """
    likelihoods = np.empty((len(_FACTORS), len(_WRONG)))
    for row, factor in enumerate(_FACTORS):
        own = softmax(values * factor, axis=1)[np.arange(len(labels)), labels]
        likelihoods[row] = np.log(_by_share(own, values.shape[1])[1]).sum(axis=0)
    best = likelihoods.max(axis=0)
    share = np.flatnonzero(best >= best.max() - _AS_LIKELY)[-1]
    return np.asarray(softmax(values * _FACTORS[int(likelihoods[:, share].argmax())], axis=1))


def _solved(kernel: Floats, targets: Floats) -> Iterator[Floats]:
    """The dual weights for each penalty."""
    for penalty in PENALTIES:
        yield linalg.solve(kernel + penalty * np.eye(len(kernel)), targets, assume_a="pos", check_finite=False)


def _sample(features: Features) -> Floats:
    """The features of up to `MOST` pictures, in equal steps."""
    count = min(len(features), MOST)
    return features.at(np.linspace(0, len(features) - 1, count).astype(np.int64)).astype(np.float64)


def _unit(rows: Floats) -> Floats:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1.0))
