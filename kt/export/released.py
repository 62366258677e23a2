"""What lies in `saved_models/`: each version with its labels, test figures and artefacts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kt.errors import ReleaseError
from kt.export.versions import model_folder, models, version_labels, versions
from kt.files import read_json

FIGURES = ("balanced_accuracy", "accuracy", "roc_auc", "log_loss", "calibration_error")
"""Figures of the test pictures that are shown of a model."""


@dataclass(frozen=True)
class ReleasedVersion:
    """One version of a model. test: its figures on the test split; artifacts: the names of what was released.

    Both are empty where `kt.json` is missing or damaged; `problems` says what is damaged, one line each.
    """

    name: str
    version: int
    path: Path
    labels: tuple[str, ...]
    test: dict[str, Any]
    artifacts: tuple[str, ...]
    problems: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data under stable keys; `problems` only where there are some."""
        told = {
            "name": self.name,
            "version": self.version,
            "path": str(self.path),
            "labels": list(self.labels),
            "test": self.test,
            "artifacts": list(self.artifacts),
        }
        return told | ({"problems": list(self.problems)} if self.problems else {})


def released(saved_models: Path, name: str | None = None) -> list[ReleasedVersion]:
    """Every version of every model, or of one, rising; raises ReleaseError for a model that isn't there.

    A file that is damaged costs what it says, and no more.
    """
    folders = [model_folder(saved_models, name)] if name else [saved_models / model for model in models(saved_models)]
    return [version for folder in folders for version in _described(folder)]


def read_card(version: Path) -> dict[str, Any]:
    """What `kt.json` says of a version; nothing where it is missing or damaged, since the model answers without it."""
    try:
        return checked_card(version)
    except ReleaseError:
        return {}


def checked_card(version: Path) -> dict[str, Any]:
    """What `kt.json` says of a version, nothing where there is none; raises ReleaseError where it is damaged.

    Of what kt writes there, `description`, `rendered`, `test` and `artifacts` are of the right kind or missing.
    """
    file = version / "kt.json"
    try:
        card = read_json(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{file} cannot be read, and its figures are left out: {error}") from None
    if not isinstance(card, dict):
        raise ReleaseError(f"{file} is no object, and its figures are left out.")
    wrong = [key for key, fits in _FITS.items() if key in card and not fits(card[key])]
    if wrong:
        raise ReleaseError(f"{file} has no such {', '.join(wrong)} as kt writes, and its figures are left out.")
    return card


def _is_test(told: Any) -> bool:
    if not isinstance(told, dict):
        return False
    intervals = told.get("intervals") or {}
    return (
        isinstance(intervals, dict)
        and all(_is_number(told.get(name)) for name in ("images", *FIGURES))
        and all(between is None or _is_interval(between) for between in intervals.values())
    )


def _is_number(told: Any) -> bool:
    return told is None or (isinstance(told, (int, float)) and not isinstance(told, bool))


def _is_interval(told: Any) -> bool:
    return isinstance(told, list) and len(told) == 2 and None not in told and all(map(_is_number, told))


def _are_artifacts(told: Any) -> bool:
    return isinstance(told, list) and all(
        isinstance(each, dict) and isinstance(each.get("name"), str) and isinstance(each.get("released"), bool)
        for each in told
    )


_FITS = {
    "description": lambda told: isinstance(told, str),
    "rendered": lambda told: isinstance(told, bool),
    "test": _is_test,
    "artifacts": _are_artifacts,
}


def _described(folder: Path) -> Sequence[ReleasedVersion]:
    problems: list[str] = []
    labels: dict[str, int] = {}
    try:
        labels = version_labels(folder)
    except ReleaseError as error:
        problems.append(str(error))
    found = []
    for version in versions(folder):
        path = folder / str(version)
        card: dict[str, Any] = {}
        try:
            card = checked_card(path)
        except ReleaseError as error:
            problems.append(str(error))
        own = tuple(sorted(label for label, stands_for in labels.items() if stands_for == version))
        artifacts = tuple(artifact["name"] for artifact in card.get("artifacts", []) if artifact["released"])
        test = dict(card.get("test", {}))
        found.append(ReleasedVersion(folder.name, version, path, own, test, artifacts, tuple(problems)))
        problems = []
    return found
