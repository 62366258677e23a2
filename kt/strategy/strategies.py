"""The ways to transfer, as recipes made of one's own recipe: what trains, for how long, how fast.

Data, picture size, batch size, backbone, head, augmentation, class weights and exports stay as they are. Each trains
for the same number of epochs in total; each has a rate that suits it, for no single one suits all.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from kt.errors import RecipeError
from kt.freeze import blocks, everything, everything_with_batch_norm, frozen, last_blocks
from kt.graph import leaves
from kt.recipe import ALL, LinearProbe, Phase, Recipe, Step, epochs_of
from kt.schedules import Cosine, LayerwiseDecay

TITLES = {
    "scratch": "from scratch",
    "frozen": "frozen features",
    "probe": "linear probe",
    "probe_all": "linear probe, all depths",
    "fine_tune_top": "fine-tune top",
    "fine_tune_all": "fine-tune all",
    "layer_wise": "layer-wise rates",
}
"""Each strategy's name with its words for a person, from what transfers nothing to what adapts all."""

EPOCHS = 10

HEAD_LR = 1e-3
FINE_TUNE_LR = 1e-4
LAYER_WISE_LR = 3e-4  # at the head; the mean over MobileNetV2's blocks is a quarter of it
SCRATCH_LR = 1e-3

MOMENTUM = 0.9
"""Of BatchNorm's moving statistics where a network learns from nothing.

Keras's applications have up to 0.999, made for ImageNet's hundreds of thousands of steps: after 300 steps three
quarters of the statistics would still be those of the first step, and the network, however good, would answer nonsense.
"""


def strategies(recipe: Recipe, *, epochs: int | None = None, scratch_epochs: int | None = None) -> dict[str, Recipe]:
    """Each strategy of `TITLES` by its name.

    epochs: of each strategy in total; those of the recipe's phases unless given, 10 where it has a linear probe alone.
    scratch_epochs: of `scratch` alone, which may need more than those that begin with knowledge. Optimisers, schedules
    and patience of the recipe's own phases are left out: what each may do is to be equal.

    Raises RecipeError where there are fewer than 2 epochs, one for the head and one for the backbone.
    """
    total = (epochs_of(recipe) or EPOCHS) if epochs is None else epochs
    if total < 2:
        raise RecipeError(f"Strategies need at least 2 epochs, one for the head and one for the rest, not {total}.")
    head = Phase("train_head", trainable=frozen, epochs=total // 2, lr=HEAD_LR)
    rest = total - head.epochs
    whole = _annealed("fine_tune", everything, epochs=rest, lr=FINE_TUNE_LR)
    phases: dict[str, Sequence[Step]] = {
        "scratch": [_annealed("train_all", from_scratch, epochs=scratch_epochs or total, lr=SCRATCH_LR)],
        "frozen": [dataclasses.replace(head, epochs=total)],
        "probe": [LinearProbe()],
        "probe_all": [LinearProbe(features=ALL)],
        "fine_tune_top": [head, _annealed("fine_tune", top_quarter, epochs=rest, lr=FINE_TUNE_LR)],
        "fine_tune_all": [head, whole],
        "layer_wise": [head, dataclasses.replace(whole, lr=LAYER_WISE_LR, layer_rates=LayerwiseDecay())],
    }
    return {
        name: dataclasses.replace(recipe, phases=steps, weights="none" if name == "scratch" else recipe.weights)
        for name, steps in phases.items()
    }


def _annealed(name: str, trainable: Any, *, epochs: int, lr: float) -> Phase:
    return Phase(name, trainable=trainable, epochs=epochs, lr=lr, schedule=Cosine())


def from_scratch(backbone: Any) -> None:
    """The whole backbone trains, and BatchNorm's statistics follow within dozens of steps, not thousands."""
    everything_with_batch_norm(backbone)
    for leaf in leaves(backbone):
        if hasattr(leaf, "moving_mean"):
            leaf.momentum = min(leaf.momentum, MOMENTUM)


def top_quarter(backbone: Any) -> None:
    """The last quarter of the backbone's blocks trains, at least one; BatchNorm keeps its statistics."""
    last_blocks(math.ceil(len(blocks(backbone)) / 4))(backbone)
