"""The export formats, one file each: how an artefact is made, recognised and opened, and what else is special to it.

Importing this package loads neither TensorFlow nor Keras nor any format's runtime: each is loaded when it is needed.
"""

from pathlib import Path

from kt.errors import ReleaseError, did_you_mean
from kt.export.formats.format import Artifact, Details, FullFormat
from kt.export.formats.keras_file import KerasFile
from kt.export.formats.onnx import Onnx
from kt.export.formats.openvino import OpenVino
from kt.export.formats.saved_model import SavedModel
from kt.export.formats.tflite import variants

FORMATS: tuple[FullFormat, ...] = (SavedModel(), *variants(), Onnx(), OpenVino(), KerasFile())
"""kt's own formats. If a folder holds several, the first in this order is opened."""

NAMES = tuple(dict.fromkeys(kind.asked for kind in FORMATS))
"""The names that a recipe's `export` can list; "tflite" makes three files: float32, float16 and int8."""

__all__ = ["FORMATS", "NAMES", "Artifact", "Details", "FullFormat", "format_of", "named", "place"]


def named(asked: str) -> tuple[FullFormat, ...]:
    """The formats that a name in a recipe stands for. Raises ReleaseError for an unknown name."""
    kinds = tuple(kind for kind in FORMATS if kind.asked == asked)
    if not kinds:
        raise ReleaseError(f"Cannot export to {asked!r}. {did_you_mean(asked, NAMES)}")
    return kinds


def format_of(path: Path) -> FullFormat | None:
    """The format that opens a file or folder; None if kt has none for it."""
    return next((kind for kind in FORMATS if kind.opens(path)), None)


def place(folder: Path, name: str, *, format_name: str) -> Path:
    """Where an artefact called `name` lies in a version's folder; format_name: its `format` in `report.json`."""
    at_root = any(kind.at_root for kind in FORMATS if kind.name == format_name)
    return folder if at_root else folder / name
