"""The state of a comparison: what is compared, what has been trained so far, and which strategy is best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from kt.data.splits import Splits
from kt.recipe import Recipe
from kt.runs.origin import Origin
from kt.strategy.compare.training import TrainedStrategy

BASELINE = "scratch"
"""The strategy that the others are compared with."""


@dataclass
class Comparison:
    """The recipes that are compared, and the models trained so far. key: a hash of the inputs, to resume it by."""

    named: Mapping[str, Recipe]
    titles: Mapping[str, str]
    splits: Splits
    seeds: Sequence[int]
    origin: Origin
    out: Path
    started: datetime
    trained: list[TrainedStrategy] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    plan: Mapping[str, Any] | None = None
    key: str = ""

    def title(self, name: str) -> str:
        """A strategy's name for a person."""
        return self.titles.get(name, name)

    def by_size(self, name: str) -> dict[int, dict[int, TrainedStrategy]]:
        """A strategy's models by their number of pictures, then by their seed, in the order of training."""
        models: dict[int, dict[int, TrainedStrategy]] = {}
        for model in self.trained:
            if model.strategy == name:
                models.setdefault(model.pictures, {})[model.seed] = model
        return models

    def on_all_pictures(self, name: str) -> dict[int, TrainedStrategy]:
        """A strategy's models on all pictures, by their seed."""
        return self.by_size(name).get(len(self.splits.train), {})

    def whole(self) -> dict[str, list[TrainedStrategy]]:
        """The models on all pictures of each strategy that has not failed, for the seeds that all of them have."""
        by_seed = {name: self.on_all_pictures(name) for name in self.named if name not in self.failed}
        seeds = [seed for seed in self.seeds if all(seed in models for models in by_seed.values())]
        return {name: [models[seed] for seed in seeds] for name, models in by_seed.items() if seeds}

    def shared_seeds(self) -> list[int]:
        """The seeds that every strategy was trained with on all pictures, except failed ones."""
        return [model.seed for model in next(iter(self.whole().values()), [])]

    def best(self) -> str | None:
        """The strategy, scratch apart, with the highest balanced accuracy on validation; if equal, the lowest loss."""
        others = {name: models for name, models in self.whole().items() if name != BASELINE}
        return max(others, key=lambda name: _rank(others[name])) if others else None


def _rank(models: Sequence[TrainedStrategy]) -> tuple[float, float]:
    return validation_mean(models, "balanced_accuracy"), -validation_mean(models, "log_loss")


def validation_mean(models: Sequence[TrainedStrategy], figure: str) -> float:
    """The mean over models of a figure on validation."""
    return float(np.mean([model.validation[figure] for model in models]))
