"""The temperature of a trained model: fitted on validation, and put into the weights of its last layer."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from kt.base.console import say
from kt.data.splits import Splits
from kt.graph import nodes
from kt.heads.classification.calibrate import at_temperature, fitted_temperature
from kt.recipe import Recipe
from kt.training.results import Best, PhaseResult


@dataclass(frozen=True)
class Calibrated:
    """What was done to a model's scores.

    temperature: what the logits were divided by; 1 for no change. examples, groups: of validation, on which it was
    fitted. reason: why nothing was fitted; empty where it was.
    """

    temperature: float = 1.0
    examples: int = 0
    groups: int = 0
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain data under the keys of `calibration` in report.json."""
        return {**asdict(self), "fitted_on": None if self.reason else "validation"}


def calibrate(
    model: Any, recipe: Recipe, splits: Splits, *, best: Best, phases: Sequence[PhaseResult]
) -> Calibrated:  # fmt: skip
    """Fit one temperature on validation, and divide the weights of the model's last layer by it.

    So every export has it, without a further operation, and each example's top class stays the same. best: gets the
    scores of the changed model. Nothing is changed where the head has `calibrated=False` or no `Dense` layer with a
    softmax at its end, where validation does not judge the weights, or where they are a linear probe's whose C was
    chosen by cross-validated log loss. That choice has calibrated it already, on more examples than validation has, and
    a temperature made it worse (benchmarks/README.md, Calibration).
    """
    layer, scores, part = softmax_layer(model), best.scores, splits.validation
    reason = _why_not(layer, recipe, best=best, phases=phases)
    if reason or layer is None or scores is None:
        return Calibrated(reason=reason)
    temperature = fitted_temperature(scores, part.labels, part.groups)
    if temperature != 1:
        layer.set_weights([np.asarray(each, np.float32) / np.float32(temperature) for each in layer.get_weights()])
        best.scores = at_temperature(scores, temperature).astype(np.float32)
        say(f"temperature {temperature:.2f}, by {len(part):,} validation {splits.kind.many}: scores are less sure")
    return Calibrated(temperature, len(part), len(set(part.groups)))


def softmax_layer(model: Any) -> Any | None:
    """The model's last operation, if it is a `Dense` layer with a softmax; else None."""
    last = nodes(model.inputs, model.outputs)[-1].operation
    fits = isinstance(last, keras.layers.Dense) and last.activation is keras.activations.softmax
    return last if fits else None


def _why_not(layer: Any | None, recipe: Recipe, *, best: Best, phases: Sequence[PhaseResult]) -> str:
    """Why no temperature is fitted, as the end of a sentence; empty if one is."""
    if not getattr(recipe.head, "calibrated", True):
        return "the recipe's head has calibrated=False"
    if layer is None:
        return "the head does not end in a Dense layer with a softmax"
    if best.scores is None:
        return "the training step kept no scores of validation"
    kept = [phase for phase in phases if phase.name == best.phase]
    if any(phase.adapted_to for phase in kept):
        return "the model is fitted to another domain than that of validation"
    if any(phase.probe and phase.probe["path"] for phase in kept):
        return "cross-validation has chosen the linear probe's C by log loss, which calibrates it already"
    return ""
