"""The whole judgement of new examples: whether they have drifted, how, and which of them are new."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kt.base.few import FEW
from kt.drift.permuted import CLASSIFIER, COMPARISONS, MMD, Compared, compare
from kt.drift.reference import MOST, Observed, Reference, drawn_from, independent, numbered
from kt.drift.shares import ClassShares, estimate, why_untold, with_shares
from kt.drift.unlike import Unlike, unlike
from kt.errors import DataError, RecipeError
from kt.linear.folds import Ints
from kt.linear.threads import one_thread

ALARM = 0.05
"""The share of sets that come alike and are reported as drift all the same."""

LOWEST, HIGHEST = 0.01, 0.5
"""The alarm rates that can be promised; the random divisions are too few for less."""

NONE, DRIFT, TOO_FEW = "none", "drift", "too few to tell"
OF_EXAMPLES, OF_SHARES, UNTOLD = "examples", "shares", "untold"


@dataclass(frozen=True, eq=False)
class Drift:
    """What became of the comparison of new examples with a model's held-out ones.

    verdict: NONE, DRIFT or TOO_FEW. seems: where there is drift, OF_EXAMPLES if they look otherwise, OF_SHARES if only
    the shares of the classes seem to have changed, UNTOLD if neither can be told; else "". compared: None if a side has
    a single independent example. shares: None if they can't be told; untold says why. unlike: None if there are too
    few groups of held-out examples. examples, independent: numbers of the new ones; held_out, held_out_independent: of
    the reference.
    """

    verdict: str
    alarm: float
    seems: str
    compared: Compared | None
    shares: ClassShares | None
    untold: str
    unlike: Unlike | None
    examples: int
    independent: int
    held_out: int
    held_out_independent: int

    @property
    def p(self) -> float | None:
        """The share of sets that come alike and look at least as different by chance; None if nothing was compared."""
        return self.compared.p if self.compared else None

    def as_json(self, classes: Sequence[str], names: Sequence[Path | str] | None = None) -> dict[str, Any]:
        """Plain data under stable keys (docs/drift.md). names: of the new examples, to list those that are unlike."""
        return {
            "verdict": self.verdict,
            "alarm": self.alarm,
            "p": self.p,
            "seems": self.seems,
            "examples": self.examples,
            "independent": self.independent,
            "held_out": self.held_out,
            "held_out_independent": self.held_out_independent,
            "tests": self._tests(),
            "shares": self._shares(classes),
            "shares_untold": self.untold,
            "new": self._new(names),
        }

    def _tests(self) -> dict[str, Any]:
        if self.compared is None:
            return {}
        tests: dict[str, dict[str, Any]] = {name: {"p": self.compared.each[name]} for name in COMPARISONS}
        tests[MMD]["squared_mmd"] = self.compared.squared_mmd
        tests[CLASSIFIER] |= {"auc": self.compared.auc, "interval": list(self.compared.auc_interval)}
        return tests

    def _shares(self, classes: Sequence[str]) -> dict[str, Any] | None:
        if self.shares is None:
            return None
        known = zip(classes, self.shares.reference, self.shares.new, self.shares.intervals, strict=True)
        return {
            name: {"held_out": float(before), "new": float(now), "interval": [float(end) for end in interval]}
            for name, before, now, interval in known
        }

    def _new(self, names: Sequence[Path | str] | None) -> dict[str, Any] | None:
        if self.unlike is None:
            return None
        far, p = self.unlike.distances, self.unlike.p
        places, rate = self.unlike.places, self.unlike.rate
        told: dict[str, Any] = {"count": len(places), "rate": rate, "expected": rate * self.examples}
        told["copies"] = self.unlike.copies
        if names is not None:
            told["examples"] = [
                {"path": str(names[place]), "distance": float(far[place]), "p": float(p[place])} for place in places
            ]
        return told


def judge(
    reference: Reference, seen: Observed, groups: Sequence[str] | None = None, *, alarm: float = ALARM, seed: int = 0
) -> Drift:
    """Compare new examples with the held-out ones of a model.

    groups: of the new examples; of each group one random example is compared, as of each group of the reference. None:
    each example is on its own, except that copies, which have the same features, count as one. alarm: the promised
    rate of false alarms, from `LOWEST` to `HIGHEST`. seed: of the random divisions and draws.

    Raises DataError if the new examples and the reference don't fit each other, and RecipeError for an alarm rate that
    can't be promised.
    """
    if not LOWEST <= alarm <= HIGHEST:
        raise RecipeError(f"The rate of false alarms is from {LOWEST} to {HIGHEST}, not {alarm:g}.")
    for one, other, what in (
        (reference.seen.features, seen.features, "features"), (reference.seen.scores, seen.scores, "scores"),
    ):  # fmt: skip
        if one.shape[1] != other.shape[1]:
            raise DataError(f"The held-out examples have {one.shape[1]} {what}, and the new ones {other.shape[1]}.")
    with one_thread():  # so that the same numbers come out whatever else runs
        return _judged(reference, seen, _groups(seen, groups), alarm=alarm, seed=seed)


def _judged(reference: Reference, seen: Observed, groups: Ints, *, alarm: float, seed: int) -> Drift:
    own = independent(reference.groups, seed=seed)
    new = drawn_from(groups, min(MOST, len(np.unique(groups))), seed=seed)
    fewest = min(len(own), len(new))
    compared = _compare(reference.at(own), seen.at(new), seed=seed) if fewest > 1 else None
    found = compared is not None and compared.p <= alarm
    untold = why_untold(reference, len(np.unique(groups)))
    shares = None if untold else estimate(reference, seen.scores, groups, seed=seed)
    return Drift(
        verdict=DRIFT if found else TOO_FEW if fewest < FEW else NONE,
        alarm=alarm,
        seems=_seems(reference, seen.at(new), shares, alarm=alarm, seed=seed) if found else "",
        compared=compared,
        shares=shares,
        untold=untold,
        unlike=unlike(reference, seen, seed=seed) if len(own) >= FEW else None,
        examples=len(seen),
        independent=len(np.unique(groups)),
        held_out=len(reference),
        held_out_independent=len(own),
    )


def _compare(reference: Reference, new: Observed, *, seed: int) -> Compared:
    held_out = reference.seen
    return compare(
        (held_out.features.astype(float), held_out.scores.astype(float)),
        (new.features.astype(float), new.scores.astype(float)),
        seed=seed,
    )


def _seems(reference: Reference, new: Observed, shares: ClassShares | None, *, alarm: float, seed: int) -> str:
    """Which kind of drift it seems to be: compare again with held-out examples in the shares of the new ones."""
    if shares is None:
        return UNTOLD
    alike = with_shares(reference, shares.new, seed=seed)
    if len(alike) < FEW:
        return UNTOLD
    if _compare(reference.at(alike), new, seed=seed).p <= alarm:
        return OF_EXAMPLES
    return OF_SHARES if shares.changed.any() else UNTOLD


def _groups(seen: Observed, groups: Sequence[str] | None) -> Ints:
    """A number for each new example, the same for copies and for those of one group."""
    if groups is not None and len(groups) != len(seen):
        raise DataError(f"{len(groups)} groups don't fit {len(seen)} examples.")
    numbers = np.arange(len(seen)) if groups is None else numbered(groups)
    if not len(seen):
        return numbers
    _, first, copy_of = np.unique(seen.features, axis=0, return_index=True, return_inverse=True)
    return np.asarray(numbers[first[copy_of.reshape(-1)]])
