"""Whether an export that answers a little otherwise may be released: judged by counts of pictures, with their chance.

An export that rounds (int8, float16, one of the recipe's own) changes a few answers. On a small test split one changed
answer is several points of accuracy, so a share alone says little: what counts is what chance leaves open.
"""

from dataclasses import asdict, dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

CONFIDENCE = 0.95
"""Level of the intervals."""

SHOWN = 0.1
"""What is seen is taken as shown where it would come about by chance in fewer cases than this share."""

LEAST_LIMIT, OF_TOLERANCE = 0.04, 4.0
"""An export may answer otherwise on this share of pictures, or on so many times the tolerance where that is more."""

_Z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
_MOST = 10_000_000


@dataclass(frozen=True)
class Counts:
    """What was seen: pictures, of these with another answer than the trained model's; and of those that never trained.

    pictures: that were asked in all: test, validation, and pictures of train that did not calibrate. changed: of these
    with another top class. unseen: of these, from test and validation. lost, gained: of the unseen, those that the
    trained model answers rightly and the export wrongly, and the reverse.
    """

    pictures: int
    changed: int
    unseen: int
    lost: int
    gained: int


@dataclass(frozen=True)
class Judgement:
    """What the counts say.

    reason: why it may not be released, or "". changed_interval: of the share of changed answers (Clopper-Pearson).
    loss: of accuracy on unseen pictures, as a share, negative for a gain. loss_interval: paired (Agresti and Min,
    Simple improved confidence intervals for comparing matched proportions, 2005), and no higher than the share of
    changed answers can be, since only a changed answer can lose. known: whether it is surely within the tolerance.
    doubtful: it seems to lose more than the tolerance, though that may be chance. more_needed: pictures that would have
    to come so that it is known, if they change as these do; None where it is known, or none would do.
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

    @property
    def told(self) -> str:
        """What a person should know of how sure this is, in a few words; empty where the loss is known to be small."""
        if self.known or self.reason:
            return ""
        more = "" if self.more_needed is None else f"; about {self.more_needed:,} more would tell"
        are = "pictures are" if self.counts.pictures != 1 else "picture is"
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


def count(
    answers: npt.NDArray[Any], reference: npt.NDArray[Any], *, labels: npt.NDArray[Any], learned: npt.NDArray[np.bool_]
) -> Counts:
    """Counts of answers `[N]` beside the trained model's; learned `[N]`: whether the model trained on the picture."""
    unseen = ~learned
    right, was_right = (answers == labels) & unseen, (reference == labels) & unseen
    return Counts(
        pictures=len(answers),
        changed=int((answers != reference).sum()),
        unseen=int(unseen.sum()),
        lost=int((was_right & ~right).sum()),
        gained=int((right & ~was_right).sum()),
    )


def judge(counts: Counts, *, tolerance: float) -> Judgement:
    """What the counts say of an export that may lose `tolerance` of accuracy, a share.

    It is refused where it is shown that it answers otherwise on more than `max(4%, 4 * tolerance)` of the pictures, or
    that it loses more than the tolerance. Shown: were it just at the limit, as much would be seen in fewer than one
    case of ten. A loss is not shown where no more than the tolerance of all answers changed, for only a changed answer
    can lose.
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
            f"it answers otherwise than the trained model on {counts.changed:,} of {counts.pictures:,} pictures "
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
    )


def differ(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> bool:
    """Whether it is shown that one way changes more answers than the other, or fewer; `[N]`, the same pictures.

    McNemar's exact test.
    """
    first, second = int((one & ~other).sum()), int((other & ~one).sum())
    if first + second == 0:
        return False
    return bool(stats.binomtest(first, first + second).pvalue < SHOWN)


def _chance(seen: int, pictures: int, share: float) -> float:
    """How often so many pictures or more come about where that is their share."""
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
    """How many more pictures would make the loss known, if they change as these do; the shorter of two ways."""
    share, ways = counts.changed / counts.pictures, []
    if share < tolerance:
        low, high = counts.pictures, _MOST
        while low < high:  # the number from which on the share of changed answers alone is surely small enough
            middle = (low + high) // 2
            enough = _share_interval(ceil(share * middle), middle)[1] <= tolerance
            low, high = (low, middle) if enough else (middle + 1, high)
        ways.append(low - counts.pictures)
    if counts.unseen and loss < tolerance:
        apart = (counts.lost + counts.gained + 1) / (counts.unseen + 2)
        ways.append(ceil(_Z**2 * apart / (tolerance - max(loss, 0.0)) ** 2) - counts.unseen)
    found = min((number for number in ways if 0 < number < _MOST), default=None)
    return None if found is None else _rounded(found)


def _rounded(number: int) -> int:
    """Up to two digits, for it is an estimate."""
    step = int(10 ** max(0, len(str(number)) - 2))
    return -(-number // step) * step


def _points(share: float) -> str:
    return f"{100 * share:.2f} points"
