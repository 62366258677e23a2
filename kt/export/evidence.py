"""Decides whether an export that changes some answers may be released, by counts of pictures and their intervals.

An export that rounds (int8, float16, one of the recipe's own) changes a few answers. On a small test split one changed
answer is several points of accuracy, so a share alone says little: the confidence interval decides.
"""

from dataclasses import asdict, dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from kt.kinds.kind import Nouns

CONFIDENCE = 0.95
"""Confidence level of the intervals."""

SHOWN = 0.1
"""Significance level: an effect counts as shown if chance would produce it in a smaller share of cases than this."""

LEAST_LIMIT, OF_TOLERANCE = 0.04, 4.0
"""The share of answers that an export may change: the first, or the second times the tolerance if that is more."""

_Z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
_MOST = 10_000_000


@dataclass(frozen=True)
class Counts:
    """Counts of pictures on which an export and the trained model were compared.

    pictures: all of them: test, validation, and training pictures that did not calibrate. changed: of these, with
    another top class than the trained model's. unseen: of these, from test and validation, so never trained on. lost:
    of the unseen, those that the trained model classifies correctly and the export doesn't. gained: the reverse.
    """

    pictures: int
    changed: int
    unseen: int
    lost: int
    gained: int


@dataclass(frozen=True)
class Judgement:
    """The conclusion from the counts.

    reason: why the export may not be released, or "". changed_interval: of the share of changed answers
    (Clopper-Pearson). loss: of accuracy on unseen pictures, as a share, negative for a gain. loss_interval: paired
    (Agresti and Min, Simple improved confidence intervals for comparing matched proportions, 2005), cut at the upper
    end of changed_interval, since only a changed answer can lose. known: whether the whole interval of the loss is
    within the tolerance. doubtful: the measured loss is above the tolerance, though that may be chance. more_needed:
    how many further pictures would make it known, if their answers change as often; None if it is known already, or if
    no number would do. nouns: what was counted.
    """

    counts: Counts
    tolerance: float
    reason: str
    changed_interval: tuple[float, float]
    loss: float
    loss_interval: tuple[float, float]
    known: bool
    doubtful: bool
    more_needed: int | None
    nouns: Nouns

    @property
    def told(self) -> str:
        """How uncertain the loss is, in words for a person; empty if it is known to be small, or refused."""
        if self.known or self.reason:
            return ""
        more = "" if self.more_needed is None else f"; about {self.more_needed:,} more would tell"
        are = f"{self.nouns.many} are" if self.counts.pictures != 1 else f"{self.nouns.one} is"
        most = f"{100 * self.tolerance:g} point{'s' if self.tolerance != 0.01 else ''}"
        return (
            f"{self.counts.pictures:,} {are} too few to know that it loses no more than {most}: up to "
            f"{100 * self.loss_interval[1]:.1f} are possible{more}"
        )

    def as_json(self) -> dict[str, Any]:
        """Plain data under stable keys."""
        return {
            **asdict(self.counts),
            "changed_interval": list(self.changed_interval),
            "loss": self.loss,
            "loss_interval": list(self.loss_interval),
            "confidence": CONFIDENCE,
            "known": self.known,
            "more_needed": self.more_needed,
            "told": self.told,
        }


def count_changes(
    answers: npt.NDArray[Any], reference: npt.NDArray[Any], *, labels: npt.NDArray[Any], learned: npt.NDArray[np.bool_]
) -> Counts:
    """Compare answers `[N]` with the trained model's; learned `[N]`: whether the model was trained on the picture."""
    unseen = ~learned
    right, was_right = (answers == labels) & unseen, (reference == labels) & unseen
    return Counts(
        pictures=len(answers),
        changed=int((answers != reference).sum()),
        unseen=int(unseen.sum()),
        lost=int((was_right & ~right).sum()),
        gained=int((right & ~was_right).sum()),
    )


def judge(counts: Counts, *, tolerance: float, nouns: Nouns) -> Judgement:
    """Judge an export that may lose `tolerance` of accuracy, a share. nouns: what was counted.

    It is refused if it is shown to change more than `max(4%, 4 * tolerance)` of the answers, or to lose more than the
    tolerance. Shown means: if the true share were just at the limit, a count as high as this one would occur in fewer
    than one case of ten. A loss does not count as shown if the share of changed answers is within the tolerance, since
    only a changed answer can lose.
    """
    share = counts.changed / counts.pictures
    net = counts.lost - counts.gained
    loss = net / counts.unseen if counts.unseen else 0.0
    changed_interval = _share_interval(counts.changed, counts.pictures)
    low, high = _paired_interval(counts) if counts.unseen else (-1.0, 1.0)
    interval = (max(low, -changed_interval[1]), min(high, changed_interval[1]))
    loses = min(loss, share) > tolerance + 1e-9
    limit = max(LEAST_LIMIT, OF_TOLERANCE * tolerance)
    reason = ""
    if loses and _chance(net, counts.unseen, tolerance) < SHOWN:
        reason = f"it loses {_points(loss)} of accuracy (tolerance {100 * tolerance:g})"
    elif share > limit and _chance(counts.changed, counts.pictures, limit) < SHOWN:
        reason = (
            f"it answers otherwise than the trained model on {counts.changed:,} of {counts.pictures:,} {nouns.many} "
            f"({100 * share:.1f}%; at most {100 * limit:g}% may change)"
        )
    known = interval[1] <= tolerance + 1e-9
    return Judgement(
        counts=counts,
        tolerance=tolerance,
        reason=reason,
        changed_interval=changed_interval,
        loss=loss,
        loss_interval=interval,
        known=known,
        doubtful=loses,
        more_needed=None if known else _more_needed(counts, loss=loss, tolerance=tolerance),
        nouns=nouns,
    )


def differ(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> bool:
    """Whether two ways differ significantly in how many answers they change (McNemar's exact test).

    one, other: `[N]`, whether the answer changed, for the same pictures.
    """
    first, second = int((one & ~other).sum()), int((other & ~one).sum())
    if first + second == 0:
        return False
    return bool(stats.binomtest(first, first + second).pvalue < SHOWN)


def _chance(seen: int, pictures: int, share: float) -> float:
    """The probability of seeing `seen` or more of `pictures` if the true share is `share` (binomial)."""
    return float(stats.binom.sf(seen - 1, pictures, min(share, 1.0)))


def _share_interval(seen: int, pictures: int) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if seen == 0 else float(stats.beta.ppf(tail, seen, pictures - seen + 1))
    high = 1.0 if seen == pictures else float(stats.beta.ppf(1 - tail, seen + 1, pictures - seen))
    return low, high


def _paired_interval(counts: Counts) -> tuple[float, float]:
    number, lost, gained = counts.unseen + 2, counts.lost + 0.5, counts.gained + 0.5
    middle = (lost - gained) / number
    spread = _Z * sqrt(max(0.0, lost + gained - (lost - gained) ** 2 / number)) / number
    return middle - spread, middle + spread


def _more_needed(counts: Counts, *, loss: float, tolerance: float) -> int | None:
    """How many more pictures would make the loss known if they change as often as these; the smaller of two bounds."""
    share, ways = counts.changed / counts.pictures, []
    if share < tolerance:
        low, high = counts.pictures, _MOST
        while low < high:  # the smallest number with which the interval of the changed share is within the tolerance
            middle = (low + high) // 2
            enough = _share_interval(ceil(share * middle), middle)[1] <= tolerance
            low, high = (low, middle) if enough else (middle + 1, high)
        ways.append(low - counts.pictures)
    if counts.unseen and loss < tolerance:
        apart = (counts.lost + counts.gained + 1) / (counts.unseen + 2)
        ways.append(ceil(_Z**2 * apart / (tolerance - max(loss, 0.0)) ** 2) - counts.unseen)
    fewest = min((number for number in ways if 0 < number < _MOST), default=None)
    return None if fewest is None else _rounded(fewest)


def _rounded(number: int) -> int:
    """Round up to two significant digits, since it is an estimate."""
    step = int(10 ** max(0, len(str(number)) - 2))
    return -(-number // step) * step


def _points(share: float) -> str:
    return f"{100 * share:.2f} points"
