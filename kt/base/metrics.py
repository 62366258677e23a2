"""The figures that a classifier is judged by: their names, and which way is better. It loads nothing heavy."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Headline:
    """A figure of the whole model. words: its name in a sentence. higher_is_better: False if lower is better."""

    words: str
    higher_is_better: bool = True


HEADLINES: Mapping[str, Headline] = {
    "balanced_accuracy": Headline("balanced accuracy"),
    "accuracy": Headline("accuracy"),
    "roc_auc": Headline("ROC-AUC"),
    "log_loss": Headline("log loss", higher_is_better=False),
    "brier_score": Headline("Brier score", higher_is_better=False),
    "calibration_error": Headline("calibration error", higher_is_better=False),
}
"""The headlines of `kt.heads.classification.measure` by their keys in `report.json`, the most telling first."""

TARGETS = tuple(name for name in HEADLINES if name != "calibration_error")
"""Headlines that can be a target. Calibration error can't: a model that knows nothing can be well calibrated."""

CONFIDENCE = 0.95
"""The level of every interval."""
