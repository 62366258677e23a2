"""TFLite Metadata: a model's description inside its file, for MediaPipe Tasks, ML Kit and Android's model binding.

The description is a FlatBuffers buffer in the model; the labels are a zip behind the model, which interpreters ignore.
No maintained package writes it: tflite-support is gone, and MediaPipe 1.2's own writer lacks a compiled part. So the
tables are written here after version 1.5.0 of the published schema (metadata_schema.fbs, identifier M001), and the
tests read the result with MediaPipe's reader of that schema.
"""

import enum
import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from flatbuffers.number_types import Float32Flags, Int8Flags, Uint32Flags  # type: ignore[import-untyped]
from flatbuffers.table import Table  # type: ignore[import-untyped]

from kt.export.about import About
from kt.export.labels import LABELS, to_text
from kt.familiar import UNFAMILIAR, UNFAMILIARITY
from kt.kinds.kind import Kind
from kt.kinds.pictures.kind import Pictures

UNRELEASED = "not released yet"
"""The version text of a file before `stamp` writes one; its length is the room for the version."""

_HEAD = "unfamiliar.txt"
"""The file in the zip with the name of the second output's one class."""

_LIMIT = "unfamiliar.json"
"""The file in the zip with the threshold, for those who don't read the metadata."""

_NAME = b"TFLITE_METADATA"
_IDENTIFIER = b"M001"
_PARSER = "1.0.0"  # the oldest reader that knows every field written here

_FIELDS = {
    "ModelMetadata": (
        *("name", "description", "version", "subgraph_metadata"),
        *("author", "license", "associated_files", "min_parser_version"),
    ),
    "SubGraphMetadata": ("name", "description", "input_tensor_metadata", "output_tensor_metadata"),
    "TensorMetadata": (
        *("name", "description", "dimension_names", "content"),
        *("process_units", "stats", "associated_files"),
    ),
    "Content": ("content_properties_type", "content_properties", "range"),
    "FeatureProperties": (),
    "ImageProperties": ("color_space", "default_size"),
    "ImageSize": ("width", "height"),
    "ProcessUnit": ("options_type", "options"),
    "NormalizationOptions": ("mean", "std"),
    "ScoreThresholdingOptions": ("global_score_threshold",),
    "Stats": ("max", "min"),
    "AssociatedFile": ("name", "description", "type", "locale", "version"),
}
"""The schema's tables that are used, each with its fields in the schema's order; unused last fields are left out."""


class _Kind(enum.IntEnum):
    """The schema's enumerations, one byte each; the type of a union's content is such a byte too."""

    AXIS_LABELS = 2  # AssociatedFileType: a name a line, one for each score
    RGB = 1  # ColorSpaceType
    FEATURE, IMAGE = 1, 2  # ContentProperties
    NORMALIZATION, THRESHOLDING = 1, 3  # ProcessUnitOptions


@dataclass(frozen=True)
class _Filled:
    """One table of the schema with its fields' values; None and empty text are left out of the file."""

    table: str
    values: dict[str, Any]


def embed(
    content: bytes,
    *,
    name: str,
    classes: tuple[str, ...],
    kind: Kind,
    about: About | None = None,
    limit: float | None = None,
) -> bytes:
    """The same model with its metadata and its labels: `unzip -p model.tflite labels.txt` gives them, one a line.

    content: a model that takes one picture, RGB in 0 to 255, and gives a score for each class; with a limit it also
    gives unfamiliarity, and above the limit a picture is unfamiliar. Class names in other languages are added to the
    zip, such as `labels_de.txt`. Raises ReleaseError if they don't fit the classes.
    """
    about = about or About()
    about.check(classes)
    files: dict[str | None, str] = {None: LABELS, **{locale: f"labels_{locale}.txt" for locale in about.translations}}
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    described = _model(name, about=about, kind=kind, files=files, limit=limit)
    buffer.data = np.frombuffer(_written(described), np.uint8)
    entry.name, entry.buffer = _NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or ()), entry]
    file = io.BytesIO(flatbuffer_utils.convert_object_to_bytearray(model))
    with zipfile.ZipFile(file, mode="a") as archive:  # stored, not compressed: readers on phones expect that
        for locale, inside in files.items():
            names = classes if locale is None else about.translations[locale]
            archive.writestr(zipfile.ZipInfo(inside, date_time=(1980, 1, 1, 0, 0, 0)), to_text(names))
        if limit is not None:
            archive.writestr(zipfile.ZipInfo(_HEAD, date_time=(1980, 1, 1, 0, 0, 0)), to_text((UNFAMILIAR,)))
            threshold = json.dumps({"threshold": float(np.float32(limit))})
            archive.writestr(zipfile.ZipInfo(_LIMIT, date_time=(1980, 1, 1, 0, 0, 0)), threshold)
    return file.getvalue()


def limit_in(file: Path) -> float | None:
    """The limit above which a file's second output means unfamiliar, a float32; None if `embed` put none there."""
    try:
        with zipfile.ZipFile(file) as archive:
            limit = np.float32(json.loads(archive.read(_LIMIT))["threshold"])
            return float(limit) if np.isfinite(limit) else None
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError):
        return None


def stamp(file: Path, version: int) -> None:
    """Write a release's version into a file made by `embed`, in place: nothing else moves. Other files don't change."""
    content = bytearray(file.read_bytes())
    data = _description_in(content)
    if data is None or (place := _room_for_version(data)) is None:
        return
    text = str(version).encode()
    whole = len(text).to_bytes(4, "little") + text + b"\0"  # a string in FlatBuffers' format
    data[place : place + len(whole)] = np.frombuffer(whole, np.uint8)
    file.write_bytes(content)


# ------------------------------------------------------------------------------------------------------ the description


def _model(name: str, *, about: About, kind: Kind, files: dict[str | None, str], limit: float | None) -> _Filled:
    graph = _Filled(
        "SubGraphMetadata",
        {
            "input_tensor_metadata": [_pixels(kind) if isinstance(kind, Pictures) else _features(kind)],
            "output_tensor_metadata": [
                _scores(about, files),
                *([] if limit is None else [_unfamiliarity(kind, limit)]),
            ],
        },
    )
    return _Filled(
        "ModelMetadata",
        {
            "name": name,
            "description": about.description,
            "version": UNRELEASED,
            "subgraph_metadata": [graph],
            "author": about.author,
            "license": about.license,
            "min_parser_version": _PARSER,
        },
    )


def _features(kind: Kind) -> _Filled:
    return _Filled(
        "TensorMetadata",
        {
            "name": kind.takes,
            "description": f"One of the {kind.many}: {kind.in_words()}.",
            "content": _Filled(
                "Content",
                {"content_properties_type": _Kind.FEATURE, "content_properties": _Filled("FeatureProperties", {})},
            ),
        },
    )


def _pixels(kind: Pictures) -> _Filled:
    height, width = kind.image_size
    size = _Filled("ImageSize", {"width": width, "height": height})
    image = _Filled("ImageProperties", {"color_space": _Kind.RGB, "default_size": size})
    # (pixel - 0) / 1, since preprocessing is inside the model. Readers demand the entry for float inputs. For uint8
    # inputs readers may skip it, but without it model binding would take its own default.
    unchanged = _Filled("NormalizationOptions", {"mean": [0.0], "std": [1.0]})
    return _Filled(
        "TensorMetadata",
        {
            "name": "pixels",
            "description": f"A picture in RGB, {width} wide and {height} high, with levels from 0 to 255.",
            "content": _Filled("Content", {"content_properties_type": _Kind.IMAGE, "content_properties": image}),
            "process_units": [
                _Filled("ProcessUnit", {"options_type": _Kind.NORMALIZATION, "options": unchanged}),
            ],
            "stats": _Filled("Stats", {"max": [255.0], "min": [0.0]}),
        },
    )


def _scores(about: About, files: dict[str | None, str]) -> _Filled:
    feature = _Filled("FeatureProperties", {})
    threshold = _Filled("ScoreThresholdingOptions", {"global_score_threshold": about.score_threshold})
    labels = [
        _Filled(
            "AssociatedFile",
            {
                "name": inside,
                "description": "The name of each class, one a line, in the order of the scores.",
                "type": _Kind.AXIS_LABELS,
                "locale": locale,
            },
        )
        for locale, inside in files.items()
    ]
    return _Filled(
        "TensorMetadata",
        {
            "name": "scores",
            "description": "How sure the model is of each class, from 0 to 1.",
            "content": _Filled("Content", {"content_properties_type": _Kind.FEATURE, "content_properties": feature}),
            "process_units": None
            if about.score_threshold is None
            else [_Filled("ProcessUnit", {"options_type": _Kind.THRESHOLDING, "options": threshold})],
            "stats": _Filled("Stats", {"max": [1.0], "min": [0.0]}),
            "associated_files": labels,
        },
    )


def _unfamiliarity(kind: Kind, limit: float) -> _Filled:
    """A second head, as clients that read several see it: of one class, which is left out if not above the limit."""
    # Clients leave out what is below the threshold, so it is the next number above the limit.
    threshold = float(np.nextafter(np.float32(limit), np.float32(np.inf)))
    options = _Filled("ScoreThresholdingOptions", {"global_score_threshold": threshold})
    label = {"name": _HEAD, "description": "The name of the one class.", "type": _Kind.AXIS_LABELS}
    feature = _Filled("FeatureProperties", {})
    return _Filled(
        "TensorMetadata",
        {
            "name": UNFAMILIARITY,
            "description": f"How far the {kind.one} is from anything that the model learned from, from 0 to 2. Above "
            f"{limit:.6g} it is unfamiliar, and its scores can't be trusted.",
            "content": _Filled("Content", {"content_properties_type": _Kind.FEATURE, "content_properties": feature}),
            "process_units": [_Filled("ProcessUnit", {"options_type": _Kind.THRESHOLDING, "options": options})],
            "stats": _Filled("Stats", {"max": [2.0], "min": [0.0]}),
            "associated_files": [_Filled("AssociatedFile", label)],
        },
    )


# -------------------------------------------------------------------------------------------------- written and read


def _written(filled: _Filled) -> bytes:
    builder = flatbuffers.Builder()
    builder.Finish(_table(builder, filled), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _table(builder: Any, filled: _Filled) -> int:
    """Write a table and give its offset; values outside of the table (text, lists, other tables) are written before."""
    kept = {name: value for name, value in filled.values.items() if value is not None and value != ""}
    placed = {
        name: value if isinstance(value, int | float) else _outside(builder, value) for name, value in kept.items()
    }
    fields = _FIELDS[filled.table]
    builder.StartObject(len(fields))
    for name, value in placed.items():
        slot = fields.index(name)
        if not isinstance(kept[name], int | float):
            builder.PrependUOffsetTRelativeSlot(slot, value, 0)
        else:
            flags = Float32Flags if isinstance(value, float) else Int8Flags if isinstance(value, _Kind) else Uint32Flags
            builder.PrependSlot(flags, slot, value, 0)
    return int(builder.EndObject())


def _outside(builder: Any, value: Any) -> int:
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, _Filled):
        return _table(builder, value)
    if isinstance(value[0], float):
        return int(builder.CreateNumpyVector(np.array(value, np.float32)))
    places = [_table(builder, item) for item in value]
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):  # a buffer is written from its end
        builder.PrependUOffsetTRelative(place)
    return int(builder.EndVector())


def _description_in(content: bytearray) -> Any:
    """The metadata's bytes as a view into the model's; None if it has no metadata of this schema."""
    model = schema.Model.GetRootAs(content)
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == _NAME:
            data = model.Buffers(entry.Buffer()).DataAsNumpy()
            return data if bytes(data[4:8]) == _IDENTIFIER else None
    return None


def _room_for_version(data: Any) -> int | None:
    """The offset of the version's text in the metadata, length field first; None if `embed` left no room for it.

    After a text that `stamp` wrote, the rest of UNRELEASED remains, by which the place is recognised and can be
    overwritten again.
    """
    root = Table(data, int.from_bytes(bytes(data[:4]), "little"))
    field = root.Offset(4 + 2 * _FIELDS["ModelMetadata"].index("version"))
    if not field:
        return None
    place = int(root.Indirect(root.Pos + field))
    length, room = int.from_bytes(bytes(data[place : place + 4]), "little"), UNRELEASED.encode()
    content = bytes(data[place + 4 : place + 4 + len(room)])
    stamped = content[:length].isdigit() and length < len(room) - 1 and content[length + 1 :] == room[length + 1 :]
    return place if stamped or content == room else None
