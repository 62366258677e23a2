"""Whether training was worth it, in words that validation bears: the last phase, and the whole against a probe."""

from collections.abc import Mapping, Sequence
from typing import Any

from kt.report import numbers

WORTHWHILE = 0.01
"""The share of the loss that a phase has to take away: a surely smaller loss may still be as good as the same."""

WORTHWHILE = 0.01
"""The share of the loss that a phase has to take away: a surely smaller loss may still be as good as the same."""

FAR = 0.05
"""So many points, as a share, that a trained model is behind its own probe are worth a warning."""


def last_phase(
    phases: Sequence[Mapping[str, Any]], best: Mapping[str, Any]
) -> tuple[bool | None, str, str] | None:  # fmt: skip
    """Whether the last phase was worth it, as a yes, a no, or neither; a headline; and the figures behind it.

    phases, best: as in `report.json`. None where there is one phase only, or none was kept.
    """
    ran = [phase for phase in phases if numbers.known(phase.get("best_val_loss"))]
    kept = best.get("phase")
    if len(ran) < 2 or kept not in [phase["name"] for phase in ran]:
        return None
    last, gain = ran[-1], ran[-1].get("gain")
    losses = ", ".join(f"{phase['name']} {phase['best_val_loss']:.4f}" for phase in ran)
    where = f"The weights of {kept}, epoch {numbers.number(best.get('epoch'))}, were kept."
    if kept != last["name"]:
        return False, f"{last['name']} did not help", f"Best validation loss: {losses}. {where}"
    if not gain:
        return None, f"{kept} was kept", f"Best validation loss: {losses}. {where} Nothing tells whether it is chance."
    low, high = gain["interval"]
    matters = abs(gain["log_loss"]) >= WORTHWHILE * gain["before"]
    worth = True if low > 0 and matters else False if high < 0 and matters else None
    headlines = {True: f"{kept} helped", False: f"{kept} did not help", None: f"{kept}: no difference that shows"}
    return (
        worth,
        headlines[worth],
        f"Log loss on validation against before: {numbers.change(-gain['log_loss'])} ({numbers.change(-high)} to "
        f"{numbers.change(-low)}), picture by picture on {_pictures(gain)}, with room for the best of "
        f"{_epochs(last)}. Best validation loss: {losses}. {where}",
    )


def _epochs(phase: Mapping[str, Any]) -> str:
    number = int(phase.get("epochs_run") or 1)
    return f"{number} epoch{'s' if number != 1 else ''}"


def _pictures(gain: Mapping[str, Any]) -> str:
    images, things = gain["images"], gain["things"]
    return f"{numbers.count(images)} pictures" + (f" of {numbers.count(things)} things" if things != images else "")


def below_its_probe(validation: Mapping[str, Any] | None, scarce: Mapping[str, Any]) -> list[str]:
    """A warning where the trained model is far behind a linear probe on the backbone as it was before training.

    validation: the model's figures there. scarce: the probe's, which was cross-validated on other pictures; so the two
    intervals must not touch, which errs on the side of silence.
    """
    found = _probe(scarce)
    if found is None or not validation:
        return []
    accuracy, interval = validation["balanced_accuracy"], (validation.get("intervals") or {}).get("balanced_accuracy")
    probe, low = found
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
