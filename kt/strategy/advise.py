"""What to transfer, and how much, told from the pictures in a minute: size, similarity to the source, and the reasons.

Frozen features of several depths are computed once for each picture; all the rest is arithmetic on them. Pictures to
test on are never looked at.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from keras import applications
from scipy import stats
from sklearn.metrics import balanced_accuracy_score
from threadpoolctl import threadpool_limits

from kt import backbones, freeze, linear
from kt.backbones.build import build as build_backbone
from kt.backbones.preprocessing import PREPROCESSING_OF
from kt.console import progress_bar, say
from kt.data.splits import Split, Splits
from kt.errors import DataError, RecipeError, did_you_mean
from kt.evaluate import evaluate
from kt.features.engine import Engine
from kt.graph import is_functional
from kt.heads import Classifier
from kt.model import build
from kt.probe import SHARES
from kt.recipe import LinearProbe, Recipe
from kt.strategy.transferability import h_score, logme, neighbours
from kt.train import seed_everything

FEW = 20
"""Below so many pictures a class every figure is shaky, which is said."""

LARGE = 300
"""From so many pictures in the middle class on a data set is large: training blocks pays (benchmarks/README.md)."""

TOP_HOLDS = 0.9
"""The source is similar where the top goes at least this share of the way that the best depth goes."""

OVER_PIXELS = 1 / 3
"""And where the top removes at least this share of what the pixels alone leave to be told apart."""

SOLVED = 0.95
"""Or where the top goes this far from guessing to perfect, whatever the pixels alone do."""

CLOSE = 0.01
"""Of depths that differ by no more, the one nearest the top is taken: fine-tuning starts there."""

MOST = 1000
"""Pictures that are measured, at most; a draw where there are more, class by class and in whole groups."""

STAGES = 6
"""Depths that are probed, at most."""

_SIGNIFICANT = 0.01
"""Chance of calling noise learnable.

At 5 % random pixels passed, for the folds of a cross-validation depend on each other more than a bootstrap knows
(Bengio and Grandvalet, No Unbiased Estimator of the Variance of K-Fold Cross-Validation, JMLR 2004).
"""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """A backbone to compare: its constructor, and its weights as `Recipe.weights` takes them."""

    constructor: Callable[..., Any]
    weights: str | None = "imagenet"


def pretrained(names: Sequence[str]) -> dict[str, Candidate]:
    """Backbones of keras.applications and kt.backbones by their names, with ImageNet weights; else RecipeError."""
    for name in names:
        if name not in PREPROCESSING_OF:
            raise RecipeError(f"No backbone {name!r}. {did_you_mean(name, PREPROCESSING_OF)}")
    return {name: Candidate(getattr(backbones if name in backbones.__all__ else applications, name)) for name in names}


@dataclass(frozen=True)
class Depth:
    """Features of all measured pictures: name of the block, its place from 0 (pixels) to 1 (top), rows `[N, D]`."""

    name: str
    place: float | None
    rows: npt.NDArray[Any]


@dataclass(frozen=True)
class Probe:
    """How well the features of a depth tell the classes apart.

    depth: a block's name, "top", "several" (all depths side by side) or "pixels" (colours and a thumbnail). balanced
    accuracy, with its 95 % interval: of a softmax regression, cross-validated, on pictures it has not seen.
    neighbours: the balanced accuracy of the five nearest pictures.
    """

    depth: str
    place: float | None
    features: int
    balanced_accuracy: float
    interval: tuple[float, float]
    neighbours: float
    logme: float
    h_score: float


@dataclass(frozen=True)
class Measured:
    """A backbone's probes, from the pixels to the top and several together."""

    backbone: str
    probes: tuple[Probe, ...]

    @property
    def pixels(self) -> Probe:
        """The probe of what needs no network."""
        return self.named("pixels")

    @property
    def top(self) -> Probe:
        """The probe of the last features."""
        return self.named("top")

    @property
    def best(self) -> Probe:
        """The best of the network's probes; of those that are close, the one nearest the top."""
        mine = [probe for probe in self.probes if probe.depth != "pixels"]
        reach = max(probe.balanced_accuracy for probe in mine) - CLOSE
        # "several" is tried before the depths below the top: it has them all.
        return max(
            (probe for probe in mine if probe.balanced_accuracy >= reach),
            key=lambda probe: {"top": 3.0, "several": 2.0}.get(probe.depth, probe.place or 0.0),
        )

    @property
    def advised(self) -> Probe:
        """The probe whose features are to be taken: the top where several depths add less than a point, else several.

        A single depth below the top only where it beats several beyond their interval: the best of many is best by
        luck too, and several, from which the probe selects, need no such choice.
        """
        best, several = self.best, next((probe for probe in self.probes if probe.depth == "several"), self.top)
        if best.balanced_accuracy > several.interval[1]:
            return best
        return self.top if self.top.balanced_accuracy >= several.balanced_accuracy - CLOSE else several

    def named(self, depth: str) -> Probe:
        """The probe of a depth."""
        return next(probe for probe in self.probes if probe.depth == depth)


@dataclass(frozen=True)
class Advice:
    """Where a data set lies in the matrix of size and similarity, what to do with it, and why.

    quadrant: "small/similar", "small/different", "large/similar" or "large/different". per_class: pictures to learn
    from. measured: the backbones, best first. strategy: "probe", "probe_then_top" or "probe_then_all". features: the
    depths that the probe takes. learnable: whether anything does better than guessing.
    """

    origin: str
    image_size: tuple[int, int]
    pictures: int
    measured_pictures: int
    groups: int
    per_class: dict[str, int]
    quadrant: str
    measured: tuple[Measured, ...]
    strategy: str
    features: str | tuple[str, ...]
    learnable: bool
    why: tuple[str, ...]
    notes: tuple[str, ...]
    seed: int

    def as_json(self) -> dict[str, Any]:
        """Plain data; the probes are those of the backbone that is advised."""
        first = self.measured[0]
        return {
            "data": self.origin,
            "image_size": list(self.image_size),
            "pictures": self.pictures,
            "measured_pictures": self.measured_pictures,
            "groups": self.groups,
            "per_class": self.per_class,
            "quadrant": self.quadrant,
            "learnable": self.learnable,
            "backbone": first.backbone,
            "probes": [_row(probe) for probe in first.probes],
            "backbones": [
                {"name": one.backbone, **_row(one.best), "probes": [_row(probe) for probe in one.probes]}
                for one in self.measured
            ],
            "strategy": self.strategy,
            "features": list(self.features) if isinstance(self.features, tuple) else self.features,
            "why": " ".join(self.why),
            "notes": list(self.notes),
            "seed": self.seed,
        }


def _row(probe: Probe) -> dict[str, Any]:
    return {**asdict(probe), "interval": list(probe.interval)}


# ----------------------------------------------------------------------------------------------------------- the work


def advise(splits: Splits, candidates: Mapping[str, Candidate], *, seed: int = 0) -> Advice:
    """Measure the pictures to learn from under each backbone, by its name, and say what to do.

    Raises DataError where there is nothing to compare, WeightsError where a backbone's weights can't be had.
    """
    _check(splits)
    drawn = _drawn(splits, seed=seed)
    pixels = _probe(_of_pixels(drawn), drawn, seed=seed)
    found = []
    for name, candidate in candidates.items():
        say(f"{name}: frozen features of {len(drawn.train) + len(drawn.validation):,} pictures, none of them of test")
        probes = [pixels]
        depths = _depths(candidate, drawn, seed=seed)
        with progress_bar("probing", len(depths), unit="depths") as bar:
            for depth in depths:
                probes.append(_probe(depth, drawn, seed=seed))
                bar.advance()
        found.append(Measured(name, tuple(probes)))
    return place(found, splits, measured_pictures=len(drawn.train) + len(drawn.validation), seed=seed)


def to_learn(splits: Splits) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Labels and groups of the pictures that advice may look at: those of train, then those of validation."""
    parts = (splits.train, splits.validation)
    return np.concatenate([part.labels for part in parts]), [group for part in parts for group in part.groups]


def _check(splits: Splits) -> None:
    """Raise DataError, with the class's name, where one has too little for cross-validation."""
    labels, groups = to_learn(splits)
    for label, name in enumerate(splits.classes):
        alone = {group for group, mine in zip(groups, labels == label, strict=True) if mine}
        if len(alone) < 2:
            raise DataError(
                f"Class {name!r} has {len(alone)} independent pictures to learn from, and nothing can be said of it "
                f"below 2: collect about {FEW} of it, or leave the class out. (Copies, and pictures of one group, "
                "count as one.)"
            )


def _drawn(splits: Splits, *, seed: int) -> Splits:
    """The splits with so few pictures to learn from that probing takes seconds."""
    share = MOST / (len(splits.train) + len(splits.validation))
    if share >= 1:
        return splits
    random = np.random.default_rng(seed)
    return replace(
        splits,
        train=_draw(splits.train, share, random),
        validation=_draw(splits.validation, share, random),
    )


def _draw(split: Split, share: float, random: np.random.Generator) -> Split:
    """A share of each class, in whole groups, at least two groups of each where there are."""
    groups = np.array(split.groups)
    kept = np.zeros(len(split), bool)
    for label in np.unique(split.labels):
        mine = split.labels == label
        for number, group in enumerate(random.permutation(np.unique(groups[mine]))):
            if number >= 2 and kept[mine].sum() >= share * mine.sum():
                break
            kept |= mine & (groups == group)
    chosen = np.flatnonzero(kept)
    return Split(
        pixels=split.pixels[chosen],
        labels=split.labels[chosen],
        names=tuple(split.names[index] for index in chosen),
        groups=tuple(split.groups[index] for index in chosen),
        files=None if split.files is None else tuple(split.files[index] for index in chosen),
    )


# ------------------------------------------------------------------------------------------------------------ features


def _depths(candidate: Candidate, splits: Splits, *, seed: int) -> list[Depth]:
    """Pooled frozen features of train and validation at several depths and all of them together, in one pass."""
    seed_everything(seed)  # a recipe may ask for random weights
    places = stages(build_backbone(candidate.constructor, None, image_size=splits.image_size).model)
    recipe = Recipe(
        data=lambda: splits,
        backbone=candidate.constructor,
        weights=candidate.weights,
        head=Classifier(dropout=0.0),
        phases=[LinearProbe(features=[*places, "top"])],
        export=[],
    )
    built = build(recipe, image_size=splits.image_size, num_classes=len(splits.classes))
    recipe.phases[0].trainable(built.backbone)
    work = Engine(built, recipe, splits).work(0)
    rows = np.concatenate([np.asarray(part[np.arange(len(part))]) for part in (work.train, work.validation)])
    if not built.taps:  # the top alone
        return [Depth("top", 1.0, rows)]
    each = np.split(rows, np.cumsum([width for _, width in built.taps])[:-1], axis=1)
    depths = [Depth(name, places.get(name, 1.0), part) for (name, _), part in zip(built.taps, each, strict=True)]
    return [*depths, Depth("several", None, rows)]


def stages(backbone: Any) -> dict[str, float]:
    """The depths below the top that are worth a probe: blocks by name, each with its place from 0 to 1.

    They are the last block of each stretch of one shape, without the stem, which sees edges and colours; at most
    `STAGES`, evenly spaced. A backbone that is not functional has none.
    """
    if not is_functional(backbone):
        return {}
    order = freeze.blocks(backbone)
    shapes = [tuple(block.layers[-1].output.shape[1:]) for block in order]
    ends = [index for index in range(1, len(order) - 1) if shapes[index] != shapes[index + 1]]
    if len(ends) > STAGES:
        ends = [ends[round(place)] for place in np.linspace(0, len(ends) - 1, STAGES)]
    return {order[index].name: round((index + 1) / len(order), 2) for index in ends}


def _of_pixels(splits: Splits) -> Depth:
    """What is plain to see without a network: the shares of 4 x 4 x 4 colours, rooted, and an 8 x 8 thumbnail."""
    height, width = (side - side % 8 for side in splits.image_size)
    rows = []
    for picture in chain(splits.train.pixels, splits.validation.pixels):
        colours = (picture // 64).reshape(-1, 3).astype(np.int64) @ (16, 4, 1)
        shares = np.bincount(colours, minlength=64) / len(colours)
        cells = picture[:height, :width].reshape(8, height // 8, 8, width // 8, 3).mean(axis=(1, 3))
        rows.append(np.concatenate([np.sqrt(shares), cells.ravel() / 255]))
    return Depth("pixels", 0.0, np.array(rows))


def _probe(depth: Depth, splits: Splits, *, seed: int) -> Probe:
    labels, groups = to_learn(splits)
    return probe(depth, labels, groups, classes=splits.classes, seed=seed)


def probe(
    depth: Depth, labels: npt.NDArray[np.int64], groups: Sequence[str], *, classes: Sequence[str], seed: int = 0
) -> Probe:
    """All figures of a depth. Features that don't vary tell nothing, and get the figures of a guess."""
    rows, number = np.asarray(depth.rows, np.float64), len(classes)
    with threadpool_limits(limits=1):  # matrices of this size: beside other work, threads wait for each other
        if np.ptp(rows, axis=0).any():
            # Of several depths side by side, what a recipe's probe keeps is kept here.
            keep = SHARES if depth.name == "several" else (1.0,)
            scores = linear.cross_validated(
                rows, labels, classes=number, groups=groups, keep=keep, balanced=True, seed=seed
            )
        else:
            scores = np.full((len(rows), number), 1 / number)
        figures = evaluate(scores, labels, classes, groups=groups, seed=seed)
        low, high = figures["intervals"]["balanced_accuracy"]
        return Probe(
            depth=depth.name,
            place=depth.place,
            features=rows.shape[1],
            balanced_accuracy=figures["balanced_accuracy"],
            interval=(low, high),
            neighbours=float(balanced_accuracy_score(labels, neighbours(rows, labels, groups))),
            logme=logme(rows, labels),
            h_score=h_score(rows, labels),
        )


# ------------------------------------------------------------------------------------------------------------- placing


def learnable(probes: Sequence[Probe], *, classes: int) -> bool:
    """Whether any depth does better than guessing, beyond what the best of so many tries does by luck.

    A z-test on the bootstrap's spread, at 1 % divided by the number of probes (Bonferroni).
    """
    guess = 1 / classes
    odds = []
    for probe in probes:
        spread = (probe.interval[1] - probe.interval[0]) / (2 * stats.norm.ppf(0.975))
        above = probe.balanced_accuracy - guess
        odds.append(float(stats.norm.sf(above / spread)) if spread > 0 else float(above <= 0))
    return min(odds) < _SIGNIFICANT / len(odds)


def way(accuracy: float, *, classes: int) -> float:
    """How much of the way from guessing (0) to perfect (1) a balanced accuracy goes."""
    return (accuracy - 1 / classes) / (1 - 1 / classes)


def is_similar(measured: Measured, *, classes: int) -> bool:
    """Whether the source's last features serve as they are: see `TOP_HOLDS`, `OVER_PIXELS` and `SOLVED`."""
    top, best, pixels = (
        way(probe.balanced_accuracy, classes=classes) for probe in (measured.top, measured.best, measured.pixels)
    )
    if top >= SOLVED:
        return True
    return top >= TOP_HOLDS * best and top - pixels >= OVER_PIXELS * (1 - pixels)


def place(found: Sequence[Measured], splits: Splits, *, measured_pictures: int, seed: int) -> Advice:
    """The quadrant of the best backbone, the strategy for it, and the reasons."""
    found = sorted(found, key=lambda one: (one.best.balanced_accuracy, one.best.logme), reverse=True)
    labels, names = to_learn(splits)
    groups = len(set(names))
    per_class = dict(zip(splits.classes, np.bincount(labels, minlength=len(splits.classes)).tolist(), strict=True))
    first, classes = found[0], len(splits.classes)
    large = float(np.median(list(per_class.values()))) >= LARGE
    similar = is_similar(first, classes=classes)
    anything = learnable(first.probes, classes=classes)
    advised = first.advised.depth
    depths = tuple(probe.depth for probe in first.probes if probe.depth not in ("pixels", "several"))
    features = depths if advised == "several" else advised
    strategy = ("probe_then_top" if similar else "probe_then_all") if large else "probe"
    if not anything:
        strategy, features = "probe", "top"
    return Advice(
        origin=splits.origin,
        image_size=splits.image_size,
        pictures=sum(per_class.values()),
        measured_pictures=measured_pictures,
        groups=groups,
        per_class=per_class,
        quadrant=f"{'large' if large else 'small'}/{'similar' if similar else 'different'}",
        measured=tuple(found),
        strategy=strategy,
        features=features,
        learnable=anything,
        why=(
            _of_size(per_class, groups, large=large),
            *_of_similarity(first, classes=classes, similar=similar, anything=anything),
            *_of_backbones(found),
            *(f"Look at this first: {note}." for note in splits.notes),
            _of_strategy(strategy, features, anything=anything),
        ),
        notes=splits.notes,
        seed=seed,
    )


def _of_size(per_class: dict[str, int], groups: int, *, large: bool) -> str:
    counts = sorted(per_class.values())
    total, middle = sum(counts), float(np.median(counts))
    spread = (
        f"{counts[0]} each" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}, {middle:g} in the middle"
    )
    text = (
        f"Size: {total:,} pictures to learn from in {len(counts)} classes ({spread}): "
        f"{'large' if large else 'small'}, since the line is at {LARGE} a class."
    )
    if groups < total:
        text += f" They show {groups:,} different things; pictures of one thing count for little more than one."
    if counts[0] < FEW:
        text += f" Below {FEW} a class every figure here is shaky: more pictures help more than any strategy."
    return text


def _of_similarity(first: Measured, *, classes: int, similar: bool, anything: bool) -> list[str]:
    top, best, pixels = first.top, first.best, first.pixels
    guess = 1 / classes
    if not anything:
        return [
            f"Similarity: nothing does better than guessing ({guess:.2f}). The best depth of frozen {first.backbone} "
            f"reaches {_figure(best)}, pixels alone {_figure(pixels)}; that is luck. No strategy will do better than "
            "chance on these labels: check that they are right, and that a person sees the difference at this size."
        ]
    share = way(top.balanced_accuracy, classes=classes)
    lines = [
        f"Similarity: a linear probe on the last features of frozen {first.backbone} reaches {_figure(top)} balanced "
        f"accuracy on pictures it has not seen, {share:.0%} of the way from guessing ({guess:.2f}) to perfect; pixels "
        f"alone (colours and a thumbnail) reach {_figure(pixels)}."
    ]
    if best.depth == "top":
        lines.append("No depth below does better, as where the pictures are like the source's.")
    else:
        where = "several depths together" if best.depth == "several" else best.depth
        lines.append(f"The best features are those of {where}: {_figure(best)}.")
    lines.append(
        f"So the pictures are {'similar to' if similar else 'different from'} what {first.backbone} was trained on."
    )
    return lines


def _of_backbones(found: Sequence[Measured]) -> list[str]:
    if len(found) == 1:
        return []
    listed = ", ".join(f"{one.backbone} {_figure(one.best)}" for one in found)
    overlap = found[1].best.interval[1] > found[0].best.balanced_accuracy
    return [f"Backbones, best first: {listed}{'; the first two are too close to call' if overlap else ''}."]


def _of_strategy(strategy: str, features: str | tuple[str, ...], *, anything: bool) -> str:
    if not anything:
        return "Strategy: the cheapest, a linear probe, to be judged again when the labels are sure."
    where = "several depths" if isinstance(features, tuple) else "the top" if features == "top" else features
    first = f"Strategy: a linear probe on frozen features of {where}"
    texts = {
        "probe": f"{first} and no more: too few pictures to move the network without harm.",
        "probe_then_top": f"{first}, then fine-tune the last blocks from there; the earlier ones serve as they are.",
        "probe_then_all": f"{first}, then fine-tune the whole network from there, early blocks least: there are "
        "pictures enough to change what does not fit.",
    }
    return texts[strategy]


def _figure(probe: Probe) -> str:
    return f"{probe.balanced_accuracy:.2f} ({probe.interval[0]:.2f} to {probe.interval[1]:.2f})"
