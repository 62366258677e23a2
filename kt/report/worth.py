"""Whether training the whole model was worth it, compared with a linear probe on its own backbone."""

from collections.abc import Mapping
from typing import Any

from kt.base import numbers

FAR = 0.05
"""The share by which a trained model must be behind its own probe for a warning."""


def below_its_probe(validation: Mapping[str, Any] | None, scarce: Mapping[str, Any]) -> list[str]:
    """A warning if the trained model is far behind a linear probe on the backbone as it was before training.

    validation: the model's figures on validation. scarce: the probe's figures, cross-validated on other pictures. So
    the two intervals must not overlap, which is conservative: it warns rather too seldom.
    """
    of_probe = _probe(scarce)
    if of_probe is None or not validation:
        return []
    accuracy, interval = validation["balanced_accuracy"], (validation.get("intervals") or {}).get("balanced_accuracy")
    probe, low = of_probe
    if not interval or interval[1] >= low or accuracy > probe - FAR:
        return []
    return [
        f"the trained model is far below a linear probe on the same backbone: balanced accuracy {accuracy:.3f} "
        f"({numbers.interval(interval)}) on validation, the probe {probe:.3f} cross-validated on train; training has "
        "lost what the backbone knew, or never found it: take a LinearProbe phase first, or a lower lr"
    ]


def _probe(scarce: Mapping[str, Any]) -> tuple[float, float] | None:
    """The probe's balanced accuracy and the lower end of its interval: cross-validated, or the curve's last point."""
    crossed, curve = scarce.get("cross_validation"), scarce.get("learning_curve")
    if crossed:
        return crossed["balanced_accuracy"], crossed["intervals"]["balanced_accuracy"][0]
    return (curve[-1]["balanced_accuracy"], curve[-1]["low"]) if curve else None
