"""Which backbone to take: the default stays, unless cross-validation on the same pictures speaks for another."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from kt.strategy.advise.gain import BackboneGain
from kt.strategy.advise.probes import ProbedBackbone
from kt.strategy.paired import Estimate, Resamples

DEFAULT = "MobileNetV2"
"""The backbone of `kt new`, which the others are compared with."""

_LEAST = 1e-9
"""The smallest score whose logarithm is taken."""


def reference(measured: Sequence[ProbedBackbone]) -> ProbedBackbone:
    """The backbone that the others are compared with: the default, or the first if it is not among them."""
    return next((each for each in measured if each.backbone == DEFAULT), measured[0])


def with_gains(
    measured: Sequence[ProbedBackbone], labels: npt.NDArray[np.int64], groups: Sequence[str], *, seed: int
) -> list[ProbedBackbone]:
    """The backbones, each but the reference with its `gain` over it; all were probed on these pictures."""
    first = reference(measured)
    resamples = Resamples(labels, groups, seeds=1, seed=seed)
    estimates = {}
    for each in measured if len(measured) > 1 else []:
        scores = each.together.scores
        right = scores.argmax(axis=1) == labels
        loss = -np.log(np.maximum(scores[np.arange(len(labels)), labels], _LEAST))
        estimates[each.backbone] = resamples.balanced_accuracy(right[:, None]), resamples.mean(loss)
    gains = {
        each.backbone: _gain(each.backbone, first.backbone, estimates, pictures=len(labels))
        for each in measured
        if each is not first
    }
    return [replace(each, gain=gains.get(each.backbone)) for each in measured]


def _gain(name: str, over: str, estimates: Mapping[str, tuple[Estimate, Estimate]], *, pictures: int) -> BackboneGain:
    """The gain of one backbone over another. estimates: the balanced accuracy and the log loss of each."""
    (own_accuracy, own_loss), (accuracy, loss) = estimates[name], estimates[over]
    more, less = own_accuracy.minus(accuracy), loss.minus(own_loss)
    return BackboneGain(
        over=over,
        pictures=pictures,
        balanced_accuracy=more.value,
        interval=_pair(more.interval),
        log_loss=less.value,
        log_loss_interval=_pair(less.interval),
        error=float(less.draws.std()),
    )


def ranked(measured: Sequence[ProbedBackbone], *, default: bool = False) -> list[ProbedBackbone]:
    """The chosen backbone, then the others, the most accurate first.

    Of several with enough gain, the one with the lowest log loss is chosen. default: whether the reference is chosen
    in any case.
    """
    enough = {each.backbone: each.gain.log_loss for each in measured if each.gain and each.gain.enough and not default}
    name = max(enough, key=enough.__getitem__, default=reference(measured).backbone)
    return sorted(
        measured,
        key=lambda each: (each.backbone == name, each.best.balanced_accuracy, each.best.logme),
        reverse=True,
    )


def _pair(interval: Sequence[float]) -> tuple[float, float]:
    low, high = interval
    return low, high
