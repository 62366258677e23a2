"""The training of a run: as its recipe is written, or by a strategy that tries several ways."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

from kt import report
from kt.base.console import say, warn
from kt.base.run_folder import LEARNABILITY, LOGS, STEPS
from kt.base.stages import Stage
from kt.data.splits import Splits
from kt.findings import Finding
from kt.learnability import Probing, Scarcity, scarcity
from kt.network.model import Built, build
from kt.recipe import Recipe
from kt.runs.found import find_by_features
from kt.training import Best, PhaseResult, check_phases, train, training_key


@dataclass(frozen=True)
class Trained:
    """The result of training: the model with its best weights, the recipe as it was trained, its phases.

    scarce: gives what the number of pictures means, within seconds. told: further keys of `report.json`. The run writes
    none of them itself, except `notes`, to which it adds its own.
    """

    recipe: Recipe
    built: Built
    phases: Sequence[PhaseResult]
    best: Best
    scarce: Probing = field(default_factory=Probing)
    told: Mapping[str, Any] = field(default_factory=dict)


class Training(Protocol):
    """The training of a run: `as_written`, or one that tries several ways (`kt.strategy`) and gives the best."""

    def __call__(self, recipe: Recipe, splits: Splits, *, out: Path, cached: bool) -> Trained:
        """Build and train on train and validation alone. out: the run's folder, which keeps checkpoints."""
        ...


def as_written(recipe: Recipe, splits: Splits, *, out: Path, cached: bool) -> Trained:
    """Train the phases of the recipe in turn."""
    built = build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    say(f"weights: {built.pretrained.source.in_words()}")
    check_phases(recipe, built)
    key = training_key(built, recipe, splits, cached=cached)
    scarce = _kept(
        Stage(out / LEARNABILITY, key),
        lambda: scarcity(built, recipe, splits, cached=cached),
        lambda probing: find_by_features(probing.sample, splits, seed=recipe.seed),
    )
    phases, best = train(built, recipe, splits, logs=out / LOGS, steps=out / STEPS, cached=cached)
    return Trained(recipe, built, phases, best, scarce)


def _kept(stage: Stage, begin: Callable[[], Probing], find: Callable[[Probing], tuple[Finding, ...]]) -> Probing:
    """The result that an earlier process kept in the stage, or else that of `begin`, kept once it is computed.

    find: what the data's features tell of the data, for `Probing.found`.
    """
    kept = stage.kept()
    if kept is not None:
        before = Scarcity.from_json(kept.told)
        for warning in before.few_pictures:
            warn(warning)
        findings = tuple(map(Finding.from_json, kept.told.get("found", ())))  # an earlier kt kept none
        return Probing(lambda: before, lambda: before.likeness, found=lambda: findings)
    compute = begin()
    found = cache(partial(find, compute))

    def computed() -> Scarcity:
        result = compute()
        stage.keep({**report.plain(asdict(result)), "found": [finding.to_json() for finding in found()]})
        return result

    return Probing(computed, compute.likeness, compute.sample, found)
