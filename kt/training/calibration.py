"""The temperature of a trained model: fitted on validation, and put into the weights of its last layer."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
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
    fitted. reason: why nothing was fitted; empty where it was. raised: by what the temperature was multiplied since the
    test examples look otherwise than the training examples; 1 for not.
    """

    temperature: float = 1.0
    examples: int = 0
    groups: int = 0
    reason: str = ""
    raised: float = 1.0

    def as_json(self) -> dict[str, Any]:
        """Plain data under the keys of `calibration` in report.json."""
        return {**asdict(self), "fitted_on": None if self.reason else "validation"}


UNLIKE = 1.25
"""What the temperature is multiplied by where the examples to be answered look otherwise than those learned from.

Models are too sure of such examples. More would pay where much differs, and cost where little does
(benchmarks/README.md, Likeness). Where nothing differs it changes nothing.
"""


def calibrate(
    model: Any, recipe: Recipe, splits: Splits, *, best: Best, phases: Sequence[PhaseResult], unlike: bool = False
) -> Calibrated:  # fmt: skip
    """Fit one temperature on validation, and divide the weights of the model's last layer by it.

    So every export has it, without a further operation, and each example's top class stays the same. best: gets the
    scores of the changed model. Nothing is changed where the head has `calibrated=False` or no `Dense` layer with a
    softmax at its end, where validation does not judge the weights, or where they are a linear probe's whose C was
    chosen by cross-validated log loss. That choice has calibrated it already, on more examples than validation has, and
    a temperature made it worse (benchmarks/README.md, Calibration). unlike: whether test looks quite otherwise than
    train; then the temperature is `UNLIKE` times as high, also if none was fitted.
    """
    layer, scores, part = softmax_layer(model), best.scores, splits.validation
    reason = _why_not(layer, recipe, best=best, phases=phases)
    if reason or scores is None:
        found = Calibrated(reason=reason)
    else:
        found = Calibrated(fitted_temperature(scores, part.labels, part.groups), len(part), len(set(part.groups)))
    if layer is None or not getattr(recipe.head, "calibrated", True):
        return found
    if unlike:
        found = replace(found, temperature=UNLIKE * found.temperature, raised=UNLIKE)
    if found.temperature != 1:
        by = np.float32(found.temperature)
        layer.set_weights([np.asarray(each, np.float32) / by for each in layer.get_weights()])
        best.scores = None if scores is None else at_temperature(scores, found.temperature).astype(np.float32)
        why = "the test looks otherwise" if unlike else f"by {len(part):,} validation {splits.kind.many}"
        say(f"temperature {found.temperature:.2f}, {why}: scores are less sure")
    return found


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
