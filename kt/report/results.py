"""Gathers a run's results into the content of `report.json`, whose keys docs/report.md explains."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from kt.base.backend import running
from kt.base.console import shown
from kt.base.environment import machine, versions
from kt.data.sources import places_of
from kt.data.sources.domains import TARGET
from kt.data.splits import Splits
from kt.errors import RecipeError
from kt.export import ArtifactResult
from kt.export.learned import Learned, remedy
from kt.export.release import place_release
from kt.heads.classification.measure import evaluate
from kt.kinds.kind import Nouns
from kt.learnability import Scarcity
from kt.network.model import Built
from kt.recipe import Recipe, describe
from kt.report.worth import below_its_probe
from kt.training import Best, PhaseResult

ADDED = (
    "format",
    "explained",
    "unfamiliar",
    "findings",
    "findings_more",
    "wrongest",
    "confused",
    "slices",
    "nearest",
    "map",
    "blocks",
    "depth_probes",
)
"""Keys that are added when `report.json` is written."""


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
    trusted: Mapping[str, Any],
    artifacts: Sequence[ArtifactResult],
    released_to: Path | None,
    started: datetime,
    resumed: Sequence[Mapping[str, Any]] = (),
    scarce: Scarcity | None = None,
    learned: Learned | None = None,
    energy_joules: float | None = None,
) -> dict[str, Any]:
    """The whole content of `report.json`, as plain data. The run's time ends here.

    told: further keys of `report.json` from the training step; its `notes` come first. trusted: the keys of
    `kt.runs.trust`. learned: whether the model has learned anything, if that was judged. Raises RecipeError for a key
    of `told` that the run itself writes.
    """
    installed, scarce = versions(), scarce or Scarcity()
    validation = _validation(splits, best, seed=recipe.seed)
    warnings = _untaught(learned, splits.kind)
    if not any(phase.adapted_to for phase in phases if phase.name == best.phase):
        warnings += below_its_probe(validation, asdict(scarce))
    before = {
        "kt": installed.get("kt-transfer", "unknown"),
        "recipe": {
            "name": origin.name,
            "file": str(origin.file) if origin.file else None,
            "description": origin.description.partition("\n")[0],
            "settings": list(origin.settings),
            "data": origin.data,
            "target": origin.target,
            "target_labels": origin.target_labels,
            "places": _places(recipe.data),
            "resolved": describe(recipe),
        },
        "command": origin.command,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
        "energy_joules": energy_joules,
        "resumed": [*resumed],
        "seed": recipe.seed,
        "backend": running(),
        "mixed_precision": origin.mixed_precision,
        "versions": installed,
        "machine": machine(),
        "data": _data(splits),
        "weights": {**asdict(built.pretrained.source), "preprocessing": built.pretrained.preprocessing},
        "phases": [asdict(phase) for phase in phases],
        "best": best.figures(),
    }
    after = {
        "notes": [
            *warnings,
            *_unknown(learned),
            *told.get("notes", ()),
            *scarce.few_pictures,
            *_unlike(scarce, splits),
            *_notes(phases, best),
        ],
        **asdict(scarce),
        "warnings": warnings,
        "validation": validation,
        "test": test,
        **trusted,
        "learned": learned.as_json() if learned else None,
        "artifacts": placed(artifacts, released_to),
        "version": int(released_to.name) if released_to else None,
        "released_to": shown(released_to) if released_to else None,
    }
    _check_told(told, own=(*before, *after, *ADDED))
    return {**before, **told, **after}


def _places(source: object) -> dict[str, str]:
    """The absolute paths of the folders and tables that were read, so that they can be found from any folder."""
    return {field: str(path.absolute()) for field, path in places_of(source).items()}


def _check_told(told: Mapping[str, Any], *, own: Collection[str]) -> None:
    """Raise RecipeError for keys that both the run and the training step write, since one would replace the other."""
    both = [repr(key) for key in told if key in own and key != "notes"]
    if both:
        single = len(both) == 1
        raise RecipeError(
            f"The training step tells {', '.join(both)}, {'a key' if single else 'keys'} that the run itself writes "
            f"into report.json; expected keys of its own, besides 'notes'. Give {'it' if single else 'them'} another "
            "name in Trained(told=...)."
        )


def placed(artifacts: Sequence[ArtifactResult], released_to: Path | None) -> list[dict[str, Any]]:
    """The artefacts as plain data, each with its present path: released, or still in the run."""
    return [
        {
            **each.as_json(),
            "path": shown(place_release(released_to, each) if each.released and released_to else each.path),
        }
        for each in artifacts
    ]


def card(
    name: str, description: str, splits: Splits, test: dict[str, Any], *, sets: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """The content of a version folder's `kt.json`: the model's name, classes, picture size and test figures.

    sets: the entry of `report.json`.
    """
    return {
        "name": name,
        "description": description.partition("\n")[0],
        "classes": list(splits.classes),
        "data": splits.origin,
        "rendered": splits.rendered,
        **_of_kind(splits),
        "test": {key: test[key] for key in ("images", "accuracy", "balanced_accuracy", "log_loss", "intervals")},
        "sets": {f"{row['level']:g}": row["least"] for row in sets if row["least"] is not None},
    }


def _of_kind(splits: Splits) -> dict[str, Any]:
    """What an example is; size and range are null where it is no picture."""
    told = splits.kind.to_json()
    return {"kind": told["kind"], "image_size": told.get("image_size"), "value_range": told.get("value_range")}


def _data(splits: Splits) -> dict[str, Any]:
    counts = {
        name: dict(zip(splits.classes, np.bincount(part.labels, minlength=len(splits.classes)).tolist(), strict=True))
        for name, part in splits.parts().items()
    }
    return {
        "origin": splits.origin,
        "rendered": splits.rendered,
        "digest": splits.digest,
        "test_of": splits.test_of or ("source" if TARGET in splits.streams else None),
        "classes": list(splits.classes),
        **_of_kind(splits),
        "batch_size": splits.batch_size,
        "counts": counts,
        "skipped": [asdict(picture) for picture in splits.skipped],
        "notes": [*splits.facts, *splits.notes],
    }


def _notes(phases: Sequence[PhaseResult], best: Best) -> list[str]:
    """A note for each later phase that did not help."""
    names = [phase.name for phase in phases]
    useless = names[names.index(best.phase) + 1 :]
    return [
        f"phase {name!r} did not help: no epoch of it had a lower validation loss than {best.phase!r} "
        f"({best.val_loss:.4f}), so its weights were not kept"
        for name in useless
    ]


def _unlike(scarce: Scarcity, splits: Splits) -> list[str]:
    """A note if the test examples look otherwise than those of train and validation."""
    return [warning] if scarce.likeness and (warning := scarce.likeness.warning(splits.kind)) else []


def _untaught(learned: Learned | None, nouns: Nouns) -> list[str]:
    """A warning if the model has learned nothing, with what to do."""
    if learned is None or learned.verdict != "no":
        return []
    return [f"{learned.reason}; {'it may be released all the same, as asked' if learned.forced else remedy(nouns)}"]


def _unknown(learned: Learned | None) -> list[str]:
    """A note if the test pictures can't show whether the model has learned anything."""
    return [learned.reason] if learned and learned.verdict == "unknown" else []


def _validation(splits: Splits, best: Best, *, seed: int) -> dict[str, Any] | None:
    """The figures of the kept weights on validation; None if the training step gave no scores."""
    if best.scores is None:
        return None
    part = splits.validation
    return evaluate(best.scores, part.labels, splits.classes, groups=part.groups, seed=seed)
