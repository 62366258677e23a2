"""How much better one backbone is than another on the same pictures, and whether that is enough to take it."""

from dataclasses import asdict, dataclass
from typing import Any

STRICT = 0.5
"""How many of its standard errors the gain in log loss must be above 0 (benchmarks/README.md#backbones)."""


LEAST = 200
"""The fewest pictures on which a backbone is chosen: on 60 or 120, chance decides (benchmarks/README.md#backbones)."""

_ROUNDING = 1e-9


@dataclass(frozen=True)
class BackboneGain:
    """How much better a backbone's probe is than that of another backbone on the same pictures, cross-validated.

    over: the other backbone. pictures: how many there are. balanced_accuracy: by how much it is higher. log_loss: by
    how much it is lower, in nats; error: the standard error of that. interval, log_loss_interval: the middle 95% of
    paired resamples of whole groups.
    """

    over: str
    pictures: int
    balanced_accuracy: float
    interval: tuple[float, float]
    log_loss: float
    log_loss_interval: tuple[float, float]
    error: float

    @property
    def better(self) -> bool:
        """Whether the log loss is lower by `STRICT` standard errors and the accuracy is not lower."""
        return self.log_loss > STRICT * self.error and self.balanced_accuracy >= -_ROUNDING

    @property
    def enough(self) -> bool:
        """Whether the backbone is taken: it is better, on `LEAST` pictures or more."""
        return self.better and self.pictures >= LEAST

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        lists = {"interval": list(self.interval), "log_loss_interval": list(self.log_loss_interval)}
        return {**asdict(self), **lists}
