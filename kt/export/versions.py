"""The versions of a released model, and the labels that point to them.

`saved_models/<name>/<version>/` holds a version, as TensorFlow Serving expects; `saved_models/<name>/labels.json` says
which version a label, such as `stable`, stands for. TensorFlow Serving ignores what isn't a number there.
"""

import json
from pathlib import Path

from kt.errors import ReleaseError

LABELS_FILE = "labels.json"


def versions(folder: Path) -> list[int]:
    """The versions in a model's folder, rising; none where there is no such folder."""
    names = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal() and name == str(int(name)))


def version_labels(folder: Path) -> dict[str, int]:
    """What each label of a model stands for; raises ReleaseError where the file is damaged."""
    file = folder / LABELS_FILE
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ReleaseError(f"{file} cannot be read; kt promote writes it anew once it is removed. ({error})") from None
    if not isinstance(told, dict) or not all(type(version) is int for version in told.values()):
        raise ReleaseError(f'{file} is no object of labels and versions, such as {{"stable": 3}}; remove it.')
    return told
