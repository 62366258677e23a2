"""Gathers what a run found into the content of `report.json`, whose keys docs/report.md explains."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from kt.console import shown
from kt.data.splits import Splits
from kt.environment import machine, versions
from kt.evaluate import evaluate
from kt.export import ArtifactResult
from kt.export.learned import REMEDY, Learned
from kt.export.release import place
from kt.model import Built
from kt.recipe import Recipe, describe
from kt.report.worth import below_its_probe
from kt.scarcity import Scarcity
from kt.train import Best, PhaseResult


def compose(
    *,
    origin: Any,
    recipe: Recipe,
    splits: Splits,
    built: Built,
    phases: Sequence[PhaseResult],
    best: Best,
    told: Mapping[str, Any],
    test: dict[str, Any],
    artifacts: Sequence[ArtifactResult],
    released_to: Path | None,
    started: datetime,
    scarce: Scarcity | None = None,
    learned: Learned | None = None,
) -> dict[str, Any]:
    """The whole content of `report.json`, as plain data; the run ends here.

    told: what the training step has to tell besides, keys of `report.json`; its `notes` come first. learned: whether
    the model has learned anything, where that was judged.
    """
    found, scarce = versions(), scarce or Scarcity()
    validation = _validation(splits, best, seed=recipe.seed)
    warnings = [*_untaught(learned), *below_its_probe(validation, asdict(scarce))]
    return {
        "kt": found.get("kt-transfer", "unknown"),
        "recipe": {
            "name": origin.name,
            "file": str(origin.file) if origin.file else None,
            "description": origin.description.partition("\n")[0],
            "settings": list(origin.settings),
            "data": origin.data,
            "resolved": describe(recipe),
        },
        "command": origin.command,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
        "seed": recipe.seed,
        "backend": _backend(),
        "mixed_precision": origin.mixed_precision,
        "versions": found,
        "machine": machine(),
        "data": _data(splits),
        "weights": {**asdict(built.pretrained.source), "preprocessing": built.pretrained.preprocessing},
        "phases": [asdict(phase) for phase in phases],
        "best": best.figures(),
        **told,
        "notes": [*warnings, *_unknown(learned), *told.get("notes", ()), *scarce.few_pictures, *_notes(phases, best)],
        **asdict(scarce),
        "warnings": warnings,
        "validation": validation,
        "test": test,
        "learned": learned.as_json() if learned else None,
        "artifacts": placed(artifacts, released_to),
        "version": int(released_to.name) if released_to else None,
        "released_to": shown(released_to) if released_to else None,
    }


def placed(artifacts: Sequence[ArtifactResult], released_to: Path | None) -> list[dict[str, Any]]:
    """The artefacts as plain data, each with the path where it is now: released, or still in the run."""
    return [
        {**one.as_json(), "path": shown(place(released_to, one) if one.released and released_to else one.path)}
        for one in artifacts
    ]


def card(name: str, description: str, splits: Splits, test: dict[str, Any]) -> dict[str, Any]:
    """What a version folder's `kt.json` says of the model: its name, classes, picture size and test figures."""
    return {
        "name": name,
        "description": description.partition("\n")[0],
        "classes": list(splits.classes),
        "image_size": list(splits.image_size),
        "data": splits.origin,
        "rendered": splits.rendered,
        "value_range": splits.value_range.to_json() if splits.value_range else None,
        "test": {key: test[key] for key in ("images", "accuracy", "balanced_accuracy", "log_loss", "intervals")},
    }


def _backend() -> str:
    import keras

    return str(keras.backend.backend())


def _data(splits: Splits) -> dict[str, Any]:
    counts = {
        name: dict(zip(splits.classes, np.bincount(part.labels, minlength=len(splits.classes)).tolist(), strict=True))
        for name, part in splits.parts().items()
    }
    return {
        "origin": splits.origin,
        "rendered": splits.rendered,
        "digest": splits.digest,
        "classes": list(splits.classes),
        "image_size": list(splits.image_size),
        "value_range": splits.value_range.to_json() if splits.value_range else None,
        "batch_size": splits.batch_size,
        "counts": counts,
        "skipped": [asdict(one) for one in splits.skipped],
        "notes": [*splits.facts, *splits.notes],
    }


def _notes(phases: Sequence[PhaseResult], best: Best) -> list[str]:
    """Says so where a later phase did not help."""
    names = [phase.name for phase in phases]
    useless = names[names.index(best.phase) + 1 :]
    return [
        f"phase {name!r} did not help: no epoch of it had a lower validation loss than {best.phase!r} "
        f"({best.val_loss:.4f}), so its weights were not kept"
        for name in useless
    ]


def _untaught(found: Learned | None) -> list[str]:
    """Says so where the model has learned nothing, and what to do."""
    if found is None or found.verdict != "no":
        return []
    return [f"{found.reason}; {'it may be released all the same, as asked' if found.forced else REMEDY}"]


def _unknown(found: Learned | None) -> list[str]:
    """Says so where the test pictures can't tell whether the model has learned anything."""
    return [found.reason] if found and found.verdict == "unknown" else []


def _validation(splits: Splits, best: Best, *, seed: int) -> dict[str, Any] | None:
    """The figures of the kept weights on validation, where the training step told what they answer."""
    if best.scores is None:
        return None
    part = splits.validation
    return evaluate(best.scores, part.labels, splits.classes, groups=part.groups, seed=seed)


def data_line(splits: Splits) -> str:
    """What was read, in one line for the terminal."""
    counts = ", ".join(f"{len(part)} {name}" for name, part in splits.parts().items())
    height, width = splits.image_size
    return f"data: {splits.origin}; {counts}; {len(splits.classes)} classes, {height}x{width} px"


def weights_line(source: Any) -> str:
    """Which weights, and where from, in one line for the terminal."""
    return f"weights: {source.name} from {source.origin}" + (f" ({source.note})" if source.note else "")
