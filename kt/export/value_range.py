"""The range by which pictures of more than 8 bits are read, kept in each artefact: it belongs to the model."""

import json
import zipfile
from pathlib import Path

from kt.data.values import ValueRange
from kt.files import read_json

FILE = "value_range.json"
"""The name under which an artefact carries it: two numbers, what is black and what is white."""

_EXTRA = Path("assets.extra")  # of a SavedModel, where TensorFlow looks for nothing
_ZIPPED = (".tflite", ".keras")


def keep(path: Path, value_range: ValueRange | None) -> None:
    """Write the range into an artefact, if there is one. Files that kt can't add to stay without."""
    if value_range is None or not path.exists():
        return
    text = json.dumps(value_range.to_json())
    if path.is_dir():
        folder = path / _EXTRA if (path / "saved_model.pb").is_file() else path
        folder.mkdir(exist_ok=True)
        (folder / FILE).write_text(text, encoding="utf-8")
    elif path.suffix in _ZIPPED:
        with zipfile.ZipFile(path, mode="a") as archive:
            archive.writestr(zipfile.ZipInfo(FILE, date_time=(1980, 1, 1, 0, 0, 0)), text)
    elif path.suffix == ".onnx":
        import onnx

        model = onnx.load(str(path))
        onnx.helper.set_model_props(model, {**{one.key: one.value for one in model.metadata_props}, FILE: text})
        onnx.save(model, str(path))


def kept(path: Path) -> ValueRange | None:
    """The range that an artefact carries, else what `kt.json` beside it says; None where pictures had 8 bits."""
    return _inside(path) or _on_card(path if path.is_dir() else path.parent)


def _inside(path: Path) -> ValueRange | None:
    try:
        if path.is_dir():
            files = [path / _EXTRA / FILE, path / FILE]
            found = next((file.read_text(encoding="utf-8") for file in files if file.is_file()), "null")
        elif path.suffix in _ZIPPED:
            with zipfile.ZipFile(path) as archive:
                found = archive.read(FILE).decode()
        else:
            return None
        return ValueRange.from_json(json.loads(found))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _on_card(folder: Path) -> ValueRange | None:
    try:
        card = read_json(folder / "kt.json")
    except (OSError, ValueError):  # `kt models` and `kt serve` name a damaged card
        return None
    return ValueRange.from_json(card.get("value_range")) if isinstance(card, dict) else None
