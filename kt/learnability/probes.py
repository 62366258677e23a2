"""Probes on frozen features: cross-validation, and a learning curve that tells what more pictures would bring."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kt import linear
from kt.base.console import say
from kt.errors import DataError
from kt.heads.classification.measure import evaluate
from kt.kinds.kind import Nouns
from kt.learnability.features import Floats, Known

FOLDS = 5
DRAWS = 3
ONE_DRAW = 10_000
"""The effort above which only one draw is made, because probes take long. The effort is the number of pictures times
the number of classes, or times the number of features divided by `A_CLASS` if that is more."""

A_CLASS = 200
"""The number of features that take as long as one more class."""

SHARES = (0.125, 0.25, 0.5, 1.0)
"""Shares of the pictures in four of five folds: 10, 20, 40 and 80% of the training pictures."""

GROWTH = 1.3
"""A size on the learning curve is left out unless it is at least this many times the one before: if pictures are few,
different shares may give nearly the same number."""

RESAMPLES = 200
WORTHWHILE = 0.005
"""The gain from twice the pictures, as a share, below which a learning curve is called flat."""


def cross_validation(
    known: Known, classes: Sequence[str], *, keep: Sequence[float] = (1.0,), balanced: bool, seed: int
) -> dict[str, Any] | None:
    """A probe's figures on all pictures; each picture is scored by a probe that has not seen it or its group.

    keep: the shares of the features that the probe chooses between. Returns None if a class has only one group.
    """
    try:
        scores = linear.cross_validated(
            known.features, known.labels, classes=len(classes), keep=keep, groups=known.groups.tolist(),
            balanced=balanced, folds=FOLDS, seed=seed,
        )  # fmt: skip
    except DataError as error:
        say(f"no cross-validation: {error}")
        return None
    figures = evaluate(scores, known.labels, classes, groups=known.groups.tolist(), seed=seed)
    kept = ("accuracy", "balanced_accuracy")
    return {
        **{key: figures[key] for key in ("images", "groups", *kept, "confidence")},
        "intervals": {key: figures["intervals"][key] for key in kept},
    }


def learning_curve(
    known: Known,
    classes: Sequence[str],
    *,
    keep: Sequence[float] = (1.0,),
    balanced: bool,
    seed: int,
    nouns: Nouns,
) -> tuple[list[dict[str, Any]], str]:
    """How good a probe is by the number of pictures it learned from, and a sentence on what more pictures would bring.

    Each point has `images_per_class` (the mean), `images`, `balanced_accuracy` (the mean over the draws), and `low` and
    `high`, the outermost ends of the draws' 95% bootstrap intervals. In each draw every picture is scored once, by a
    probe that learned from pictures of other folds; a larger size contains the pictures of the smaller ones. If a class
    has too few groups to be split into folds, the curve is empty, and the sentence gives the reason.
    """
    if alone := [label for number, label in enumerate(classes) if len(set(known.groups[known.labels == number])) < 2]:
        return [], f"There is no learning curve: class {alone[0]!r} has a single independent {nouns.one} to learn from."
    effort = len(known.labels) * max(len(classes), known.features.shape[1] / A_CLASS)
    number = DRAWS if effort <= ONE_DRAW else 1
    try:
        draws = [_draw(known, len(classes), keep=keep, balanced=balanced, seed=seed + draw) for draw in range(number)]
    except DataError as error:
        return [], f"There is no learning curve: {error}"
    curve: list[dict[str, Any]] = []
    accuracies: list[list[float]] = []
    for answers in zip(*draws, strict=True):
        images = float(np.mean([answer.images for answer in answers]))
        if curve and images < GROWTH * curve[-1]["images"]:
            continue
        measured = [
            evaluate(answer.scores, known.labels, classes, groups=known.groups.tolist(), seed=seed, resamples=RESAMPLES)
            for answer in answers
        ]
        intervals = [figures["intervals"]["balanced_accuracy"] for figures in measured]
        accuracies.append([figures["balanced_accuracy"] for figures in measured])
        curve.append(
            {
                "images_per_class": round(images / len(classes), 1),
                "images": round(images),
                "balanced_accuracy": float(np.mean(accuracies[-1])),
                "low": min(low for low, _ in intervals),
                "high": max(high for _, high in intervals),
            }
        )
    return curve, outlook([point["images_per_class"] for point in curve], np.array(accuracies).T, nouns)


@dataclass(frozen=True)
class _Answers:
    """Scores of every picture, `[N, K]`, by probes that each learned from `images` other pictures on average."""

    images: float
    scores: Floats


def _draw(known: Known, classes: int, *, keep: Sequence[float], balanced: bool, seed: int) -> list[_Answers]:
    """The probes' scores in one draw, for every size, the smallest first."""
    folds = linear.folds_of(known.labels, known.groups.tolist(), folds=FOLDS, seed=seed)
    # C is chosen once for each draw, on the first fold's pictures: choosing it for each probe would take ten times as
    # long. C says how large the weights are expected to be, which depends little on the number of pictures.
    first = _probe(known[folds[0][0]], classes, keep=keep, C=None, balanced=balanced, seed=seed)
    turns = [_turns(known[rest], seed=(seed, number)) for number, (rest, _) in enumerate(folds)]
    by_size: list[_Answers] = []
    for share in SHARES:
        scores, images = np.zeros((len(known.labels), classes), np.float32), 0.0
        for (rest, held_out), turn in zip(folds, turns, strict=True):
            learned = known[rest[turn <= share]]
            probe = _probe(learned, classes, keep=(first.kept,), C=first.C, balanced=balanced, seed=seed)
            scores[held_out] = probe.scores(known.features[held_out])
            images += len(learned.labels) / len(folds)
        by_size.append(_Answers(images, scores))
    return by_size


def _probe(
    known: Known, classes: int, *, keep: Sequence[float], C: float | None, balanced: bool, seed: int  # noqa: N803
) -> linear.Linear:  # fmt: skip
    return linear.fit(
        known.features, known.labels, classes=classes, keep=keep, C=C, groups=known.groups.tolist(),
        balanced=balanced, seed=seed,
    )  # fmt: skip


def _turns(known: Known, *, seed: tuple[int, ...]) -> Floats:
    """For each picture the smallest share at which probes learn from it, float32 `[N]`.

    Groups join as a whole. Two groups of each class are in every share.
    """
    random, turns = np.random.default_rng(seed), np.empty(len(known.labels), np.float32)
    for label in np.unique(known.labels):
        members = np.flatnonzero(known.labels == label)
        groups, group = np.unique(known.groups[members], return_inverse=True)
        places = random.permutation(len(groups))
        turns[members] = np.where(places < 2, 0, (places + 1) / len(groups))[group]
    return turns


def outlook(images_per_class: Sequence[float], accuracies: Floats, nouns: Nouns) -> str:
    """What twice as many pictures would bring, in one sentence.

    accuracies: `[draws, sizes]`. nouns: what pictures are called.

    It assumes that errors go on falling by the same power of the number of pictures as over the measured sizes
    (Mukherjee et al., Estimating Dataset Size Requirements for Classifying DNA Microarray Data, 2003).
    """
    if len(images_per_class) < 3:
        return f"There are too few {nouns.many} to say what more would bring, other than a firmer answer."
    errors, most = np.maximum(1 - accuracies, 1e-3), f"{images_per_class[-1]:.0f} {nouns.many} a class"
    last = float(errors[:, -1].mean())
    if last < WORTHWHILE:
        return (
            f"With {most} a linear probe is nearly always right: more {nouns.many} would make that surer, not better."
        )
    slopes = np.array([np.polyfit(np.log(images_per_class), np.log(row), 1)[0] for row in errors])
    gains = 100 * np.sort(last * (1 - 2.0**slopes))
    if gains[0] <= 0 or gains.mean() < 100 * WORTHWHILE:
        return (
            f"Up to {most} the learning curve does not rise clearly: there is no sign that more of the same kind would "
            "help a linear probe; training more of the backbone, or another one, may."
        )
    return (
        f"The learning curve still rises: from {most} ({1 - last:.3f}) to twice as many a linear probe would gain "
        f"about {gains.mean():.1f} points ({gains[0]:.1f} to {gains[-1]:.1f}), if its errors go on falling as they "
        "did. That is extrapolated, not measured."
    )
