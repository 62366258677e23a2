"""Shortcuts: properties of files that tell the classes apart by themselves, so that a model need not look at the thing.

If all pictures of one class came from another camera, a model can learn the camera, and a test split of the same
pictures will not show it (Torralba and Efros, Unbiased Look at Dataset Bias, CVPR 2011). So each property is given to a
small decision tree, alone. What it gets right on pictures that it has not learned from is compared with chance.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kt.base.chance import least_share
from kt.base.metrics import CONFIDENCE
from kt.errors import DataError
from kt.findings import Finding
from kt.kinds.pictures import Pixels
from kt.linear.folds import Folds, folds_of

LEAST = 0.1
"""The share of the way from chance to always right that a property must show, at the lower end of its interval.

With very many pictures a difference of no importance is certain; below this it is not worth a person's time."""

MOST = 20_000
"""The most pictures that are looked at; of more, a random sample of this many."""

COMMON = 20
"""The most values of a property without numbers, such as cameras, that are told apart; the others count as one."""

_LEAF = 3
_BLOCK = 1024

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FileProperty:
    """A property of N pictures. name: what it is called in a sentence.

    values: float `[N]` or `[N, d]`, not finite where unknown; or a text for each picture, empty where unknown. genuine:
    whether the classes may really differ in it, as fruits do in colour. What to do is said in `advice`.
    """

    name: str
    values: Floats | Sequence[str]
    advice: str
    genuine: bool = False
    unit: str = ""

    def columns(self, places: Ints) -> Floats:
        """The values of these pictures as numbers `[B, d]` for a decision tree.

        Each text that is common among all pictures is a column, 1 where it is the value.
        """
        if isinstance(self.values, np.ndarray):
            numbers = np.asarray(self.values, np.float64).reshape(len(self.values), -1)
            # A tree can ask whether a value is known: below all others.
            known = np.isfinite(numbers)
            lowest = np.min(numbers, axis=0, where=known, initial=0.0)
            return np.asarray(np.where(known, numbers, lowest - 1.0)[places])
        common = [text for text, _ in Counter(self.values).most_common(COMMON)]
        texts = [self.values[int(place)] for place in places]
        return np.array([[text == each for each in common] for text in texts], np.float64)


@dataclass(frozen=True, eq=False)
class _Asked:
    """The pictures that every property is judged on. sampled: their places. answers, groups: of each of these.

    folds: over these; none if there is nothing to tell apart, or to hold out.
    """

    sampled: Ints
    answers: Ints
    groups: Sequence[str]
    folds: Folds

    @classmethod
    def of(cls, labels: Ints, groups: Sequence[str] | None, *, seed: int) -> "_Asked":
        sampled = np.flatnonzero(labels >= 0)
        if len(sampled) > MOST:
            sampled = np.sort(np.random.default_rng(seed).choice(sampled, MOST, replace=False))
        present, answers = np.unique(labels[sampled], return_inverse=True)
        own = [str(place) if groups is None else groups[place] for place in sampled.tolist()]
        folds: Folds = []
        if len(present) > 1:
            with suppress(DataError):  # a class with a single group
                folds = folds_of(answers, own, seed=seed)
        return cls(sampled, answers, own, folds)


@dataclass(frozen=True)
class Told:
    """How far a property alone tells the classes apart, by cross-validation.

    balanced_accuracy: the mean over the classes of the share of their pictures that are told rightly. low, high: its
    95% interval, widened for looking at several properties. chance: what a guess gets. independent: of how many
    pictures it is as sure as that. right: `[N]`, whether each picture was told rightly; sampled: which they are.
    """

    balanced_accuracy: float
    low: float
    high: float
    chance: float
    independent: float
    right: npt.NDArray[np.bool_]
    sampled: Ints

    @property
    def effect(self) -> float:
        """How far it is from chance (0) to always right (1)."""
        return max(0.0, (self.balanced_accuracy - self.chance) / (1 - self.chance))

    @property
    def shown(self) -> bool:
        """Whether the lower end is far enough above chance."""
        return self.low >= self.chance + LEAST * (1 - self.chance)


def check(
    labels: npt.ArrayLike,
    classes: Sequence[str],
    *,
    names: Sequence[str],
    groups: Sequence[str] | None = None,
    formats: Sequence[str] | None = None,
    modes: Sequence[str] | None = None,
    cameras: Sequence[str] | None = None,
    sizes: npt.ArrayLike | None = None,
    lengths: npt.ArrayLike | None = None,
    border: npt.ArrayLike | None = None,
    colour: npt.ArrayLike | None = None,
    seed: int = 0,
) -> list[Finding]:
    """A finding for each property that alone tells the classes apart, the most telling first.

    labels: `[N]`, indices into the classes, -1 for none. names: the pictures. groups: of each; pictures of one group
    show one thing, so they are learned or asked together, and count once. The properties, each of N pictures, None for
    one that is not known: formats such as "JPEG"; modes such as "RGB" or "L"; cameras by EXIF, empty without; sizes
    `[N, 2]`, height and width in pixels; lengths, the bytes of each file; border `[N, 3]`, the mean colour along the
    edge; colour `[N, 3]`, the mean colour (`mean_colours`). Whether anything but chance was at work is judged with one
    promise for all properties together: of 20 sets without a shortcut at most one has a finding.

    A class with a single group can't be learned while it is held out; then there are no findings.
    """
    known = list(_properties(formats, modes, cameras, sizes, lengths, border, colour))
    answers = np.asarray(labels, np.int64)
    asked = _Asked.of(answers, groups, seed=seed)
    judged = [(each, told) for each in known if (told := _judged(each, asked, looks=len(known), seed=seed))]
    shown = sorted((pair for pair in judged if pair[1].shown), key=lambda pair: -pair[1].effect)
    return [_finding(each, told, answers, classes, names, looks=len(known)) for each, told in shown]


def judge(
    of: FileProperty, labels: Ints, groups: Sequence[str] | None = None, *, looks: int = 1, seed: int = 0
) -> Told | None:  # fmt: skip
    """How far the property alone tells the classes apart; None where it is the same everywhere, or can't be judged.

    looks: how many properties are looked at; the interval is widened for them (Bonferroni). The interval is Clopper and
    Pearson's for as many independent pictures as there are groups or, where classes differ in size, for the number with
    the variance of the balanced accuracy. That is too few where pictures of one group differ, so the interval is wide
    enough in any case.
    """
    return _judged(of, _Asked.of(labels, groups, seed=seed), looks=looks, seed=seed)


def _judged(of: FileProperty, asked: _Asked, *, looks: int, seed: int) -> Told | None:
    """As `judge`, of pictures whose folds are known."""
    from sklearn.tree import DecisionTreeClassifier  # takes a second to load

    sampled, answers, own = asked.sampled, asked.answers, asked.groups
    if not asked.folds:
        return None
    columns = of.columns(sampled)
    if not np.ptp(columns, axis=0).any():
        return None
    present = np.unique(answers)
    right = np.zeros(len(answers), bool)
    for learned, held_out in asked.folds:
        tree = DecisionTreeClassifier(
            max_leaf_nodes=max(8, 2 * len(present)), min_samples_leaf=_LEAF, class_weight="balanced", random_state=seed
        )
        right[held_out] = tree.fit(columns[learned], answers[learned]).predict(columns[held_out]) == answers[held_out]
    things = [len({own[place] for place in np.flatnonzero(answers == label).tolist()}) for label in range(len(present))]
    balanced = float(np.mean([right[answers == label].mean() for label in range(len(present))]))
    independent = len(present) ** 2 / sum(1 / number for number in things)
    tail = (1 - CONFIDENCE) / 2 / looks
    low = least_share(balanced, independent, tail=tail)
    high = 1 - least_share(1 - balanced, independent, tail=tail)
    return Told(balanced, low, high, 1 / len(present), independent, right, sampled)


def mean_colours(pixels: Pixels) -> Floats:
    """The mean colour float64 `[N, 3]` of pictures uint8 `[N, H, W, 3]`, which may be mapped from a file."""
    parts = [pixels[start : start + _BLOCK].mean(axis=(1, 2)) for start in range(0, len(pixels), _BLOCK)]
    return np.concatenate(parts) if parts else np.zeros((0, 3))


def _properties(
    formats: Sequence[str] | None,
    modes: Sequence[str] | None,
    cameras: Sequence[str] | None,
    sizes: npt.ArrayLike | None,
    lengths: npt.ArrayLike | None,
    border: npt.ArrayLike | None,
    colour: npt.ArrayLike | None,
) -> Iterator[FileProperty]:
    """Those that are known."""
    alike = "take or save the pictures of all classes in the same way"
    if formats is not None:
        yield FileProperty("file format", formats, f"It has nothing to do with what is shown: {alike}.")
    if modes is not None:
        yield FileProperty("colour mode", modes, f"It has nothing to do with what is shown: {alike}.")
    if cameras is not None:
        yield FileProperty(
            "camera", cameras, "Take pictures of all classes with each camera, or leave out what only one class has."
        )
    sides = None if sizes is None else np.asarray(sizes, np.float64)
    if sides is not None:
        yield FileProperty("size in pixels", sides, f"It has nothing to do with what is shown: {alike}.", unit="px")
        with np.errstate(divide="ignore", invalid="ignore"):
            aspect = sides[:, 1] / sides[:, 0]
        yield FileProperty(
            "ratio of width to height", aspect,
            "A model sees it, since pictures are stretched to one shape: crop the pictures of all classes alike.",
        )  # fmt: skip
    if lengths is not None and sides is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            of_pixel = np.asarray(lengths, np.float64) / sides.prod(axis=1)
        yield FileProperty(
            "number of bytes a pixel", of_pixel,
            "It tells how strongly files are compressed, or how much detail they show: save all classes alike, and "
            "compare again.",
        )  # fmt: skip
    if border is not None:
        yield FileProperty(
            "colour of the border", np.asarray(border, np.float64),
            "Unless the thing fills the picture, it is the background: take pictures of all classes before the same "
            "one, or before many.",
        )  # fmt: skip
    if colour is not None:
        yield FileProperty(
            "mean colour", np.asarray(colour, np.float64),
            "That may be what the classes really differ in, or it may be the light or the background: look at "
            "kt explain to see which.",
            genuine=True,
        )  # fmt: skip


def _finding(
    of: FileProperty, told: Told, labels: Ints, classes: Sequence[str], names: Sequence[str], *, looks: int
) -> Finding:
    middle, low, high, chance = (f"{100 * share:.0f}%" for share in
                                 (told.balanced_accuracy, told.low, told.high, told.chance))  # fmt: skip
    example = _such_as(of, labels, classes)
    return Finding(
        kind="shortcut",
        severity="note" if of.genuine else "warning",
        items=_typical(labels, names, told),
        words=f"The {of.name} alone tells the class of {middle} of pictures ({low} to {high}; a guess: {chance})"
        f"{example}.",
        advice=of.advice,
        score=round(told.effect, 4),
        figures={
            "balanced_accuracy": told.balanced_accuracy,
            "low": told.low,
            "high": told.high,
            "chance": told.chance,
            "independent": told.independent,
            "properties": float(looks),
        },
    )


def _typical(labels: Ints, names: Sequence[str], told: Told) -> tuple[str, ...]:
    """A picture of each class that was told rightly; the first of the class where none was."""
    found = []
    for label in np.unique(labels[told.sampled]):
        own = labels[told.sampled] == label
        rightly = told.sampled[own & told.right]
        found.append(names[rightly[len(rightly) // 2] if len(rightly) else told.sampled[own][0]])
    return tuple(found)


def _such_as(of: FileProperty, labels: Ints, classes: Sequence[str]) -> str:
    """What two classes mostly have, if that can be said in a few words and differs; else nothing."""
    present = np.unique(labels[labels >= 0]).tolist()
    if not isinstance(of.values, np.ndarray):
        common: dict[int, tuple[str, float]] = {}
        for label in present:
            own = np.flatnonzero(labels == label)
            text, count = Counter(of.values[place] for place in own.tolist()).most_common(1)[0]
            common[label] = text or "none", count / len(own)
        first = max(present, key=lambda label: common[label][1])
        others = [label for label in present if common[label][0] != common[first][0]]
        if not others:
            return ""
        pair = first, max(others, key=lambda label: common[label][1])
        return "; mostly " + " and ".join(f"{common[label][0]} in {classes[label]}" for label in pair)
    if of.values.ndim > 1 and of.unit != "px":
        return ""
    values = of.values if of.values.ndim == 1 else of.values.min(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class in which it is not known
        middles = {label: float(np.nanmedian(values[labels == label])) for label in present}
    known = [label for label in present if np.isfinite(middles[label])]
    if not known:
        return ""
    ends = min(known, key=middles.__getitem__), max(known, key=middles.__getitem__)
    written = [f"{middles[label]:.0f} px" if of.unit else f"{middles[label]:.2f}" for label in ends]
    if written[0] == written[1]:
        return ""
    what = "the shorter side is mostly about" if of.values.ndim > 1 else "its median is"
    return f"; {what} {written[0]} in {classes[ends[0]]} and {written[1]} in {classes[ends[1]]}"
