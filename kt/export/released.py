"""What lies in `saved_models/`: each version with its labels, test figures and artefacts."""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kt.export.versions import model_folder, models, version_labels, versions


@dataclass(frozen=True)
class ReleasedVersion:
    """One version of a model. test: its figures on the test split; artifacts: the names of what was released.

    Both are empty where `kt.json` is missing or damaged.
    """

    name: str
    version: int
    path: Path
    labels: tuple[str, ...]
    test: dict[str, Any]
    artifacts: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data under stable keys."""
        return {
            "name": self.name,
            "version": self.version,
            "path": str(self.path),
            "labels": list(self.labels),
            "test": self.test,
            "artifacts": list(self.artifacts),
        }


def released(saved_models: Path, name: str | None = None) -> list[ReleasedVersion]:
    """Every version of every model, or of one, rising; raises ReleaseError for a model that isn't there."""
    folders = [model_folder(saved_models, name)] if name else [saved_models / model for model in models(saved_models)]
    return [_described(folder, version) for folder in folders for version in versions(folder)]


def read_card(version: Path) -> dict[str, Any]:
    """What `kt.json` says of a version; nothing where it is missing or damaged, since the model answers without it."""
    try:
        card = json.loads((version / "kt.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def _described(folder: Path, version: int) -> ReleasedVersion:
    path = folder / str(version)
    labels = tuple(sorted(label for label, stands_for in version_labels(folder).items() if stands_for == version))
    test: dict[str, Any] = {}
    artifacts: tuple[str, ...] = ()
    card = read_card(path)
    with suppress(ValueError, KeyError, TypeError):
        artifacts = tuple(artifact["name"] for artifact in card["artifacts"] if artifact["released"])
        test = dict(card["test"])
    return ReleasedVersion(folder.name, version, path, labels, test, artifacts)
