"""The state of a comparison of ways to adapt: what is compared, and what has been fitted so far."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kt.data.splits import Splits
from kt.recipe import Recipe
from kt.runs.origin import Origin
from kt.strategy.adapt.candidates import WayToAdapt
from kt.strategy.adapt.source import SourceModel
from kt.strategy.adapt.trials import AdaptedTrial


@dataclass
class DomainComparison:
    """The candidates, the data of both domains, and the trials so far. sources: the source's model by seed."""

    named: Sequence[WayToAdapt]
    splits: Splits
    stream: str
    seeds: tuple[int, ...]
    validator: str
    recipe: Recipe
    origin: Origin
    out: Path
    started: datetime
    sources: dict[int, SourceModel] = field(default_factory=dict)
    trials: list[AdaptedTrial] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def of(self, name: str) -> list[AdaptedTrial]:
        """A candidate's trials, in the order of the seeds."""
        return [trial for trial in self.trials if trial.method == name]

    def whole(self) -> dict[str, list[AdaptedTrial]]:
        """The trials of each candidate that has not failed, for the seeds that all of them have."""
        names = [candidate.name for candidate in self.named if candidate.name not in self.failed]
        by_seed = {name: {trial.seed: trial for trial in self.of(name)} for name in names}
        seeds = [seed for seed in self.seeds if all(seed in trials for trials in by_seed.values())]
        return {name: [trials[seed] for seed in seeds] for name, trials in by_seed.items()} if seeds else {}

    @property
    def labelled(self) -> bool:
        """Whether the test split is of the target."""
        return self.splits.test_of == self.stream


def right(trials: Sequence[AdaptedTrial], labels: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether each trial answers each test example correctly, `[T, trials]`. labels: `[T]`."""
    return np.stack([trial.scores.argmax(axis=1) == labels for trial in trials], axis=1)
