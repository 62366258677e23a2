"""TFLite Metadata: tells tools on phones that the input is an RGB picture, and which labels the scores have.

The tables follow version 1.1.0 of the published schema (tensorflow/tflite-support, metadata_schema.fbs, identifier
M001): the description goes into the model as a buffer, the labels behind it as a zip, which interpreters ignore.
"""

import io
import zipfile
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.tools import flatbuffer_utils

from kt.export.labels import LABELS, to_text

_AXIS_LABELS = 2  # AssociatedFileType: one line for each score
_IMAGE = 2  # ContentProperties: ImageProperties
_RGB = 1  # ColorSpaceType


def embed(content: bytes, *, name: str, classes: tuple[str, ...]) -> bytes:
    """The same model with its labels: `unzip -p model.tflite labels.txt` gives them, one a line."""
    model = flatbuffer_utils.convert_bytearray_to_object(content)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(_description(name), np.uint8)
    entry.name, entry.buffer = b"TFLITE_METADATA", len(model.buffers)
    model.buffers.append(buffer)
    model.metadata.append(entry)
    file = io.BytesIO(flatbuffer_utils.convert_object_to_bytearray(model))
    with zipfile.ZipFile(file, mode="a") as archive:  # stored, not compressed: readers on phones expect that
        archive.writestr(zipfile.ZipInfo(LABELS, date_time=(1980, 1, 1, 0, 0, 0)), to_text(classes))
    return file.getvalue()


def _description(name: str) -> bytes:
    builder = flatbuffers.Builder()
    file = _table(builder, fields=5, offsets={0: builder.CreateString(LABELS)}, numbers={2: _AXIS_LABELS})
    image = _table(builder, fields=2, numbers={0: _RGB})
    content = _table(builder, fields=3, offsets={1: image}, numbers={0: _IMAGE})
    pixels = _table(builder, fields=7, offsets={0: builder.CreateString("pixels"), 3: content})
    scores = _table(builder, fields=7, offsets={0: builder.CreateString("scores"), 6: _list(builder, file)})
    graph = _table(builder, fields=7, offsets={2: _list(builder, pixels), 3: _list(builder, scores)})
    model = _table(builder, fields=8, offsets={0: builder.CreateString(name), 3: _list(builder, graph)})
    builder.Finish(model, file_identifier=b"M001")
    return bytes(builder.Output())


def _table(
    builder: Any, *, fields: int, offsets: dict[int, int] | None = None, numbers: dict[int, int] | None = None
) -> int:
    """One table with `fields` in its schema: strings, lists and tables by their offsets, enumerations by number."""
    builder.StartObject(fields)
    for field, offset in (offsets or {}).items():
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    for field, number in (numbers or {}).items():
        builder.PrependUint8Slot(field, number, 0)
    return int(builder.EndObject())


def _list(builder: Any, item: int) -> int:
    """A list of one table."""
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(item)
    return int(builder.EndVector())
