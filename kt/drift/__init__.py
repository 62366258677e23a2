"""Drift: whether new examples still come like those that a model was measured on, as the model itself sees them.

A model carries what it says of examples that it did not learn from, a `Reference`. `judge` compares what it says of new
ones with that. It works on arrays alone: features, scores, labels and groups.
"""

from kt.drift.judge import ALARM, DRIFT, HIGHEST, LOWEST, NONE, OF_EXAMPLES, OF_SHARES, TOO_FEW, UNTOLD, Drift, judge
from kt.drift.reference import MOST, Observed, Reference, drawn_from, numbered
from kt.drift.shares import ClassShares, Correction, estimate, why_untold

__all__ = [
    "ALARM", "DRIFT", "HIGHEST", "LOWEST", "MOST", "NONE", "OF_EXAMPLES", "OF_SHARES", "TOO_FEW", "UNTOLD",
    "ClassShares", "Correction", "Drift", "Observed", "Reference", "drawn_from", "estimate", "judge", "numbered",
    "why_untold",
]  # fmt: skip
