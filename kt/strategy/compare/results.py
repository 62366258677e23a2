"""The content of `compare.json` and of the page, from what has been trained so far."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import keras
import numpy as np

from kt.base import few
from kt.base.environment import machine, versions
from kt.base.files import replace_json, replace_text
from kt.base.metrics import CONFIDENCE
from kt.base.run_folder import COMPARISON, COMPARISON_PAGE
from kt.data.splits import Splits
from kt.recipe import describe, epochs_of
from kt.report.comparison import comparison_page
from kt.strategy.compare.comparison import BASELINE, Comparison, validation_mean
from kt.strategy.compare.training import TrainedStrategy
from kt.strategy.paired import Estimate, Match, Resamples, match  # the statistics of a comparison

FORMAT = 1
"""Increased when a key of `compare.json` changes its meaning or is removed, not for a new key."""

FEW_STEPS = 300
"""With fewer training steps than this, a network trained from scratch is no evidence for transfer."""

ENOUGH_STEPS = 1000
"""With fewer training steps than this, a network trained from scratch lacks steps rather than pictures."""


def write_comparison(done: Comparison, *, finished: bool) -> dict[str, Any]:
    """Write `compare.json` and `compare.html` anew from what is done, and return the content of the first."""
    results = comparison_results(done, finished=finished)
    replace_json(done.out / COMPARISON, results)
    replace_text(done.out / COMPARISON_PAGE, comparison_page(results))
    return results


def comparison_results(done: Comparison, *, finished: bool) -> dict[str, Any]:
    """The content of `compare.json`, from what is done."""
    installed, origin, whole, seeds = versions(), done.origin, done.whole(), done.shared_seeds()
    draws = Resamples(done.splits.test.labels, done.splits.test.groups, seeds=max(1, len(seeds)))
    estimates = {name: _estimate(draws, models) for name, models in whole.items()}
    best = done.best()
    gain = _gain(done, draws, estimates, best) if best and BASELINE in estimates else None
    return {
        "format": FORMAT,
        "kt": installed.get("kt-transfer", "unknown"),
        "recipe": {
            "name": origin.name,
            "file": str(origin.file) if origin.file else None,
            "settings": list(origin.settings),
            "data": origin.data,
            "target": origin.target,
            "target_labels": origin.target_labels,
        },
        "command": origin.command,
        "started": done.started.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - done.started).total_seconds(), 1),
        "finished": finished,
        "backend": str(keras.backend.backend()),
        "versions": installed,
        "machine": machine(),
        "data": _data(done.splits),
        "seeds": seeds,
        "confidence": CONFIDENCE,
        "strategies": [_row(done, name, estimates, whole) for name in done.named],
        "best": best,
        "curves": _curve_rows(done, draws) if gain else [],
        "plan": done.plan,
        "transfer_gain": gain,
        "verdict": gain["verdict"] if gain else None,
        "notes": [*done.notes, *cautions(done, gain)],
    }


def _estimate(draws: Resamples, models: Sequence[TrainedStrategy]) -> Estimate:
    return draws.balanced_accuracy(np.stack([model.right for model in models], axis=1))


def _data(splits: Splits) -> dict[str, Any]:
    return {
        "kind": splits.kind.name,
        "origin": splits.origin,
        "digest": splits.digest,
        "rendered": splits.rendered,
        "classes": list(splits.classes),
        "image_size": splits.kind.to_json().get("image_size"),
        "batch_size": splits.batch_size,
        "pictures": {name: len(part) for name, part in splits.parts().items()},
        "things": {name: len(set(part.groups)) for name, part in splits.parts().items()},
    }


def _row(
    done: Comparison, name: str, estimates: Mapping[str, Estimate], whole: Mapping[str, Sequence[TrainedStrategy]]
) -> dict[str, Any]:
    models, estimate = whole.get(name, []), estimates.get(name)
    against = estimate.minus(estimates[BASELINE]) if estimate and name != BASELINE and BASELINE in estimates else None
    recipe = done.named[name]
    return {
        "name": name,
        "title": done.title(name),
        "weights": recipe.weights,
        "phases": describe(recipe.phases),
        "balanced_accuracy": estimate.value if estimate else None,
        "interval": estimate.interval if estimate else None,
        "validation_balanced_accuracy": validation_mean(models, "balanced_accuracy") if models else None,
        "seconds": round(float(np.mean([model.seconds for model in models])), 2) if models else None,
        "against_scratch": _difference(done, against) if against else None,
        "error": done.failed.get(name),
        "runs": [
            {
                "seed": model.seed,
                "balanced_accuracy": model.test["balanced_accuracy"],
                "accuracy": model.test["accuracy"],
                "log_loss": model.test["log_loss"],
                "validation_balanced_accuracy": model.validation["balanced_accuracy"],
                "validation_log_loss": model.validation["log_loss"],
                "fitted": model.fitted,
                "kept": model.kept,
                "steps": model.steps,
                "seconds": round(model.seconds, 2),
            }
            for model in done.on_all_pictures(name).values()
        ],
    }


def _difference(done: Comparison, against: Estimate) -> dict[str, Any]:
    verdict = against.verdict()
    return {
        "balanced_accuracy": against.value,
        "interval": against.interval,
        "p_value": against.p_value(),
        "verdict": "no evidence" if verdict == "positive" and scratch_steps(done) < FEW_STEPS else verdict,
    }


def _gain(done: Comparison, draws: Resamples, estimates: Mapping[str, Estimate], best: str) -> dict[str, Any]:
    """The best strategy against scratch, and how many pictures each needs to be as good as the other."""
    ours, scratch = estimates[best], estimates[BASELINE]
    return {
        "strategy": best,
        **_difference(done, ours.minus(scratch)),
        "scratch_steps": scratch_steps(done),
        "pictures": len(done.splits.train),
        "scratch_needs": _needs(done, draws, BASELINE, target=ours),
        "strategy_needs": _needs(done, draws, best, target=scratch),
    }


def _needs(done: Comparison, draws: Resamples, name: str, *, target: Estimate) -> dict[str, Any] | None:
    points = _points(done, draws, name)
    if len(points) < 2:
        return None
    needed: Match = match(list(points), list(points.values()), target)
    return needed.as_json()


def _points(done: Comparison, draws: Resamples, name: str) -> dict[int, Estimate]:
    """The learning curve: the estimate for each number of pictures trained with every seed, in rising order."""
    seeds = done.shared_seeds()
    full = {size: models for size, models in done.by_size(name).items() if set(seeds) <= set(models)}
    return {size: _estimate(draws, [full[size][seed] for seed in seeds]) for size in sorted(full)}


def _curve_rows(done: Comparison, draws: Resamples) -> list[dict[str, Any]]:
    rows = []
    for name in done.named:
        points = _points(done, draws, name)
        if len(points) > 1:
            rows += [
                {"strategy": name, "pictures": size, "balanced_accuracy": point.value, "interval": point.interval}
                for size, point in points.items()
            ]
    return rows


def cautions(done: Comparison, gain: Mapping[str, Any] | None) -> list[str]:
    """Notes on why the figures are less certain than they look."""
    test, classes = done.splits.test, done.splits.classes
    notes = [few.caution_on_test(test.things(len(classes)), classes, grouped=test.grouped, many=done.splits.kind.many)]
    if gain and gain["verdict"] in ("positive", "no evidence"):
        notes.append(_too_few_steps(done))
    return [note for note in notes if note]


def scratch_steps(done: Comparison) -> int:
    """How many training steps scratch has on all pictures."""
    return -(-len(done.splits.train) // done.splits.batch_size) * epochs_of(done.named[BASELINE])


def _too_few_steps(done: Comparison) -> str:
    """A note that scratch had too few steps, so that the gain may be smaller with more; empty if it had enough."""
    steps = scratch_steps(done)
    if steps >= ENOUGH_STEPS:
        return ""
    epochs = math.ceil(ENOUGH_STEPS / steps * epochs_of(done.named[BASELINE]))
    return (
        f"scratch had {steps} steps, and a network that begins from nothing goes on learning for thousands: with more "
        f"of them the gain may be smaller. --scratch-epochs {epochs} gives it {ENOUGH_STEPS:,}."
    )
