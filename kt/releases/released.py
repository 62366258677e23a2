"""The content of `saved_models/`: each version with its labels, test figures and artefacts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kt.base.files import read_json
from kt.errors import ReleaseError
from kt.releases.versions import model_folder, models, version_labels, versions

FIGURES = ("balanced_accuracy", "accuracy", "roc_auc", "log_loss", "calibration_error")
"""The figures on the test split that are shown for a model."""


@dataclass(frozen=True)
class ReleasedVersion:
    """One version of a model.

    test: its figures on the test split. artifacts: the names of the released ones. Both are empty if `kt.json` is
    missing or damaged. problems: what is damaged, a line each.
    """

    name: str
    version: int
    path: Path
    labels: tuple[str, ...]
    test: dict[str, Any]
    artifacts: tuple[str, ...]
    problems: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain data under stable keys; `problems` only if there are any."""
        values = {
            "name": self.name,
            "version": self.version,
            "path": str(self.path),
            "labels": list(self.labels),
            "test": self.test,
            "artifacts": list(self.artifacts),
        }
        return values | ({"problems": list(self.problems)} if self.problems else {})


def released(saved_models: Path, name: str | None = None) -> list[ReleasedVersion]:
    """Every version of every model, or of one, rising. Raises ReleaseError for an unknown model.

    If a file is damaged, only its own information is missing.
    """
    folders = [model_folder(saved_models, name)] if name else [saved_models / model for model in models(saved_models)]
    return [version for folder in folders for version in _described(folder)]


def read_card(version: Path) -> dict[str, Any]:
    """The content of a version's `kt.json`; empty if it is missing or damaged, since the model works without it."""
    try:
        return checked_card(version)
    except ReleaseError:
        return {}


def checked_card(version: Path) -> dict[str, Any]:
    """The content of a version's `kt.json`, empty if there is none. Raises ReleaseError if it is damaged.

    The keys `description`, `rendered`, `test` and `artifacts` are of the right type or missing.
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


def _is_test(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    intervals = value.get("intervals") or {}
    return (
        isinstance(intervals, dict)
        and all(_is_number(value.get(name)) for name in ("images", *FIGURES))
        and all(interval is None or _is_interval(interval) for interval in intervals.values())
    )


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _is_interval(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and None not in value and all(map(_is_number, value))


def _are_artifacts(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict) and isinstance(each.get("name"), str) and isinstance(each.get("released"), bool)
        for each in value
    )


_FITS = {
    "description": lambda value: isinstance(value, str),
    "rendered": lambda value: isinstance(value, bool),
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
    described = []
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
        described.append(ReleasedVersion(folder.name, version, path, own, test, artifacts, tuple(problems)))
        problems = []
    return described
