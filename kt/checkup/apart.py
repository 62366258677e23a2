"""How much too good figures are if pictures of one thing lie on both sides of a split, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kt import linear
from kt.base.few import FEW
from kt.base.metrics import CONFIDENCE
from kt.checkup.things import ENOUGH, Things
from kt.errors import DataError
from kt.findings import Finding, Fix
from kt.heads.classification.measure import clusters_of, draw
from kt.kinds.kind import Nouns

RESAMPLES = 1000

FOLDS = 10
"""More than elsewhere, since a probe that misses a fifth of few things is worse than one that has them all."""

MOST = 1500
"""About the most pictures that the probe is cross-validated on; if there are more, whole things are drawn by class."""

LARGE = 0.08
"""A fall of the balanced accuracy by this much makes figures wrong, rather than a little too good."""

MATTERS = 0.03
"""A smaller fall, or one whose interval contains 0, is only a note."""

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HeldOutFigure:
    """A balanced accuracy, or a difference of two, with its 95% interval."""

    value: float
    interval: tuple[float, float]

    def in_words(self) -> str:
        """The figure with its interval, for a sentence."""
        low, high = self.interval
        return f"{self.value:.2f} ({low:.2f} to {high:.2f})"


@dataclass(frozen=True)
class HeldApart:
    """The cross-validated balanced accuracy of a linear probe, without and with pictures of one thing held together.

    split: pictures of one thing may be learned from and held out, as if each showed a thing of its own. whole: each
    thing is held out with all its pictures, which is what counts for things that the model has not seen. fall: split
    less whole; both answer the same pictures, so it is firmer than either. All intervals resample things, within the
    classes. pictures, things: how many there are. groups: how many things have several pictures. fewest: the number of
    things in the class that has fewest.
    """

    split: HeldOutFigure
    whole: HeldOutFigure
    fall: HeldOutFigure
    pictures: int
    things: int
    groups: int
    fewest: int
    measured: int

    @property
    def matters(self) -> bool:
        """Whether the figure falls by more than a little, and by more than chance explains."""
        return self.fall.value >= MATTERS and self.fall.interval[0] > 0

    @property
    def large(self) -> bool:
        """Whether figures that don't respect the groups are wrong."""
        return self.matters and self.fall.value >= LARGE

    def in_words(self, nouns: Nouns) -> str:
        """One sentence on what cross-validation gives in both ways."""
        few = f"; the smallest class has {self.fewest} of them, too few for a firm figure" if self.fewest < FEW else ""
        if not self.matters:
            return (
                f"cross-validation gives a balanced accuracy of {self.whole.in_words()} if {nouns.many} of one thing "
                f"are held out together, and {self.split.value:.2f} if they are not: that is hardly a difference{few}"
            )
        return (
            f"cross-validation gives a balanced accuracy of {self.split.value:.2f}, but {self.whole.in_words()} on "
            f"things that the model has not seen: {self.pictures:,} {nouns.many} seem to show {self.things:,} "
            f"things{few}"
        )


def held_apart(
    rows: npt.ArrayLike,
    labels: npt.ArrayLike,
    things: Things,
    *,
    classes: int,
    groups: Sequence[str] | None = None,
    keep: Sequence[float] = (1.0,),
    balanced: bool = True,
    seed: int = 0,
) -> HeldApart | None:
    """Cross-validate a probe on features `[N, D]` with labels `[N]` without and with the things that were found.

    groups: the groups that are known already, which are held out together in both cases. keep: the shares of features
    that the probe chooses between. Returns None if a class has a single thing, so that nothing can be held out.
    """
    everything = np.asarray(labels, np.int64)
    some = _sample(everything, things.numbers, seed=seed)
    features, truth = np.asarray(rows)[some].astype(np.float64), everything[some]
    known = [str(place) if groups is None else groups[place] for place in some]
    found = [str(number) for number in things.numbers[some]]
    try:
        answers = [
            _answers(features, truth, own, classes=classes, keep=keep, balanced=balanced, seed=seed)
            for own in (known, found)
        ]
    except DataError:
        return None
    right = np.stack([answer == truth for answer in answers]).astype(np.float64)
    clusters = clusters_of(truth, found)
    weights = draw(clusters, RESAMPLES, np.random.default_rng(seed))
    drawn = np.mean([_mean(right[:, places], weights[places]) for places, _, _ in clusters], axis=0)
    split, whole = (float(np.mean([own[places].mean() for places, _, _ in clusters])) for own in right)
    return HeldApart(
        HeldOutFigure(split, _interval(drawn[0])),
        HeldOutFigure(whole, _interval(drawn[1])),
        HeldOutFigure(split - whole, _interval(drawn[0] - drawn[1])),
        pictures=len(everything),
        things=int(things.numbers.max()) + 1,
        groups=len(things.groups()),
        fewest=min(number for _, _, number in clusters_of(everything, [str(number) for number in things.numbers])),
        measured=len(truth),
    )


def _sample(labels: Ints, numbers: Ints, *, seed: int) -> Ints:
    """The places of all pictures, or of whole things, at random and about as many of each class in proportion."""
    if len(labels) <= MOST:
        return np.arange(len(labels))
    random = np.random.default_rng(seed)
    kept = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        wanted, drawn = MOST * len(members) / len(labels), random.permutation(np.unique(numbers[members]))
        sizes = np.bincount(numbers[members])[drawn]
        enough = max(2, int(np.searchsorted(np.cumsum(sizes), wanted)) + 1)  # no class with one thing only
        kept[members] |= np.isin(numbers[members], drawn[:enough])
    return np.flatnonzero(kept)


def _answers(
    rows: Floats, labels: Ints, groups: Sequence[str], *, classes: int, keep: Sequence[float], balanced: bool, seed: int
) -> Ints:
    """What a probe that has not seen a picture's group takes the picture for, `[N]`.

    C and the share of features are chosen once, in folds of the same groups, and not anew for each fold, which would
    take five times as long.
    """
    chosen = linear.fit(rows, labels, classes=classes, keep=keep, groups=groups, balanced=balanced, seed=seed)
    scores = linear.cross_validated(
        rows, labels, classes=classes, C=chosen.C, keep=(chosen.kept,), groups=groups, balanced=balanced, folds=FOLDS,
        seed=seed,
    )  # fmt: skip
    return np.asarray(scores.argmax(axis=1), np.int64)


def _mean(right: Floats, weights: Floats) -> Floats:
    """The share of right answers `[ways, resamples]` of a class. right: `[ways, n]`. weights: `[n, resamples]`."""
    return np.asarray(right @ weights / weights.sum(axis=0))


def _interval(draws: Floats) -> tuple[float, float]:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


# ----------------------------------------------------------------------------------------------------------- findings


def group_findings(things: Things, names: Sequence[str], apart: HeldApart | None, *, nouns: Nouns) -> list[Finding]:
    """The findings of kind "group": first one on the whole set, then one for each proposed group, the largest first.

    names: relative paths. apart: None if a class has a single thing. The fixes of a group give all its pictures the
    same value; a decision of a person may change or drop them. There is none if nothing was found.
    """
    if not things.found:
        return []
    groups = things.groups()
    severity = "error" if apart is None or apart.large else "warning" if apart.matters else "note"
    evidence = _evidence(things.by)
    digits = len(str(len(groups)))
    found = [_summary(names, apart, groups, severity=severity, nouns=nouns)]
    for number, members in enumerate(groups, 1):
        paths = tuple(names[place] for place in members)
        value = f"thing-{number:0{digits}}"
        found.append(
            Finding(
                kind="group",
                severity="note" if severity == "note" else "warning",
                items=paths,
                words=f"These {len(paths)} {nouns.many} seem to show one thing ({evidence}).",
                advice="If they do, accept the group, so that it stays in one split; else leave its lines out.",
                fixes=tuple(Fix(path, "group", value, f"seems to show the same as {paths[0]}") for path in paths),
            )
        )
    return found


def _summary(
    names: Sequence[str],
    apart: HeldApart | None,
    groups: Sequence[Ints],
    *,
    severity: str,
    nouns: Nouns,
) -> Finding:
    share = float(np.mean(np.isin(np.arange(len(names)), np.concatenate(groups)))) if groups else 0.0
    figures: dict[str, float] = {"share": share, "groups": float(len(groups))}
    said = (
        f"{share:.0%} of the {nouns.many} seem to show a thing that others show too; in a class all show one thing, so "
        "that nothing can be said of things that the model has not seen"
    )
    if apart is not None:
        said = apart.in_words(nouns)
        figures |= {
            "split": apart.split.value,
            "whole": apart.whole.value,
            "whole_low": apart.whole.interval[0],
            "whole_high": apart.whole.interval[1],
            "fall": apart.fall.value,
            "fall_low": apart.fall.interval[0],
            "fall_high": apart.fall.interval[1],
            "things": float(apart.things),
        }
    advice = (
        "Look at the proposed groups and accept those that are right: splits, cross-validation and intervals then "
        "respect them."
    )
    first = tuple(names[place] for place in groups[0][:2]) if groups else ()
    return Finding("group", severity, first, f"{said[0].upper()}{said[1:]}.", advice, figures=figures)


def _evidence(by: Sequence[str]) -> str:
    words = {"features": "far nearer to each other than to other pictures", "numbers": "taken one after the other, by "
             "their names, and alike", "times": "taken one after the other, by their times, and alike"}  # fmt: skip
    return ", or ".join(words[each] for each in by)


def unaccepted(share: float, nouns: Nouns) -> str:
    """What `kt run` says if pictures seem to show one thing and no group says so; "" if too few do.

    share: as by `kt.checkup.things.share_with_partner`.
    """
    if share < ENOUGH:
        return ""
    return (
        f"at least {share:.0%} of the {nouns.many} to learn from seem to show the same thing as another one, and no "
        "group says so: figures may be far too good for things that the model has not seen. kt check proposes groups "
        "and says how far the figures fall"
    )
