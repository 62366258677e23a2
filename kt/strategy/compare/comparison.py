"""What is compared, what has been trained so far, and which strategy that makes the best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from kt.data.splits import Splits
from kt.recipe import Recipe
from kt.run import Origin
from kt.strategy.compare.training import Trained

BASELINE = "scratch"
"""The strategy that the others are held against."""


@dataclass
class Comparison:
    """What is compared, and what has been trained so far."""

    named: Mapping[str, Recipe]
    titles: Mapping[str, str]
    splits: Splits
    seeds: Sequence[int]
    origin: Origin
    out: Path
    started: datetime
    trained: list[Trained] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    plan: Mapping[str, Any] | None = None

    def title(self, name: str) -> str:
        """A strategy's name for a person."""
        return self.titles.get(name, name)

    def by_size(self, name: str) -> dict[int, dict[int, Trained]]:
        """A strategy's models by their number of pictures, then by their seed, in the order of training."""
        found: dict[int, dict[int, Trained]] = {}
        for one in self.trained:
            if one.strategy == name:
                found.setdefault(one.pictures, {})[one.seed] = one
        return found

    def on_all_pictures(self, name: str) -> dict[int, Trained]:
        """A strategy's models on all pictures, by their seed."""
        return self.by_size(name).get(len(self.splits.train), {})

    def whole(self) -> dict[str, list[Trained]]:
        """For each strategy that has not failed its models on all pictures, in the order of the seeds they share."""
        rows = {name: self.on_all_pictures(name) for name in self.named if name not in self.failed}
        seeds = [seed for seed in self.seeds if all(seed in found for found in rows.values())]
        return {name: [found[seed] for seed in seeds] for name, found in rows.items() if seeds}

    def shared_seeds(self) -> list[int]:
        """The seeds that each strategy which has not failed was trained with on all pictures."""
        return [one.seed for one in next(iter(self.whole().values()), [])]

    def best(self) -> str | None:
        """The strategy beside scratch with the highest balanced accuracy on validation; of equals the lower loss."""
        others = {name: models for name, models in self.whole().items() if name != BASELINE}
        return max(others, key=lambda name: _rank(others[name])) if others else None


def _rank(models: Sequence[Trained]) -> tuple[float, float]:
    return validation_mean(models, "balanced_accuracy"), -validation_mean(models, "log_loss")


def validation_mean(models: Sequence[Trained], figure: str) -> float:
    """The mean over models of a figure on validation."""
    return float(np.mean([one.validation[figure] for one in models]))
