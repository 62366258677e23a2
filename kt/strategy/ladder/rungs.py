"""The rungs of the ladder, each a recipe: from a linear classifier to the whole network and other backbones."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from kt import backbones, freeze
from kt.backbones.build import known_name
from kt.backbones.catalogue import CATALOGUE
from kt.backbones.fetch import locate
from kt.base.environment import offline
from kt.parts.schedules import LayerwiseDecay
from kt.recipe import ALL, TOP, LinearProbe, Phase, Recipe, Step


@dataclass(frozen=True)
class Rung:
    """One way to transfer.

    share: how much of the backbone trains, from 0 to 1; it serves to estimate the rung's time. elsewhere: whether it
    has another backbone than the recipe's.
    """

    name: str
    recipe: Recipe
    share: float = 0.0
    elsewhere: bool = False


def probe_rung(recipe: Recipe, features: str) -> Rung:
    """The rung of a linear classifier on frozen features of one depth or of all."""
    return Rung("probe", dataclasses.replace(recipe, phases=[LinearProbe(features=features, name="probe")]))


def head_alone(recipe: Recipe) -> Rung:
    """The rung of a head that is no linear classifier: it trains on frozen features by gradient steps."""
    step = Phase("train_head", trainable=freeze.frozen, epochs=10, lr=1e-3, patience=3)
    return Rung("train_head", dataclasses.replace(recipe, phases=[step]))


def deeper(recipe: Recipe, phase: Phase, blocks: Sequence[str]) -> list[Rung]:
    """Rungs that train an eighth of the blocks, a third, and the whole network with rates by depth.

    recipe: that of the probe. phase: the phase whose rate and epochs they take. blocks: the blocks before the head's
    features; none if they are unknown.
    """
    rungs: list[Rung] = []
    for name, part in (("top_blocks", 1 / 8), ("more_blocks", 1 / 3)):
        count = max(1, round(len(blocks) * part))
        share = count / max(len(blocks), 1)
        if share < 1 and share > (rungs[-1].share if rungs else 0):
            step = dataclasses.replace(phase, name=name, trainable=freeze.from_block(blocks[-count]))
            rungs.append(Rung(name, dataclasses.replace(recipe, phases=[step]), share))
    return [*rungs, whole_network(recipe, phase, by_depth=bool(blocks))]


def whole_network(recipe: Recipe, phase: Phase, *, by_depth: bool) -> Rung:
    """The rung that trains all blocks. by_depth: each at a lower rate than the next, which needs known blocks."""
    rates = phase.layer_rates or (LayerwiseDecay() if by_depth else None)
    step = dataclasses.replace(phase, name="whole_network", trainable=freeze.everything, layer_rates=rates)
    return Rung("whole_network", dataclasses.replace(recipe, phases=[step]), 1.0)


def on_another(first: Rung, won: Rung, name: str, constructor: Callable[..., Any]) -> Rung:
    """The first rung on another backbone, at its top; then the share of blocks that the best rung so far trains."""
    steps = [_everywhere(step) for step in first.recipe.phases]
    last = won.recipe.phases[-1]
    if won.share and isinstance(last, Phase):
        steps.append(dataclasses.replace(last, name="fine_tune", trainable=freeze.top_share(won.share)))
    return Rung(name, dataclasses.replace(first.recipe, backbone=constructor, phases=steps), won.share, elsewhere=True)


def _everywhere(step: Step) -> Step:
    """The step for any backbone: block names differ between backbones, so a probe takes the top."""
    if isinstance(step, LinearProbe) and step.features not in (TOP, ALL):
        return dataclasses.replace(step, features=TOP)
    return step


def other_backbones(recipe: Recipe) -> list[tuple[str, Callable[..., Any]]]:
    """The catalogue's other backbones, those with local weights first; none unless the recipe's are ImageNet's.

    With KT_OFFLINE only those with local weights.
    """
    own = known_name(recipe.backbone)
    if recipe.weights != "imagenet" or own is None:
        return []
    libraries = {"keras.applications": keras.applications, "kt.backbones": backbones}
    at_hand = [entry for entry in CATALOGUE if locate(entry)]
    others = [] if offline() else [entry for entry in CATALOGUE if entry not in at_hand]
    return [
        (entry.constructor, getattr(libraries[entry.library], entry.constructor))
        for entry in [*at_hand, *others]
        if entry.constructor != own
    ]
