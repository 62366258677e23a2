"""`kt run --target, --budget`: from the cheapest way to transfer to the dearest, until one of them is good enough.

Each rung is a recipe, starts from the best weights so far, and is judged on validation alone.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt import backbones, freeze, report
from kt.augment import Views
from kt.backbones.build import known_name
from kt.backbones.catalogue import CATALOGUE
from kt.backbones.fetch import locate, offline
from kt.console import say, warn
from kt.data.splits import Splits
from kt.errors import DataError, RecipeError, TrainingError, WeightsError
from kt.features.engine import Engine
from kt.goal import Goal
from kt.heads import Classifier
from kt.linear import cross_validated, fit
from kt.model import Built, predict
from kt.probe import scores_layer
from kt.recipe import LinearProbe, Phase, Recipe, Step
from kt.report.numbers import duration
from kt.run import Trained
from kt.scarcity import scarcity
from kt.schedules import LayerwiseDecay
from kt.strategy.validation import (
    Standing,
    blocks_of,
    check_validation,
    closing,
    fine_tuning,
    judged,
    new_model,
    standing,
    told_goal,
)
from kt.train import Best, PhaseResult, train

TOP = "top"
"""What a probe calls the features of the whole backbone."""

DEPTHS = 5
"""At so many depths, evenly spread, features are probed."""

PATIENCE = 2
"""After so many rungs in a row without a gain there will be none."""

BACKWARD = 3.0
"""A training step takes so many times a forward pass, until one was timed."""


# -------------------------------------------------------------------------------------------------------- the rungs


@dataclass(frozen=True)
class Rung:
    """One way to transfer.

    share: how much of the backbone trains, from 0 to 1, for the estimate of its time. elsewhere: whether it is on
    another backbone than the recipe's.
    """

    name: str
    recipe: Recipe
    share: float = 0.0
    elsewhere: bool = False


def probe(recipe: Recipe, features: str) -> Rung:
    """A linear classifier on frozen features of one depth."""
    return Rung("probe", dataclasses.replace(recipe, phases=[LinearProbe(features=features, name="probe")]))


def head_alone(recipe: Recipe) -> Rung:
    """The head on frozen features by gradient steps: for one that is no linear classifier."""
    step = Phase("train_head", trainable=freeze.frozen, epochs=10, lr=1e-3, patience=3)
    return Rung("train_head", dataclasses.replace(recipe, phases=[step]))


def deeper(recipe: Recipe, phase: Phase, blocks: Sequence[str]) -> list[Rung]:
    """More and more of the backbone trains: an eighth of the blocks, a third, the whole network layer by layer.

    recipe: that of the probe. phase: how fast and how long. blocks: those that the head's features come through; none
    where they are unknown.
    """
    found: list[Rung] = []
    for name, part in (("top_blocks", 1 / 8), ("more_blocks", 1 / 3)):
        count = max(1, round(len(blocks) * part))
        share = count / max(len(blocks), 1)
        if share < 1 and share > (found[-1].share if found else 0):
            step = dataclasses.replace(phase, name=name, trainable=freeze.from_block(blocks[-count]))
            found.append(Rung(name, dataclasses.replace(recipe, phases=[step]), share))
    return [*found, whole_network(recipe, phase, by_depth=bool(blocks))]


def whole_network(recipe: Recipe, phase: Phase, *, by_depth: bool) -> Rung:
    """All blocks train. by_depth: each at a lower rate than the next, which takes a backbone whose blocks are known."""
    rates = phase.layer_rates or (LayerwiseDecay() if by_depth else None)
    step = dataclasses.replace(phase, name="whole_network", trainable=freeze.everything, layer_rates=rates)
    return Rung("whole_network", dataclasses.replace(recipe, phases=[step]), 1.0)


def on_another(first: Rung, won: Rung, name: str, constructor: Callable[..., Any]) -> Rung:
    """The first rung on another backbone, at its top, and as large a share of its blocks as in what won so far."""
    steps = [_everywhere(step) for step in first.recipe.phases]
    last = won.recipe.phases[-1]
    if won.share and isinstance(last, Phase):
        steps.append(dataclasses.replace(last, name="fine_tune", trainable=top_share(won.share)))
    return Rung(name, dataclasses.replace(first.recipe, backbone=constructor, phases=steps), won.share, elsewhere=True)


def _everywhere(step: Step) -> Step:
    """The same step for any backbone: blocks of one have other names in the next."""
    if isinstance(step, LinearProbe) and step.features not in (TOP, "all"):
        return dataclasses.replace(step, features=TOP)
    return step


def top_share(share: float) -> Callable[[Any], None]:
    """A function that trains the last blocks of a backbone, as many as the share says, at least one."""

    def trainable(backbone: Any) -> None:
        freeze.last_blocks(max(1, round(share * len(freeze.blocks(backbone)))))(backbone)

    trainable.__qualname__ = f"top_share({share:.2f})"
    return trainable


def other_backbones(recipe: Recipe) -> list[tuple[str, Callable[..., Any]]]:
    """The catalogue's other backbones, those whose weights are at hand first; none unless the weights are ImageNet's.

    With KT_OFFLINE only those at hand.
    """
    own = known_name(recipe.backbone)
    if recipe.weights != "imagenet" or own is None:
        return []
    rooms = {"keras.applications": keras.applications, "kt.backbones": backbones}
    at_hand = [entry for entry in CATALOGUE if locate(entry)]
    others = [] if offline() else [entry for entry in CATALOGUE if entry not in at_hand]
    return [
        (entry.constructor, getattr(rooms[entry.library], entry.constructor))
        for entry in [*at_hand, *others]
        if entry.constructor != own
    ]


def is_linear(built: Built) -> bool:
    """Whether the head is one that a probe's weights can go into."""
    try:
        scores_layer(built)
    except RecipeError:
        return False
    return True


def compute_at_once(rungs: Sequence[Rung], built: Built, splits: Splits) -> None:
    """Store what stays frozen in any of the rungs in one pass over the pictures, so that each finds its own."""
    steps = [step for rung in rungs for step in rung.recipe.phases]
    steps[0].trainable(built.backbone)
    Engine(built, dataclasses.replace(rungs[0].recipe, phases=steps), splits).work(0)


# -------------------------------------------------------------------------------------------------- the best depth


@dataclass(frozen=True)
class Depth:
    """How well a linear classifier does on the features of one depth: its log loss, cross-validated on train."""

    features: str
    log_loss: float


AT_TOP = Depth(TOP, float("nan"))
"""Where there is nothing to choose between."""


def choose_depth(recipe: Recipe, splits: Splits, built: Built) -> list[Depth]:
    """The depths that were probed, the chosen one first; the top alone where the backbone's blocks are unknown.

    built: the model with its head at the top. That is chosen, unless another depth is better by more than one standard
    error of the difference, picture by picture.
    """
    names = blocks_of(built)[:-1]
    if not names:
        return [AT_TOP]
    places = np.linspace(len(names) / 3, len(names) - 1, DEPTHS - 1).round().astype(int)
    rows = _features_at([*(names[i] for i in dict.fromkeys(places.tolist())), TOP], recipe, splits)
    depths = [Depth(name, _log_loss(found, recipe, splits)) for name, found in rows.items()]
    top, best = depths[-1], min(reversed(depths), key=lambda depth: depth.log_loss)
    if best is not top and np.isfinite(top.log_loss):
        gain = _losses(rows[TOP], recipe, splits) - _losses(rows[best.features], recipe, splits)
        if gain.mean() <= gain.std() / len(gain) ** 0.5:
            best = top
    return [best, *(depth for depth in depths if depth is not best)]


def _log_loss(features: npt.NDArray[np.float32], recipe: Recipe, splits: Splits) -> float:
    """Cross-validated on train, at the best C; infinite where the features tell nothing apart."""
    train, balanced = splits.train, recipe.class_weight == "balanced"
    try:
        linear = fit(features, train.labels, classes=len(splits.classes), groups=train.groups, balanced=balanced,
                     seed=recipe.seed)  # fmt: skip
    except DataError:
        return float("inf")
    return min((tried[-1] for tried in linear.path), default=float("inf"))


def _losses(features: npt.NDArray[np.float32], recipe: Recipe, splits: Splits) -> npt.NDArray[np.float64]:
    """The cross-validated log loss of each training picture, `[N]`, C chosen inside each fold."""
    train, balanced = splits.train, recipe.class_weight == "balanced"
    scores = cross_validated(features, train.labels, classes=len(splits.classes), groups=train.groups,
                             balanced=balanced, seed=recipe.seed)  # fmt: skip
    return -np.log(np.maximum(scores[np.arange(len(train)), train.labels], 1e-7))


def _features_at(names: Sequence[str], recipe: Recipe, splits: Splits) -> dict[str, npt.NDArray[np.float32]]:
    """The pooled frozen features of the training pictures at each depth, `[N, D]`, all in one pass."""
    phase = LinearProbe(features=list(names), name="depths")
    probing = dataclasses.replace(recipe, phases=[phase], augment=None)
    built = new_model(probing, splits)
    phase.trainable(built.backbone)
    rows = Engine(built, probing, splits).work(0).train[np.arange(len(splits.train))]
    ends = np.cumsum([width for _, width in built.taps])
    parts = np.split(rows, ends[:-1], axis=1)
    return {name: part for (name, _), part in zip(built.taps, parts, strict=True)}


def first_rung(recipe: Recipe, splits: Splits, built: Built) -> tuple[Rung, list[Depth]]:
    """The cheapest way, and the depths that were probed for it: none where the recipe itself says how to probe.

    built: the model with its head at the top.
    """
    for step in recipe.phases:
        if isinstance(step, LinearProbe):
            return Rung("probe", dataclasses.replace(recipe, phases=[dataclasses.replace(step, name="probe")])), []
    if not is_linear(built):
        return head_alone(recipe), []
    depths = choose_depth(recipe, splits, built) if isinstance(recipe.head, Classifier) else [AT_TOP]
    return probe(recipe, depths[0].features), depths


# -------------------------------------------------------------------------------------------------------- the climb


@dataclass(frozen=True)
class _Climbed:
    """A rung that was tried: how it stands, and the weights that it left.

    recipe, phases: with the phases of the rungs that it began from, too.
    """

    rung: Rung
    standing: Standing
    built: Built
    weights: list[npt.NDArray[Any]]
    recipe: Recipe
    phases: tuple[PhaseResult, ...]
    best: Best


@dataclass
class _Climb:
    """What a climb has found so far.

    own: the model of the first rungs, on the recipe's backbone. forward: seconds a picture. pace: how far off the last
    estimate was.
    """

    goal: Goal
    own: Built
    splits: Splits
    logs: Path
    cached: bool
    started: float
    rows: list[dict[str, Any]] = field(default_factory=list)
    won: _Climbed | None = None
    forward: float = 0.0
    pace: float = 1.0
    without_gain: int = 0
    ended: str = "no rung was left"

    def go(self, rungs: Sequence[Rung]) -> None:
        """Try rungs in turn, and give the reason for each that is not tried."""
        self.without_gain = 0
        for rung in rungs:
            reason = self._why_not(rung)
            if reason:
                say(f"rung {rung.name}: {reason}")
                self._add(rung, seconds=0.0, verdict=reason)
            else:
                self._try(rung)

    def _why_not(self, rung: Rung) -> str | None:
        if self.won is None:
            return None
        if self.goal.reached(self.won.standing.interval):
            self.ended = "the target was reached"
            return "not needed: the target was reached before"
        if self.without_gain >= PATIENCE:
            self.ended = "gains had ended"
            return f"not begun: {PATIENCE} rungs in a row had brought nothing"
        left, wanted = self._left(), self._estimate(rung)
        if wanted > left:
            self.ended = "the budget was spent"
            return f"not begun: it would take about {duration(wanted)}, and {duration(max(left, 0.0))} was left"
        return None

    def _left(self) -> float:
        return (self.goal.seconds or float("inf")) - (time.perf_counter() - self.started)

    def _estimate(self, rung: Rung) -> float:
        """Seconds that a rung will take: by the forward passes it costs, and by how the last one's estimate held."""
        train, validation = len(self.splits.train), len(self.splits.validation)
        views = rung.recipe.augment.views if isinstance(rung.recipe.augment, Views) else 1
        passes = float(train * views + validation) if rung.elsewhere else 0.0  # of what stays frozen
        for phase in rung.recipe.phases:
            if isinstance(phase, Phase):
                passes += phase.epochs * rung.share * (BACKWARD * train + validation)
        return passes * self.forward * self.pace

    def _try(self, rung: Rung) -> None:
        started, estimate = time.perf_counter() if self.won else self.started, self._estimate(rung)
        say(f"rung {rung.name}")
        try:
            climbed = self._climb(rung)
        except (WeightsError, RecipeError, TrainingError) as error:
            if self.won is None:  # what is wrong with the first is wrong with the recipe
                raise
            warn(f"rung {rung.name}: {error}")
            self._add(rung, seconds=time.perf_counter() - started, verdict=f"failed: {error}")
            self.without_gain += 1
            return
        seconds = time.perf_counter() - started
        if rung.share:
            self.pace *= seconds / max(estimate, 1e-9)
        gained = self.won is None or self.goal.better(climbed.standing.figure, self.won.standing.figure)
        say(f"rung {rung.name}: {self.goal.metric} {climbed.standing} on validation, {duration(seconds)}")
        self._add(rung, seconds=seconds, standing=climbed.standing)
        self.without_gain = 0 if gained else self.without_gain + 1
        if gained:
            self.won = climbed

    def _climb(self, rung: Rung) -> _Climbed:
        recipe, base = rung.recipe, None if rung.elsewhere else self.won
        built = new_model(recipe, self.splits) if rung.elsewhere else self.own
        if rung.elsewhere or base is None:
            say(report.weights_line(built.pretrained.source))
        if base:
            built.model.set_weights(base.weights)
        phases, best = train(built, recipe, self.splits, logs=self.logs / rung.name, cached=self.cached)
        if not self.forward:
            predict(built.model, self.splits.validation.pixels[:1])  # not to time how the function is made
            started = time.perf_counter()
            predict(built.model, self.splits.validation.pixels)
            self.forward = (time.perf_counter() - started) / len(self.splits.validation)
        return _Climbed(
            rung=rung,
            standing=standing(built, self.splits, self.goal, seed=recipe.seed),
            built=built,
            weights=built.model.get_weights(),
            recipe=dataclasses.replace(recipe, phases=[*(base.recipe.phases if base else ()), *recipe.phases]),
            phases=(*(base.phases if base else ()), *phases),
            best=best,
        )

    def _add(self, rung: Rung, *, seconds: float, standing: Standing | None = None, verdict: str = "") -> None:
        self.rows.append(
            {
                "name": rung.name,
                "backbone": known_name(rung.recipe.backbone) or "the recipe's own",
                "figure": standing.figure if standing else None,
                "interval": list(standing.interval) if standing else None,
                "seconds": round(seconds, 1),
                "verdict": verdict,
                "won": False,
            }
        )


@dataclass(frozen=True)
class Ladder:
    """The training step that climbs until the goal is reached, gains end, or the time is spent."""

    goal: Goal

    def __call__(self, recipe: Recipe, splits: Splits, *, logs: Path, cached: bool) -> Trained:
        """Climb, and give the best rung's model. Raises DataError where validation can't judge."""
        notes, started = check_validation(splits), time.perf_counter()
        plain = new_model(head_alone(recipe).recipe, splits)
        first, depths = first_rung(recipe, splits, plain)
        own = new_model(first.recipe, splits)
        scarce = scarcity(own, first.recipe, splits, cached=cached)
        rungs = [first, *deeper(first.recipe, fine_tuning(recipe, plain), blocks_of(own))]
        if cached:
            compute_at_once(rungs, own, splits)
        climb = _Climb(self.goal, own, splits, logs, cached, started)
        climb.go(rungs[:1])
        assert climb.won is not None
        climb.go(rungs[1:])
        climb.go([on_another(first, climb.won.rung, name, made) for name, made in other_backbones(recipe)])
        won = climb.won
        won.built.model.set_weights(won.weights)
        told = {
            "goal": told_goal(self.goal, won.standing, climb.ended),
            "depths": [dataclasses.asdict(depth) for depth in depths],
            "ladder": judged(climb.rows, won.rung.name, self.goal),
            "notes": [closing(self.goal, won.rung.name, won.standing, climb.ended), *notes],
        }
        return Trained(won.recipe, won.built, won.phases, won.best, scarce, told)
