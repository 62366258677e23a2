"""Learning-rate schedules for `Phase.schedule`: a function of the peak rate and the number of steps."""

from dataclasses import dataclass
from typing import Any

from kt.errors import RecipeError
from kt.recipe import check_types


@dataclass(frozen=True)
class Cosine:
    """Linear warm-up, then half a cosine down to `end` times the peak (Loshchilov and Hutter, SGDR, ICLR 2017).

    warmup: share of the steps, 0 to 1. end: share of the peak rate that is left at the last step, 0 to 1.
    """

    warmup: float = 0.1
    end: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        for name, value in (("warmup", self.warmup), ("end", self.end)):
            if not 0 <= value <= 1:
                raise RecipeError(f"Cosine: {name} is a share from 0 to 1, not {value}.")

    def __call__(self, lr: float, steps: int) -> Any:
        """The Keras schedule for `steps` training steps with the peak `lr`."""
        import keras

        warmup = round(self.warmup * steps)
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else lr,
            decay_steps=max(1, steps - warmup),
            alpha=self.end,
            warmup_target=lr if warmup else None,
            warmup_steps=warmup,
        )


def constant(lr: float, steps: int) -> float:  # noqa: ARG001 - every schedule takes the steps
    """The same rate at every step: what a phase without a schedule does."""
    return lr
