"""The trained model as a `.keras` file with its labels, for Keras on any backend."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kt.export.labels import LABELS, to_text


@dataclass(frozen=True)
class KerasFile:
    """Exporter: writes `directory/<name>.keras`; Keras ignores the labels in it, `unzip -p` shows them."""

    classes: tuple[str, ...]
    name: str

    def __call__(self, model: Any, directory: Path) -> Path:
        """Write the file and give its path."""
        path = directory / f"{self.name}.keras"
        model.save(path)
        with zipfile.ZipFile(path, mode="a") as archive:
            archive.writestr(zipfile.ZipInfo(LABELS, date_time=(1980, 1, 1, 0, 0, 0)), to_text(self.classes))
        return path
