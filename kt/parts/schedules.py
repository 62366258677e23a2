"""Learning rates that change over the steps, for `Phase.schedule`, and with depth, for `Phase.layer_rates`."""

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


@dataclass(frozen=True)
class LayerwiseDecay:
    """Each block trains at `decay` times the rate of the next one, and the head at the phase's `lr`.

    So the last block has `lr * decay`, the one before it `lr * decay ** 2`. (Discriminative fine-tuning: Howard and
    Ruder, Universal Language Model Fine-tuning for Text Classification, ACL 2018, with 1 / 2.6 a layer; the layer-wise
    decay of ELECTRA, Clark et al., ICLR 2020, and BEiT, Bao et al., ICLR 2022, counts from the head as this does.)
    decay: above 0, at most 1.
    """

    decay: float = 0.8

    def __post_init__(self) -> None:
        check_types(self)
        if not 0 < self.decay <= 1:
            raise RecipeError(f"LayerwiseDecay: decay is above 0 and at most 1, such as 0.8, not {self.decay}.")

    def __call__(self, block: int, blocks: int) -> float:
        """The factor of `lr` for a block: 0 is the stem, `blocks` the head."""
        return float(self.decay ** (blocks - block))


def constant(lr: float, steps: int) -> float:  # noqa: ARG001 - every schedule takes the steps
    """The schedule of a phase that names none: the same rate at every step."""
    return lr
