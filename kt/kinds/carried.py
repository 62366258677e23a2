"""The small text files that an artefact carries beside the model."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

ASIDE = "assets.extra"
"""The folder of a SavedModel for extra files, which TensorFlow does not read."""


def carried(path: Path, names: Sequence[str]) -> dict[str, str]:
    """The texts with these names in an artefact, by name. path: its file or folder.

    A text that is missing or can't be read is left out.
    """
    texts: dict[str, str] = {}
    for name in names:
        try:
            if path.is_dir():
                file = next(file for file in (path / ASIDE / name, path / name) if file.is_file())
                texts[name] = file.read_text(encoding="utf-8")
            else:
                with zipfile.ZipFile(path) as archive:
                    texts[name] = archive.read(name).decode()
        except (OSError, ValueError, KeyError, StopIteration, zipfile.BadZipFile):
            continue
    return texts
