"""The rungs, each a recipe: what trains on it, from a linear classifier to the whole network and other backbones."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from kt import backbones, freeze
from kt.backbones.build import known_name
from kt.backbones.catalogue import CATALOGUE
from kt.backbones.fetch import locate, offline
from kt.recipe import ALL, TOP, LinearProbe, Phase, Recipe, Step
from kt.schedules import LayerwiseDecay


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
    """A linear classifier on frozen features of one depth or of all."""
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
    if isinstance(step, LinearProbe) and step.features not in (TOP, ALL):
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
