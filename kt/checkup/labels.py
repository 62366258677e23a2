"""Likely wrong labels: where a probe that has not seen a picture is sure that it shows another class.

The order of suspicion is that of the probability which cross-validated answers give to the label (self-confidence, as
Northcutt, Jiang and Chuang rank by, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021). What is
listed follows from the share of wrong labels that explains all labels best (`kt.checkup.answers.wrong_shares`): the
labels that are more likely wrong than right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from kt.checkup.answers import Directions, cross_validated, evidence, wrong_shares
from kt.checkup.features import BLOCK, Features
from kt.errors import DataError
from kt.findings import Finding, Fix
from kt.linear.space import Floats

Ints = npt.NDArray[np.int64]

LIKELY = 0.5
"""A label is listed if it is wrong with more than this probability."""

NEIGHBOURS = 10
"""How many of the nearest pictures are counted for the sentence."""

SHOWN = 4
"""How many of them are shown beside the picture."""

_FACTORS = (0.0, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Logarithms of the factors that are tried for a group's labels."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What is known of each label of N pictures.

    judged: `[N]`, whether anything is: pictures of a class with a single group are not judged, and have no answer.
    answers: float64 `[N, C]`, probabilities of the classes, cross-validated. own: `[N]`, that of the label. wrong:
    `[N]`, the probability that the label is wrong. share: of wrong labels, as estimated. units: int64 `[N]`, a number
    for pictures that are judged together, because they are one group under one label.
    """

    judged: npt.NDArray[np.bool_]
    answers: Floats
    own: Floats
    wrong: Floats
    share: float
    units: Ints


def label_errors(
    features: Features,
    labels: npt.ArrayLike,
    groups: Sequence[str],
    names: Sequence[str],
    *,
    classes: Sequence[str],
    likely: float = LIKELY,
    seed: int = 0,
) -> list[Finding]:
    """A finding for each likely wrong label, the surest first, with the other label as a proposed fix.

    labels: `[N]`, indices into the classes, -1 for none. groups: of each picture; pictures of one group show one thing,
    and are never learned from while another of them is asked. Copies belong to one group. A group under one label is
    one finding, with all its pictures. names: the pictures' paths relative to the data. likely: list labels that are
    wrong with more than this probability. If the estimated share of wrong labels is right, more than half of those
    listed are wrong; benchmarks/README.md (Wrong labels) has what was measured.
    """
    known = np.asarray(labels, np.int64)
    judged = judge_labels(features, known, groups, classes=len(classes), seed=seed)
    suspects = np.flatnonzero(judged.judged & (judged.wrong > likely))
    firsts = [int(place) for place in suspects if place == np.flatnonzero(judged.units == judged.units[place])[0]]
    firsts.sort(key=lambda place: judged.own[place])
    near = nearest(features, np.array(firsts, np.int64), groups) if firsts else np.zeros((0, 0), np.int64)
    return [
        _finding(judged, np.flatnonzero(judged.units == judged.units[place]), known, others, names, classes)
        for place, others in zip(firsts, near, strict=True)
    ]


def judge_labels(
    features: Features, labels: npt.ArrayLike, groups: Sequence[str], *, classes: int, seed: int = 0
) -> Judged:  # fmt: skip
    """How likely each label is wrong. The arguments are those of `label_errors`; classes: their number.

    If groups have pictures under several labels, the labels of a group's other pictures count as well, as much as
    explains the labels best. If each group has one label, as where the group lies within the class's folder, they say
    nothing, so the group is judged as one: by the mean of its pictures' answers.
    """
    known, things = np.asarray(labels, np.int64), np.asarray(groups, dtype=str)
    _, number = np.unique(things, return_inverse=True)
    judged = np.zeros(len(known), bool)
    counts = {label: len(np.unique(number[known == label])) for label in np.unique(known[known >= 0])}
    often = [label for label, count in counts.items() if count > 1]
    answers = np.full((len(known), classes), np.nan)
    own, wrong = np.full(len(known), np.nan), np.full(len(known), np.nan)
    units = np.unique(np.stack([number, known]), axis=1, return_inverse=True)[1].reshape(-1).astype(np.int64)
    share = 0.0
    if len(often) > 1:
        judged = np.isin(known, often)
        places = np.flatnonzero(judged)
        part = features.take(places) if len(places) < len(known) else features
        inside = np.searchsorted(often, known[places])
        try:
            scores = cross_validated(part, inside, things[places].tolist(), classes=len(often), seed=seed)
        except DataError:  # the groups can't be shared out
            return Judged(np.zeros(len(known), bool), answers, own, wrong, share, units)
        scores, mixed = _with_group(scores, inside, number[places])
        scores = _of_units(scores, np.where(mixed, -1 - np.arange(len(places)), units[places]))
        units[places[mixed]] = units.max() + 1 + np.arange(mixed.sum())
        answers[places] = 0.0
        answers[np.ix_(places, np.array(often))] = scores
        own[places] = scores[np.arange(len(places)), inside]
        # One vote a unit, so that the hundred frames of one apple are not a hundred labels.
        _, first, back = np.unique(units[places], return_index=True, return_inverse=True)
        share, each = wrong_shares(own[places][first], len(often))
        wrong[places] = each[back]
    return Judged(judged, answers, own, wrong, share, units)


def nearest(features: Features, places: Ints, groups: Sequence[str], *, count: int = NEIGHBOURS) -> Ints:
    """The `count` nearest pictures of other groups for each of the pictures at these places, int64 `[B, count]`.

    By the angle between standardised features of all depths; the nearest first. There are fewer columns if there are
    not so many pictures of other groups.
    """
    _, number = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    of = Directions.all_depths(features)
    asked = of.at(places)
    best = np.full((len(places), 0), 0.0)
    found = np.full((len(places), 0), 0, np.int64)
    for start in range(0, len(features), BLOCK):
        part = np.arange(start, min(start + BLOCK, len(features)))
        like = (asked @ of.at(part).T).astype(np.float64)
        like[number[places][:, None] == number[part][None]] = -np.inf
        best = np.concatenate([best, like], axis=1)
        found = np.concatenate([found, np.broadcast_to(part, like.shape)], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :count]
        best, found = np.take_along_axis(best, order, 1), np.take_along_axis(found, order, 1)
    return found[:, : int(np.isfinite(best).sum(axis=1).min(initial=count))]


def _with_group(answers: Floats, labels: Ints, groups: Ints) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Answers that count the labels of the group's other pictures, and which pictures' groups have several labels.

    Each other picture of the group multiplies the probability of its label by one factor. It is the factor that
    explains the labels best if a share of them is wrong: large where groups are things, 1 where a group is a patient or
    a field and shows several classes.
    """
    one_hot = np.eye(answers.shape[1])[labels]
    counts = np.zeros((int(groups.max()) + 1, answers.shape[1]))
    np.add.at(counts, groups, one_hot)
    mixed = ((counts > 0).sum(axis=1) > 1)[groups]
    if not mixed.any():
        return answers, mixed
    logits = np.log(np.maximum(answers, 1e-12))
    others = counts[groups] - one_hot
    weighed = [softmax(logits + each * others, axis=1) for each in _FACTORS]
    own = [each[np.arange(len(labels)), labels] for each in weighed]
    return weighed[int(np.argmax([evidence(each, answers.shape[1]) for each in own]))], mixed


def _of_units(answers: Floats, units: Ints) -> Floats:
    """The mean of the answers of each unit, for each of its pictures."""
    _, number, sizes = np.unique(units, return_inverse=True, return_counts=True)
    sums = np.zeros((len(sizes), answers.shape[1]))
    np.add.at(sums, number, answers)
    return np.asarray((sums / sizes[:, None])[number])


def _finding(
    judged: Judged, pictures: Ints, labels: Ints, near: Ints, names: Sequence[str], classes: Sequence[str]
) -> Finding:
    place = int(pictures[0])
    given = int(labels[place])
    others = judged.answers[place].copy()
    others[given] = -1.0
    other = int(np.argmax(others))
    alike, as_given = (int((labels[near] == label).sum()) for label in (other, given))
    like = f"{alike} of the {len(near)} nearest pictures {'are' if alike != 1 else 'is'} {classes[other]}"
    what = f"{names[place]} is labelled {classes[given]} and looks"
    if len(pictures) > 1:
        what = f"{len(pictures)} pictures of one thing, such as {names[place]}, are labelled {classes[given]} and look"
    return Finding(
        kind="label_error",
        severity="warning",
        items=tuple(names[each] for each in pictures.tolist()),
        words=f"{what} like {classes[other]}: {like}.",
        advice=f"Look at it; if it shows {classes[other]}, correct the label, and if it shows neither, leave it out.",
        fixes=tuple(Fix(names[each], "relabel", classes[other], like) for each in pictures.tolist()),
        score=float(1 - judged.own[place]),
        figures={
            "probability_wrong": float(judged.wrong[place]),
            "probability_of_label": float(judged.own[place]),
            "probability_of_other": float(judged.answers[place, other]),
            "neighbours": float(len(near)),
            "neighbours_of_other": float(alike),
            "neighbours_of_label": float(as_given),
        },
        beside=tuple(names[each] for each in near[:SHOWN].tolist()),
    )
