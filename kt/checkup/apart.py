"""How much too good figures are if pictures of one thing lie on both sides of a split, and what to do about it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kt import linear
from kt.base.few import FEW
from kt.base.metrics import CONFIDENCE
from kt.checkup.things import ENOUGH, Things, find_things, share_with_partner
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
    things in the class that has fewest. measured: how many pictures were asked about. cautious: as whole, with
    everything held out together that is only alike (`Things.alike`), so that shots that were not found do no harm, and
    some other things are missed in learning; None if that can't be done.
    """

    split: HeldOutFigure
    whole: HeldOutFigure
    fall: HeldOutFigure
    pictures: int
    things: int
    groups: int
    fewest: int
    measured: int
    cautious: float | None = None

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
        lower = ""
        if self.cautious is not None and self.whole.value - self.cautious >= MATTERS:
            lower = f", or even {self.cautious:.2f} if all that is alike shows one thing"
        return (
            f"cross-validation gives a balanced accuracy of {self.split.value:.2f}, but {self.whole.in_words()} on "
            f"things that the model has not seen{lower}: {self.pictures:,} {nouns.many} seem to show {self.things:,} "
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

    def right_with(own: Sequence[str]) -> npt.NDArray[np.bool_]:
        answers = _answers(features, truth, own, classes=classes, keep=keep, balanced=balanced, seed=seed)
        return np.asarray(answers == truth)

    try:
        right = np.stack([right_with(known), right_with(found)]).astype(np.float64)
    except DataError:
        return None
    cautious = None
    if things.alike is not None and (things.alike[some] != things.numbers[some]).any():
        with suppress(DataError):  # all that is alike in a class may be one
            told = right_with([str(number) for number in things.alike[some]])
            cautious = float(np.mean([told[truth == label].mean() for label in np.unique(truth)]))
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
        cautious=cautious,
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
        if apart.cautious is not None:
            figures["cautious"] = apart.cautious
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


def told_apart(
    rows: npt.ArrayLike,
    labels: npt.ArrayLike,
    groups: Sequence[str],
    names: Sequence[str],
    *,
    classes: int,
    nouns: Nouns,
    seed: int = 0,
) -> Finding | None:
    """The finding on the whole of some pictures whose features `[N, D]` are there anyway; None if nothing was found.

    labels: `[N]`. groups: what is known already. names: relative paths. A quick look comes first, so that a set without
    such pictures costs a fraction of a second. No groups are proposed, since these pictures are only a part of the set.
    """
    known = list(groups)
    if (share := share_with_partner(rows, labels, known)) < ENOUGH:
        return None
    things = find_things(rows, labels, groups=known, seed=seed)
    if not things.found:
        return None
    apart = held_apart(rows, labels, things, classes=classes, groups=known, seed=seed)
    summary = group_findings(things, names, apart, nouns=nouns)[0]
    said = summary.words.removesuffix(".")
    return replace(
        summary,
        words=f"At least {share:.0%} of the {nouns.many} to learn from seem to show the same thing as another one, and "
        f"no group says so. {said}.",
        advice="Run kt check --fix, which proposes groups; with those that are right, figures become honest.",
    )


def unaccepted(finding: Finding | None) -> str:
    """What `kt run` and `kt advise` say if pictures seem to show one thing and figures fall without them; "" if not."""
    if finding is None or finding.severity == "note":
        return ""
    said = finding.words.removesuffix(".")
    return f"{said[0].lower()}{said[1:]}. kt check proposes groups"
