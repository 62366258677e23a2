"""Compares ways to adapt to another domain, chooses one without target labels, and says whether adapting helps.

Every candidate is fitted with several seeds, each of which draws another part of both domains. Validators judge them
without target labels. Labels of the target's test split, where there are some, are used at the end alone: for the
figures, for the verdict, and for a classifier that learns from them, to show what could be had.
"""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kt.adaptation.validators import NONE
from kt.base.backend import running
from kt.base.console import say, shown, warn
from kt.base.numbers import duration
from kt.base.run_folder import ADAPTATION_PAGE, STEPS, TRIALS
from kt.base.stages import Stage, key_of
from kt.data.splits import Splits
from kt.errors import DataError, RecipeError, TrainingError
from kt.recipe import Recipe, describe
from kt.recipe.without_target import source_steps
from kt.runs.data import check_same_data
from kt.runs.exports import record
from kt.runs.origin import Origin
from kt.strategy.adapt.candidates import WayToAdapt, candidates
from kt.strategy.adapt.choice import VALIDATOR, check_validator
from kt.strategy.adapt.comparison import DomainComparison
from kt.strategy.adapt.results import write_adaptation
from kt.strategy.adapt.source import SourceModel, drawn_splits, trained_model
from kt.strategy.adapt.trials import AdaptedTrial, by_own_head, in_training, on_features
from kt.strategy.compare.training import forget
from kt.training import seed_everything

__all__ = ["SEEDS", "STREAM", "VALIDATOR", "WayToAdapt", "adapt", "candidates"]

SEEDS = 3
"""The usual number of seeds, and the fewest."""

STREAM = "target"
"""The stream with the other domain's examples, as `kt.data.Domains` calls it."""


def adapt(
    recipe: Recipe,
    named: Sequence[WayToAdapt],
    out: Path,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    validator: str = VALIDATOR,
    origin: Origin | None = None,
) -> dict[str, Any]:
    """Fit each candidate with each seed; return the content of `out/adapt.json`. `out/adapt.html` shows it.

    recipe: its data has the stream "target" (`kt.data.Domains`). Its steps that need no target are those of no
    adaptation, and every candidate begins with the model that they give. named: from `candidates`. validator: the one
    that chooses (`VALIDATORS`).

    Each trial is kept when it is done, so that an interruption loses at most one. A candidate that fails is reported
    and left out. Raises RecipeError or DataError, before anything is fitted, for what can't be compared.
    """
    check_validator(validator)
    if len(set(seeds)) < SEEDS:
        raise RecipeError(f"Adaptation is judged with {SEEDS} different seeds or more, not with {len(set(seeds))}.")
    origin = origin or Origin(name=out.parent.name)
    began = datetime.now(UTC)
    seed_everything(recipe.seed)
    splits = recipe.data()
    say(f"data: {splits.in_words()}")
    _check(splits)
    check_same_data(out, splits)
    out.mkdir(parents=True, exist_ok=True)
    record(out, splits, origin.file)
    done = DomainComparison(named, splits, STREAM, tuple(seeds), validator, recipe, origin, out, began)
    for turn, seed in enumerate(seeds):
        say(f"seed {seed} ({turn + 1} of {len(seeds)}): the source's model")
        _with_seed(done, seed)
    return write_adaptation(done, finished=True)


def _with_seed(done: DomainComparison, seed: int) -> None:
    """Train the source's model on what a seed draws, and every candidate from there."""
    splits = drawn_splits(done.splits, done.stream, seed=seed)
    recipe = dataclasses.replace(done.recipe, phases=source_steps(done.recipe), seed=seed)
    folder = done.out / TRIALS / f"source-{seed}"
    kept = Stage(folder / "trained", _key(done, recipe.phases, seed=seed))
    source = trained_model(recipe, splits, stream=done.stream, steps=folder / STEPS, kept=kept)
    forget()
    done.sources[seed] = source
    for candidate in done.named:
        if candidate.name not in done.failed:
            _try_into(done, candidate, splits, source, seed=seed)


def _check(splits: Splits) -> None:
    if STREAM not in splits.streams:
        raise RecipeError(
            "The recipe's data has one domain; adaptation needs another one's examples, such as --target FOLDER, or "
            "data=kt.data.Domains(source=..., target=...) in the recipe."
        )
    if splits.test_of and len(set(splits.test.labels.tolist())) < 2:
        raise DataError(
            "The target's test split has examples of one class alone, and a model that always answers it would win; "
            "give the target examples of two classes or more, or no labels."
        )


def _try_into(done: DomainComparison, candidate: WayToAdapt, splits: Splits, source: SourceModel, *, seed: int) -> None:
    """Fit a candidate and add the trial; if it fails, say so and go on with the others."""
    folder = done.out / TRIALS / f"{candidate.name}-{seed}"
    stage = Stage(folder / "fitted", _key(done, candidate.phases(done.recipe), seed=seed))
    before = AdaptedTrial.kept_in(stage)
    if before is not None:
        say(f"{candidate.title}, seed {seed}: done before, in {duration(before.seconds)}")
        done.trials.append(before)
        return
    say(f"{candidate.title}, seed {seed}")
    try:
        trial = _trial(done, candidate, splits, source, seed=seed, folder=folder)
    except (TrainingError, DataError, RecipeError) as error:
        done.failed[candidate.name] = str(error)
        done.notes.append(f"{candidate.title}, seed {seed}, failed: {error}")
        warn(done.notes[-1])
        return
    except KeyboardInterrupt:
        if done.trials:
            write_adaptation(done, finished=False)
            say(f"what there is so far: {shown(done.out / ADAPTATION_PAGE)}")
        raise
    finally:
        forget()
    trial.keep(stage)
    done.trials.append(trial)


def _trial(
    done: DomainComparison, candidate: WayToAdapt, splits: Splits, source: SourceModel, *, seed: int, folder: Path
) -> AdaptedTrial:
    judged: dict[str, Any] = {"seed": seed, "placed": seed == done.seeds[0]}
    if candidate.trains:
        return in_training(candidate, done.recipe, splits, source, stream=done.stream, folder=folder, **judged)
    judged |= {"classes": len(splits.classes), "balanced": done.recipe.class_weight == "balanced"}
    if candidate.name == NONE:
        return by_own_head(source, **judged)
    return on_features(candidate, source.features, **judged)


def _key(done: DomainComparison, phases: Sequence[Any], *, seed: int) -> str:
    """A hash of all that a trial depends on."""
    parts = ("backbone", "weights", "head", "augment", "class_weight")
    described = {name: describe(getattr(done.recipe, name)) for name in parts}
    return key_of(described, describe(list(phases)), done.splits.digest, running(), seed, done.seeds[0])
