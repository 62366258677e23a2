"""The strategies of transfer, as variants of a recipe: what trains, for how long, how fast.

Data, picture size, batch size, backbone, head, augmentation, class weights and exports are those of the recipe. All
strategies train for the same number of epochs in total. Each has its own rate, since no single rate suits all.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from kt.errors import RecipeError
from kt.freeze import everything, from_scratch, frozen, top_share
from kt.parts.schedules import Cosine, LayerwiseDecay
from kt.recipe import ALL, LinearProbe, Phase, Recipe, Step, epochs_of

TITLES = {
    "scratch": "from scratch",
    "frozen": "frozen features",
    "probe": "linear probe",
    "probe_all": "linear probe, all depths",
    "fine_tune_top": "fine-tune top",
    "fine_tune_all": "fine-tune all",
    "layer_wise": "layer-wise rates",
}
"""The title of each strategy by its name, from the one that transfers nothing to the one that adapts everything."""

EPOCHS = 10

HEAD_LR = 1e-3
FINE_TUNE_LR = 1e-4
LAYER_WISE_LR = 3e-4  # at the head; the mean over MobileNetV2's blocks is a quarter of it
SCRATCH_LR = 1e-3


def strategies(recipe: Recipe, *, epochs: int | None = None, scratch_epochs: int | None = None) -> dict[str, Recipe]:
    """Each strategy of `TITLES` by its name.

    epochs: of each strategy in total; by default those of the recipe's phases, or 10 if it has only a linear probe.
    scratch_epochs: of `scratch` alone, which may need more than strategies with pretrained weights. Optimisers,
    schedules and patience of the recipe's own phases are left out, so that the strategies are comparable.

    Raises RecipeError for fewer than 2 epochs, since the head and the backbone need one each.
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
        "fine_tune_top": [head, _annealed("fine_tune", top_share(0.25), epochs=rest, lr=FINE_TUNE_LR)],
        "fine_tune_all": [head, whole],
        "layer_wise": [head, dataclasses.replace(whole, lr=LAYER_WISE_LR, layer_rates=LayerwiseDecay())],
    }
    return {
        name: dataclasses.replace(recipe, phases=steps, weights="none" if name == "scratch" else recipe.weights)
        for name, steps in phases.items()
    }


def _annealed(name: str, trainable: Any, *, epochs: int, lr: float) -> Phase:
    return Phase(name, trainable=trainable, epochs=epochs, lr=lr, schedule=Cosine())
