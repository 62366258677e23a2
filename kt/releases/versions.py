"""The versions of a released model, and the labels that point to them.

`saved_models/<name>/<version>/` holds a version, as TensorFlow Serving expects. `saved_models/<name>/labels.json` says
which version a label, such as `stable`, stands for. `labels_before.json` says what it stood for before, for a rollback.
TensorFlow Serving ignores names there that are no numbers.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kt.base.files import read_json, replace_text
from kt.errors import ReleaseError, did_you_mean

LABELS_FILE = "labels.json"
BEFORE_FILE = "labels_before.json"


def models(saved_models: Path) -> list[str]:
    """The names of all models that have a version, in order."""
    folders = sorted(saved_models.iterdir()) if saved_models.is_dir() else []
    return [folder.name for folder in folders if not folder.name.startswith(".") and versions(folder)]


def model_folder(saved_models: Path, name: str) -> Path:
    """The folder of a model's versions. Raises ReleaseError, with the known models, for an unknown one."""
    known = models(saved_models)
    if name not in known:
        hint = did_you_mean(name, known) if known else "It holds no model at all; kt run releases one."
        raise ReleaseError(f"There is no model {name!r} in {saved_models}. {hint}")
    return saved_models / name


def versions(folder: Path) -> list[int]:
    """The versions in a model's folder, rising; none if there is no such folder."""
    names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    numbers = (int(name) for name in names if name.isdecimal() and name == str(int(name)))
    return sorted(number for number in numbers if number < 2**63)  # as TensorFlow Serving counts


def version_labels(folder: Path) -> dict[str, int]:
    """The version that each label of a model stands for. Raises ReleaseError if the file is damaged."""
    file = folder / LABELS_FILE
    labels = _read(file)
    if not isinstance(labels, dict) or not all(type(version) is int for version in labels.values()):
        raise ReleaseError(f'{file} is no object of labels and versions, such as {{"stable": 3}}; remove it.')
    return labels


def versions_before(folder: Path) -> dict[str, list[int]]:
    """The versions that each label stood for before, the latest last. Raises ReleaseError if the file is damaged."""
    file = folder / BEFORE_FILE
    before = _read(file)
    if not isinstance(before, dict) or not all(map(_are_versions, before.values())):
        raise ReleaseError(f'{file} is no object of labels and versions, such as {{"stable": [1, 2]}}; remove it.')
    return before


def write_labels(folder: Path, labels: Mapping[str, int], *, before: Mapping[str, Sequence[int]]) -> None:
    """Write both files, each in one step; `labels.json`, which readers use, comes last."""
    for name, content in ((BEFORE_FILE, before), (LABELS_FILE, labels)):
        replace_text(folder / name, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def _read(file: Path) -> Any:
    try:
        return read_json(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{file} cannot be read; kt promote writes it anew once it is removed. ({error})") from None


def _are_versions(value: Any) -> bool:
    return isinstance(value, list) and all(type(version) is int for version in value)
