"""Few pictures: says so, judges a probe by cross-validation, and shows whether more pictures would help.

All of it comes from a linear probe on the frozen backbone's features of train and validation; of test only the number
of pictures is looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from kt import linear
from kt.console import say, warn
from kt.data.splits import Split, Splits
from kt.errors import DataError
from kt.evaluate import CONFIDENCE, evaluate
from kt.features.cut import Uncut, find_border
from kt.features.engine import Engine, Inputs
from kt.freeze import frozen
from kt.model import Built
from kt.probe import shares_of
from kt.recipe import Phase, Recipe

FEW = 20
"""Fewer independent pictures of a class are few: docs/few-images.md has what was measured."""

FEW_TO_CHOOSE_BY = 100
"""With fewer independent validation pictures in all, or `FEW` of a class, a probe is cross-validated as well."""

AT_MOST = 500
"""Training pictures that the learning curve is drawn from; of more, so many are taken."""

WIDEST = 12_500
"""Features of a picture past which probes take too long."""

FOLDS = 5
DRAWS = 3
ONE_DRAW = 10_000
"""Pictures times classes, or times `A_CLASS` features, past which one draw has to do, for probes take long."""

A_CLASS = 200
"""So many features take as long as a class more."""

SHARES = (0.125, 0.25, 0.5, 1.0)
"""Of what four folds of five have to learn from: 10, 20, 40 and 80 % of the training pictures."""

GROWTH = 1.3
"""A size on the learning curve is as many times the one before, or left out: of few pictures, halves are the same."""

RESAMPLES = 200
WORTHWHILE = 0.005
"""The gain from twice the pictures, as a share, below which a learning curve is called flat."""

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scarcity:
    """What the number of pictures means for a run, under the keys of `report.json`.

    few_pictures: warnings, a line each. learning_curve: how good a probe is that learned from so many training
    pictures. outlook: what more of them would bring, in a sentence. cross_validation: the figures of a probe over train
    and validation where validation is small.
    """

    few_pictures: tuple[str, ...] = ()
    learning_curve: tuple[dict[str, Any], ...] = ()
    outlook: str = ""
    cross_validation: dict[str, Any] | None = None


@dataclass(frozen=True)
class Known:
    """Pictures that a probe learns from: features `[N, D]`, labels `[N]`, and the thing that each shows, `[N]`."""

    features: Floats
    labels: Ints
    groups: npt.NDArray[np.str_]

    def __getitem__(self, chosen: Ints) -> "Known":
        return Known(self.features[chosen], self.labels[chosen], self.groups[chosen])

    def __add__(self, other: "Known") -> "Known":
        return Known(
            np.concatenate([self.features, other.features]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.groups, other.groups]),
        )


def scarcity(built: Built, recipe: Recipe, splits: Splits, *, cached: bool = True) -> Scarcity:
    """Warn of few pictures, and probe the backbone as it is: before training moves it. It is left frozen.

    cached: whether frozen layers are computed once; where they are not, they are not for this alone either. Raises
    DataError where the backbone gives the same for every picture.
    """
    warnings = few_pictures(splits)
    for warning in warnings:
        warn(warning)
    reason = _not_probed(built, recipe) if cached else "frozen layers are not computed once"
    if reason:
        say(f"no learning curve: {reason}")
        return Scarcity(warnings)
    found = _features(built, recipe, splits)
    if found is None:
        return Scarcity(warnings)
    train, validation = found
    linear.refuse_constant(train.features)
    balanced = recipe.class_weight == "balanced"
    keep = shares_of(built)
    curve, sentence = learning_curve(train, splits.classes, keep=keep, balanced=balanced, seed=recipe.seed)
    say(sentence)
    figures = None
    if len(train.labels) == len(splits.train) and _scarce(splits.validation, len(splits.classes)):
        known = train + validation
        figures = cross_validation(known, splits.classes, keep=keep, balanced=balanced, seed=recipe.seed)
    return Scarcity(warnings, tuple(curve), sentence, figures)


# -------------------------------------------------------------------------------------------------------- warnings


def few_pictures(splits: Splits) -> tuple[str, ...]:
    """A line where train has few pictures of a class, and one where test has, each with what that means."""
    found = []
    if few := _fewest(splits.train, splits.classes):
        found.append(
            f"{few} to learn from; below about {FEW} the result hangs on which pictures they are: read the intervals, "
            "and add pictures where the learning curve rises (docs/few-images.md)"
        )
    if few := _fewest(splits.test, splits.classes):
        number = min(number for number in splits.test.things(len(splits.classes)) if number)
        low = stats.beta.ppf((1 - CONFIDENCE) / 2, number + 0.5, 0.5)
        found.append(f"{few} to be tested on; even if all are answered rightly, the true share may be {low:.2f}")
    return tuple(found)


def _fewest(part: Split, classes: Sequence[str]) -> str:
    """The class with the fewest pictures, in words, where they are few; else nothing."""
    numbers = part.things(len(classes))
    few = [number for number in numbers if 0 < number < FEW]
    if not few:
        return ""
    label = classes[numbers.index(min(few))]
    pictures = int((part.labels == classes.index(label)).sum())
    what = f"picture{'s' if pictures != 1 else ''}" if pictures == min(few) else f"things (on {pictures} pictures)"
    others = len(few) - 1
    more = f" (and {others} more class{'es have' if others != 1 else ' has'} fewer than {FEW})" if others else ""
    return f"class {label!r} has {min(few)} {what}{more}"


def _scarce(validation: Split, classes: int) -> bool:
    """Whether so few validation pictures say little: fewer than 100 independent ones, or than 20 of a class."""
    things = validation.things(classes)
    return sum(things) < FEW_TO_CHOOSE_BY or min(things) < FEW


# -------------------------------------------------------------------------------------------------------- features


def _not_probed(built: Built, recipe: Recipe) -> str:
    """Why the frozen backbone's features are not asked for; empty where they are."""
    recipe.phases[0].trainable(built.backbone)
    if isinstance(find_border(built), Uncut) and recipe.weights in (None, "none"):
        return "there are no pretrained weights, and nothing is frozen"
    frozen(built.backbone)
    border = find_border(built)
    if isinstance(border, Uncut):
        return border.reason
    width = border.width if len(built.features.shape) == 2 else min(border.width, int(built.features.shape[-1]))
    return f"{width:,} features a picture are too many" if width > WIDEST else ""


def _features(built: Built, recipe: Recipe, splits: Splits) -> tuple[Known, Known] | None:
    """What the frozen backbone gives for the plain pictures of train and validation; None where it can't be kept.

    The same pass stores what training will start from; where pictures are augmented, that is something else.
    """
    name = "_".join(["features", *(phase.name for phase in recipe.phases)])  # no phase has this one
    first = Phase(name, trainable=frozen, epochs=1, lr=1e-3)
    phases = [first, *recipe.phases] if recipe.augment is None else [first]
    frozen(built.backbone)
    sample = replace(splits, train=_drawn(splits.train, seed=recipe.seed))
    work = Engine(built, replace(recipe, augment=None, phases=phases), sample).work(0)
    frozen(built.backbone)
    if work.inputs == "pixels":  # the engine has said why
        return None
    return _known(built, work.train, sample.train), _known(built, work.validation, sample.validation)


def _known(built: Built, inputs: Inputs, part: Split) -> Known:
    """Rows with their labels and groups; maps are averaged over their places."""
    rows, sides = inputs[np.arange(len(part))], built.features.shape[1:]
    if len(sides) > 1 and rows.shape[1] == np.prod(sides):
        rows = rows.reshape(len(rows), -1, sides[-1]).mean(axis=1)
    return Known(rows, part.labels, np.asarray(part.groups))


def _drawn(part: Split, *, seed: int) -> Split:
    """All pictures, or of very many as many as probes learn from, by chance."""
    if len(part) <= AT_MOST:
        return part
    say(f"learning curve: from {AT_MOST:,} of {len(part):,} training pictures")
    ranks = np.empty(len(part))
    for label, size in enumerate(np.bincount(part.labels)):
        ranks[part.labels == label] = np.maximum(np.random.default_rng([seed, label]).permutation(size) - FEW, 0) / size
    chosen = np.sort(np.argsort(ranks, kind="stable")[:AT_MOST])  # of a rare class the first 20, then by shares
    return part.take(chosen)


# ---------------------------------------------------------------------------------------------------------- probes


def cross_validation(
    known: Known, classes: Sequence[str], *, keep: Sequence[float] = (1.0,), balanced: bool, seed: int
) -> dict[str, Any] | None:
    """A probe's figures on all pictures, each answered by one that learned without it and without its group.

    keep: the shares of the features that the probe chooses between. None where a class has one thing only.
    """
    try:
        scores = linear.cross_validated(
            known.features, known.labels, classes=len(classes), keep=keep, groups=known.groups.tolist(),
            balanced=balanced, folds=FOLDS, seed=seed,
        )  # fmt: skip
    except DataError as error:
        say(f"no cross-validation: {error}")
        return None
    found = evaluate(scores, known.labels, classes, groups=known.groups.tolist(), seed=seed)
    kept = ("accuracy", "balanced_accuracy")
    return {
        **{key: found[key] for key in ("images", "groups", *kept, "confidence")},
        "intervals": {key: found["intervals"][key] for key in kept},
    }


def learning_curve(
    known: Known, classes: Sequence[str], *, keep: Sequence[float] = (1.0,), balanced: bool, seed: int
) -> tuple[list[dict[str, Any]], str]:
    """How good a probe is that learned from so many pictures, by rising number, and what more would bring, in words.

    Each point has `images_per_class` (the mean), `images`, `balanced_accuracy` (the mean of `DRAWS` draws), and `low`
    and `high`, the outermost ends of the draws' 95 % bootstrap intervals. In each draw every picture is answered once,
    by a probe that learned from pictures of other folds; the pictures of a smaller size are among those of a larger.
    Empty, with the reason, where a class has too few things to learn from some and be judged on others.
    """
    if alone := [label for number, label in enumerate(classes) if len(set(known.groups[known.labels == number])) < 2]:
        return [], f"There is no learning curve: class {alone[0]!r} has a single independent picture to learn from."
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
        found = [
            evaluate(answer.scores, known.labels, classes, groups=known.groups.tolist(), seed=seed, resamples=RESAMPLES)
            for answer in answers
        ]
        intervals = [one["intervals"]["balanced_accuracy"] for one in found]
        accuracies.append([one["balanced_accuracy"] for one in found])
        curve.append(
            {
                "images_per_class": round(images / len(classes), 1),
                "images": round(images),
                "balanced_accuracy": float(np.mean(accuracies[-1])),
                "low": min(low for low, _ in intervals),
                "high": max(high for _, high in intervals),
            }
        )
    return curve, outlook([point["images_per_class"] for point in curve], np.array(accuracies).T)


@dataclass(frozen=True)
class _Answers:
    """What probes say of every picture, `[N, K]`, each having learned from so many others."""

    images: float
    scores: Floats


def _draw(known: Known, classes: int, *, keep: Sequence[float], balanced: bool, seed: int) -> list[_Answers]:
    """The answers of probes for every size, the smallest first."""
    folds = linear.folds_of(known.labels, known.groups.tolist(), folds=FOLDS, seed=seed)
    # Chosen once a draw, from the first fold's pictures, as a choice for each probe would take ten times as long; it
    # says how large weights are expected to be, which has little to do with how many pictures there are.
    first = _probe(known[folds[0][0]], classes, keep=keep, C=None, balanced=balanced, seed=seed)
    turns = [_turns(known[rest], seed=(seed, number)) for number, (rest, _) in enumerate(folds)]
    found: list[_Answers] = []
    for share in SHARES:
        scores, images = np.zeros((len(known.labels), classes), np.float32), 0.0
        for (rest, held_out), turn in zip(folds, turns, strict=True):
            learned = known[rest[turn <= share]]
            probe = _probe(learned, classes, keep=(first.kept,), C=first.C, balanced=balanced, seed=seed)
            scores[held_out] = probe.scores(known.features[held_out])
            images += len(learned.labels) / len(folds)
        found.append(_Answers(images, scores))
    return found


def _probe(
    known: Known, classes: int, *, keep: Sequence[float], C: float | None, balanced: bool, seed: int  # noqa: N803
) -> linear.Linear:  # fmt: skip
    return linear.fit(
        known.features, known.labels, classes=classes, keep=keep, C=C, groups=known.groups.tolist(),
        balanced=balanced, seed=seed,
    )  # fmt: skip


def _turns(known: Known, *, seed: tuple[int, ...]) -> Floats:
    """For each picture the share of its class from which on it is learned from: thing by thing, two from the start."""
    random, turns = np.random.default_rng(seed), np.empty(len(known.labels), np.float32)
    for label in np.unique(known.labels):
        members = np.flatnonzero(known.labels == label)
        things, thing = np.unique(known.groups[members], return_inverse=True)
        places = random.permutation(len(things))
        turns[members] = np.where(places < 2, 0, (places + 1) / len(things))[thing]
    return turns


def outlook(images_per_class: Sequence[float], accuracies: Floats) -> str:
    """What twice the pictures would bring, in a sentence; accuracies: `[draws, sizes]`.

    Errors are taken to fall as a power of the number of pictures, as they do over the sizes that were measured
    (Mukherjee et al., Estimating Dataset Size Requirements for Classifying DNA Microarray Data, 2003).
    """
    if len(images_per_class) < 3:
        return "There are too few pictures to say what more would bring, other than a firmer answer."
    errors, most = np.maximum(1 - accuracies, 1e-3), f"{images_per_class[-1]:.0f} pictures a class"
    last = float(errors[:, -1].mean())
    if last < WORTHWHILE:
        return f"With {most} a linear probe is nearly always right: more pictures would make that surer, not better."
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
