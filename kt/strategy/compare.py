"""Trains several recipes on the same pictures, seed by seed, and says which is better and by how much it is certain.

`kt.strategy.strategies` gives the usual ones. What is best is chosen on validation; each trained model answers the test
split once, and only to be told of.
"""

import dataclasses
import gc
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt import report
from kt.console import say, warn
from kt.data.splits import Splits
from kt.environment import machine, versions
from kt.errors import DataError, KtError, RecipeError, TrainingError
from kt.evaluate import CONFIDENCE, evaluate
from kt.files import replace_text
from kt.model import build, in_float32, predict
from kt.recipe import Phase, Recipe, describe, epochs_of
from kt.report.comparison import render
from kt.run import Origin
from kt.strategy.paired import Estimate, Match, Resamples, match  # the statistics of this room's own question
from kt.train import check_phases, seed_everything, train

FORMAT = 1
"""Goes up when a key of `compare.json` changes its meaning or goes away; a new key leaves it as it is."""

BASELINE = "scratch"

SHARES = (0.05, 0.1, 0.25, 0.5)
"""Of the training pictures, for the learning curves, beside all of them."""

ENOUGH_STEPS = 1000
"""With fewer training steps than this, a network that begins from nothing lacks steps before it lacks pictures."""


@dataclass(frozen=True, eq=False)
class Trained:
    """One trained model: which strategy, which seed, how many pictures, and how it did.

    right: `[N]`, for each test picture whether it was told. fitted: accuracy on the training pictures in the last
    epoch, None where the head has no such metric. validation: the figures of `kt.evaluate`, as test.
    """

    strategy: str
    seed: int
    pictures: int
    seconds: float
    kept: dict[str, Any]
    fitted: float | None
    validation: Mapping[str, Any]
    test: Mapping[str, Any]
    right: npt.NDArray[np.bool_]


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
    trained: list[Trained] = dataclasses.field(default_factory=list)
    failed: dict[str, str] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)


def compare(
    named: Mapping[str, Recipe],
    out: Path,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    titles: Mapping[str, str] | None = None,
    origin: Origin | None = None,
    shares: Sequence[float] = SHARES,
) -> dict[str, Any]:
    """Train each recipe with each seed, and return what `out/compare.json` holds; `out/compare.html` shows it.

    named: recipes by name, whose data, read once from the first, must be the same; the one named "scratch" is what the
    others are held against. titles: names for a person. shares: of the training pictures, for the learning curves of
    scratch and of the best other; none for no curves.

    Both files are written anew after each model, so that an interruption loses one model at most. A strategy whose
    training fails is told and left out. Raises RecipeError or DataError, before anything trains, for what can't be
    compared.
    """
    _check(named, seeds)
    origin = origin or Origin(name=out.parent.name)
    first = next(iter(named.values()))
    seed_everything(first.seed)
    splits = first.data()
    say(report.data_line(splits))
    _check_test(splits)
    named, notes = _buildable(named, splits)
    out.mkdir(parents=True, exist_ok=True)
    done = Comparison(named, titles or {}, splits, seeds, origin, out, datetime.now(UTC))
    done.notes += [*splits.notes, *notes]
    for turn, seed in enumerate(seeds):
        for name in named:
            if name not in done.failed:
                say(f"{_title(done, name)}, seed {seed} ({turn + 1} of {len(seeds)})")
                _train_into(done, name, seed=seed, share=1.0)
    best = _best(done)
    if best is not None and BASELINE in _whole(done):
        _curves(done, [BASELINE, best], shares=shares)
    return _write(done, finished=True)


# ---------------------------------------------------------------------------------------------------- before training


def _check(named: Mapping[str, Recipe], seeds: Sequence[int]) -> None:
    if len(seeds) < 2:
        raise RecipeError("A comparison needs at least 2 seeds: one training says nothing of chance. 3 are usual.")
    if len(set(seeds)) < len(seeds):
        raise RecipeError(f"Seeds must differ, and these don't: {', '.join(map(str, seeds))}.")
    for name, recipe in named.items():
        if name != BASELINE and recipe.weights in (None, "none", "None"):
            raise RecipeError(
                f"The recipe's weights are {recipe.weights!r}, so there is nothing to transfer and {name!r} would "
                "compare noise. Give it weights: --set weights=imagenet, or --set weights=FILE."
            )


def _check_test(splits: Splits) -> None:
    there = sorted(set(splits.test.labels.tolist()))
    if len(there) < 2:
        raise DataError(
            f"The test split has pictures of {splits.classes[there[0]]!r} alone, and whoever always says so would win; "
            "give it pictures of every class."
        )


def _buildable(named: Mapping[str, Recipe], splits: Splits) -> tuple[dict[str, Recipe], list[str]]:
    """Build each once, so that weights that can't be had are found before any training.

    A strategy that this backbone or head does not allow (no blocks, a head that is not linear) is left out with a note;
    RecipeError where none is left.
    """
    found: dict[str, Recipe] = {}
    notes: list[str] = []
    refusal = RecipeError("There is nothing to compare.")
    for name, recipe in named.items():
        try:
            check_phases(recipe, build(recipe, image_size=splits.image_size, num_classes=len(splits.classes)))
            found[name] = recipe
        except RecipeError as error:
            refusal = error
            notes.append(f"{name} is left out: {error}")
            warn(notes[-1])
        finally:
            _forget()
    if not found:
        raise refusal
    return found, notes


# ----------------------------------------------------------------------------------------------------------- training


def _train_into(done: Comparison, name: str, *, seed: int, share: float) -> None:
    """Train a strategy and add what came of it; where it fails, say so and go on with the others."""
    try:
        done.trained.append(_train(done, name, seed=seed, share=share))
    except (TrainingError, DataError) as error:
        _note_failure(done, name, error, seed=seed, share=share)
    except KeyboardInterrupt:
        if done.trained:
            _write(done, finished=False)
            say(f"what there is so far: {done.out / 'compare.html'}")
        raise
    finally:
        _forget()
    if done.trained:
        _write(done, finished=False)


def _note_failure(done: Comparison, name: str, error: KtError, *, seed: int, share: float) -> None:
    where = f"{_title(done, name)}, seed {seed}" + (f", {share:.0%} of the pictures" if share < 1 else "")
    warn(f"{where}: {error}")
    done.notes.append(f"{where}, failed: {error}")
    if share == 1:
        done.failed[name] = str(error)


def _train(done: Comparison, name: str, *, seed: int, share: float) -> Trained:
    splits, recipe = done.splits, dataclasses.replace(done.named[name], seed=seed)
    if share < 1:
        splits, recipe = subset(splits, share, seed=seed), lengthened(recipe, share)
    started = time.perf_counter()
    seed_everything(seed)
    built = build(recipe, image_size=splits.image_size, num_classes=len(splits.classes))
    phases, best = train(built, recipe, splits)
    model = in_float32(built, recipe)
    seconds = time.perf_counter() - started
    figures, answers = {}, {}
    for part in ("validation", "test"):
        split = splits.parts()[part]
        scores = predict(model, split.pixels)
        answers[part] = scores.argmax(axis=1) == split.labels
        figures[part] = evaluate(scores, split.labels, splits.classes, groups=split.groups, resamples=0)
    accuracy = phases[-1].history.get("accuracy")
    return Trained(
        strategy=name,
        seed=seed,
        pictures=len(splits.train),
        seconds=seconds,
        kept=best.figures(),
        fitted=accuracy[-1] if accuracy else None,
        validation=figures["validation"],
        test=figures["test"],
        right=answers["test"],
    )


def _forget() -> None:
    """Let go of the last model's memory."""
    keras.backend.clear_session()
    gc.collect()


def subset(splits: Splits, share: float, *, seed: int) -> Splits:
    """The same splits with a share of the training pictures, drawn class by class, at least 2 of each.

    Pictures are drawn, not the things they show. What a smaller share has, a larger one of the same seed has too.
    """
    train, random = splits.train, np.random.default_rng(seed)
    chosen: list[int] = []
    for label in range(len(splits.classes)):
        members = random.permutation(np.flatnonzero(train.labels == label))
        chosen += members[: max(2, round(share * len(members)))].tolist()
    order = np.sort(np.array(chosen, np.int64))
    part = dataclasses.replace(
        train,
        pixels=train.pixels[order],
        labels=train.labels[order],
        names=tuple(train.names[i] for i in order),
        groups=tuple(train.groups[i] for i in order),
        files=None if train.files is None else tuple(train.files[i] for i in order),
    )
    return dataclasses.replace(splits, train=part)


def lengthened(recipe: Recipe, share: float) -> Recipe:
    """With more epochs for fewer pictures, by the square root: half way between as many epochs and as many steps.

    With the same epochs 5 % of the pictures would get 5 % of the steps, and the curve would show too little training,
    not too few pictures.
    """
    longer = 1 / math.sqrt(share)
    return dataclasses.replace(
        recipe,
        phases=[
            dataclasses.replace(phase, epochs=math.ceil(phase.epochs * longer)) if isinstance(phase, Phase) else phase
            for phase in recipe.phases
        ],
    )


def _curves(done: Comparison, names: Sequence[str], *, shares: Sequence[float]) -> None:
    """Train both with each share of the pictures and each seed, skipping shares that come to the same pictures."""
    sizes: dict[int, float] = {}
    for share in sorted(share for share in shares if share < 1):
        pictures = len(subset(done.splits, share, seed=0).train)
        if pictures < len(done.splits.train):
            sizes[pictures] = share
    for seed in done.seeds:
        for pictures, share in sizes.items():
            for name in names:
                say(f"{_title(done, name)} with {pictures} pictures ({share:.0%}), seed {seed}")
                _train_into(done, name, seed=seed, share=share)


# ------------------------------------------------------------------------------------------------------------ results


def _title(done: Comparison, name: str) -> str:
    return done.titles.get(name, name)


def _whole(done: Comparison) -> dict[str, list[Trained]]:
    """For each strategy that has not failed its models on all pictures, in the order of the seeds they share."""
    everything = len(done.splits.train)
    rows = {
        name: {one.seed: one for one in done.trained if one.strategy == name and one.pictures == everything}
        for name in done.named
        if name not in done.failed
    }
    seeds = [seed for seed in done.seeds if all(seed in found for found in rows.values())]
    return {name: [found[seed] for seed in seeds] for name, found in rows.items() if seeds}


def _best(done: Comparison) -> str | None:
    """The strategy beside scratch with the highest balanced accuracy on validation; of equal ones the lower loss."""

    def rank(models: Sequence[Trained]) -> tuple[float, float]:
        return _mean(models, "balanced_accuracy"), -_mean(models, "log_loss")

    others = {name: models for name, models in _whole(done).items() if name != BASELINE}
    return max(others, key=lambda name: rank(others[name])) if others else None


def _mean(models: Sequence[Trained], figure: str) -> float:
    return float(np.mean([one.validation[figure] for one in models]))


def _write(done: Comparison, *, finished: bool) -> dict[str, Any]:
    results = _composed(done, finished=finished)
    replace_text(done.out / "compare.json", json.dumps(results, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    replace_text(done.out / "compare.html", render(results))
    return results


def _composed(done: Comparison, *, finished: bool) -> dict[str, Any]:
    """The content of `compare.json`, of what there is."""
    found, origin, whole = versions(), done.origin, _whole(done)
    seeds = [one.seed for one in next(iter(whole.values()), [])]
    draws = Resamples(done.splits.test.labels, done.splits.test.groups, seeds=max(1, len(seeds)))
    estimates = {name: _estimate(draws, models) for name, models in whole.items()}
    best = _best(done)
    gain = _gain(done, draws, estimates, best) if best and BASELINE in estimates else None
    return {
        "format": FORMAT,
        "kt": found.get("kt-transfer", "unknown"),
        "recipe": {
            "name": origin.name,
            "file": str(origin.file) if origin.file else None,
            "settings": list(origin.settings),
            "data": origin.data,
        },
        "command": origin.command,
        "started": done.started.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - done.started).total_seconds(), 1),
        "finished": finished,
        "backend": str(keras.backend.backend()),
        "versions": found,
        "machine": machine(),
        "data": _data(done.splits),
        "seeds": seeds,
        "confidence": CONFIDENCE,
        "strategies": [_row(done, name, estimates, whole) for name in done.named],
        "best": best,
        "curves": _curve_rows(done, draws, seeds) if gain else [],
        "transfer_gain": gain,
        "verdict": gain["verdict"] if gain else None,
        "notes": [*done.notes, *_cautions(done, gain)],
    }


def _estimate(draws: Resamples, models: Sequence[Trained]) -> Estimate:
    return draws.balanced_accuracy(np.stack([one.right for one in models], axis=1))


def _data(splits: Splits) -> dict[str, Any]:
    return {
        "origin": splits.origin,
        "digest": splits.digest,
        "rendered": splits.rendered,
        "classes": list(splits.classes),
        "image_size": list(splits.image_size),
        "batch_size": splits.batch_size,
        "pictures": {name: len(part) for name, part in splits.parts().items()},
        "things": {name: len(set(part.groups)) for name, part in splits.parts().items()},
    }


def _row(
    done: Comparison, name: str, estimates: Mapping[str, Estimate], whole: Mapping[str, Sequence[Trained]]
) -> dict[str, Any]:
    models, estimate = whole.get(name, []), estimates.get(name)
    against = estimate.minus(estimates[BASELINE]) if estimate and name != BASELINE and BASELINE in estimates else None
    recipe = done.named[name]
    return {
        "name": name,
        "title": _title(done, name),
        "weights": recipe.weights,
        "phases": describe(recipe.phases),
        "balanced_accuracy": estimate.value if estimate else None,
        "interval": estimate.interval if estimate else None,
        "validation_balanced_accuracy": _mean(models, "balanced_accuracy") if models else None,
        "seconds": round(float(np.mean([one.seconds for one in models])), 2) if models else None,
        "against_scratch": _difference(against) if against else None,
        "error": done.failed.get(name),
        "runs": [
            {
                "seed": one.seed,
                "balanced_accuracy": one.test["balanced_accuracy"],
                "accuracy": one.test["accuracy"],
                "log_loss": one.test["log_loss"],
                "validation_balanced_accuracy": one.validation["balanced_accuracy"],
                "validation_log_loss": one.validation["log_loss"],
                "fitted": one.fitted,
                "kept": one.kept,
                "seconds": round(one.seconds, 2),
            }
            for one in done.trained
            if one.strategy == name and one.pictures == len(done.splits.train)
        ],
    }


def _difference(against: Estimate) -> dict[str, Any]:
    return {
        "balanced_accuracy": against.value,
        "interval": against.interval,
        "p_value": against.p_value(),
        "verdict": against.verdict(),
    }


def _gain(done: Comparison, draws: Resamples, estimates: Mapping[str, Estimate], best: str) -> dict[str, Any]:
    """The best strategy against scratch, and how many pictures each needs to do what the other does."""
    ours, scratch = estimates[best], estimates[BASELINE]
    return {
        "strategy": best,
        **_difference(ours.minus(scratch)),
        "pictures": len(done.splits.train),
        "scratch_needs": _needs(done, draws, BASELINE, target=ours),
        "strategy_needs": _needs(done, draws, best, target=scratch),
    }


def _needs(done: Comparison, draws: Resamples, name: str, *, target: Estimate) -> dict[str, Any] | None:
    points = _points(done, draws, name)
    if len(points) < 2:
        return None
    found: Match = match(list(points), list(points.values()), target)
    return found.as_json()


def _points(done: Comparison, draws: Resamples, name: str) -> dict[int, Estimate]:
    """The learning curve: the estimate for each number of pictures that was trained with every seed, rising."""
    seeds = [one.seed for one in next(iter(_whole(done).values()), [])]
    rows: dict[int, dict[int, Trained]] = {}
    for one in done.trained:
        if one.strategy == name:
            rows.setdefault(one.pictures, {})[one.seed] = one
    full = {size: found for size, found in rows.items() if set(seeds) <= set(found)}
    return {size: _estimate(draws, [full[size][seed] for seed in seeds]) for size in sorted(full)}


def _curve_rows(done: Comparison, draws: Resamples, seeds: Sequence[int]) -> list[dict[str, Any]]:
    rows = []
    for name in done.named:
        points = _points(done, draws, name)
        if seeds and len(points) > 1:
            rows += [
                {"strategy": name, "pictures": size, "balanced_accuracy": point.value, "interval": point.interval}
                for size, point in points.items()
            ]
    return rows


def _cautions(done: Comparison, gain: Mapping[str, Any] | None) -> list[str]:
    """What makes the figures less than they look."""
    found = [report.caution(done.splits.test, done.splits.classes)]
    if gain and gain["verdict"] == "positive":
        found.append(_too_few_steps(done))
    return [note for note in found if note]


def _too_few_steps(done: Comparison) -> str:
    """A word where scratch stopped long before it had learned what it could: the gain is real, its size is not."""
    steps = -(-len(done.splits.train) // done.splits.batch_size) * epochs_of(done.named[BASELINE])
    if steps >= ENOUGH_STEPS:
        return ""
    epochs = math.ceil(ENOUGH_STEPS / steps * epochs_of(done.named[BASELINE]))
    return (
        f"scratch had {steps} steps, and a network that begins from nothing goes on learning for thousands: with more "
        f"of them the gain may be smaller. --scratch-epochs {epochs} gives it {ENOUGH_STEPS:,}."
    )
