"""The kind `pictures`: uint8 `[H, W, 3]`, RGB from 0 to 255, of one size."""

import base64
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kt.kinds.kind import Encoded, Source

if TYPE_CHECKING:
    from kt.kinds.kind import Array, Property
    from kt.kinds.pictures.values import ValueRange

RANGE = "value_range.json"
"""The name of a text that an artefact carries if its pictures have more than 8 bits: a `ValueRange` as JSON."""

JPEG = "data:image/jpeg;base64,"

_THUMBNAIL = 112


@dataclass(frozen=True)
class Pictures:
    """Pictures of one size. image_size: height and width in pixels.

    value_range: the range for pictures with more than 8 bits whose file states none.
    """

    image_size: tuple[int, int]
    value_range: "ValueRange | None" = None

    name = "pictures"
    one = "picture"
    many = "pictures"
    unit = "image"
    file = "photo.jpg"
    takes = "pixels"
    dtype = "uint8"
    asides = (RANGE,)

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width, 3."""
        return (*self.image_size, 3)

    @property
    def fed(self) -> tuple[int, ...]:
        """The same as `shape`: a backbone gets the pixels as numbers from 0 to 255."""
        return self.shape

    def in_words(self) -> str:
        """Height and width."""
        return f"{self.image_size[0]}x{self.image_size[1]} px"

    def to_json(self) -> dict[str, Any]:
        """The size and the value range as plain data."""
        value_range = self.value_range.to_json() if self.value_range else None
        return {"kind": self.name, "image_size": list(self.image_size), "value_range": value_range}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Pictures":
        """The reverse of `to_json`."""
        from kt.kinds.pictures.values import ValueRange

        height, width = told["image_size"]
        return cls((int(height), int(width)), ValueRange.from_json(told["value_range"]))

    @classmethod
    def of_model(cls, shape: tuple[int | None, ...], dtype: str, asides: Mapping[str, str]) -> "Pictures | None":  # noqa: ARG003
        """The kind for a model that takes `[N, H, W, 3]`; None for any other shape.

        The dtype does not matter: int8 and float32 files for phones take pixels too.
        """
        from kt.kinds.pictures.values import ValueRange

        if len(shape) != 4 or shape[3] != 3 or not all(isinstance(side, int) for side in shape[1:3]):
            return None
        try:
            value_range = json.loads(asides.get(RANGE, "null"))
        except ValueError:
            value_range = None
        return cls((int(shape[1] or 0), int(shape[2] or 0)), ValueRange.from_json(value_range))

    def aside(self) -> dict[str, str]:
        """The value range, if there is one."""
        return {RANGE: json.dumps(self.value_range.to_json())} if self.value_range else {}

    def prepared(self, inputs: Any) -> Any:
        """The pixels as float32; any other preprocessing belongs to the weights."""
        import keras

        return keras.ops.cast(inputs, "float32")

    def found(self, paths: Sequence[Path], left: Any = None) -> Iterator[Source]:
        """Each path that is no folder, whatever it is, and each folder's pictures."""
        from kt.kinds.pictures.find import pictures_in

        for file in pictures_in(paths, left):
            yield Source(file, file)

    def read(self, given: Any) -> "Array":
        """Decode and resize a picture to uint8 `[H, W, 3]`. given: a file, or its bytes."""
        from kt.kinds.pictures.images import read_rgb, resize

        return resize(read_rgb(given, value_range=self.value_range), self.image_size)

    @property
    def encoded(self) -> "Encoded | None":
        """Servers take pictures as the bytes of a file: JPEG, PNG, and all other formats that kt reads."""
        return EncodedPictures(self)

    def pack(self, examples: "Array") -> "dict[str, Array]":
        """The pictures as PNG files, one after the other, and the size of each in bytes."""
        import numpy as np

        from kt.kinds.pictures.images import encode_png

        files = [encode_png(pixels) for pixels in examples]
        return {
            "png": np.frombuffer(b"".join(files), np.uint8),
            "bytes": np.array([len(file) for file in files], np.int64),
        }

    def unpack(self, arrays: "Mapping[str, Array]") -> "Array":
        """The reverse of `pack`."""
        import numpy as np

        from kt.kinds.pictures.images import read_rgb

        ends = np.cumsum(arrays["bytes"])
        files = [arrays["png"][end - length : end].tobytes() for end, length in zip(ends, arrays["bytes"], strict=True)]
        return np.stack([read_rgb(file) for file in files])

    def shown(self, example: "Array") -> str:
        """A thumbnail as a `data:` URL, small enough for dozens of them on a page."""
        import numpy as np
        from PIL import Image

        picture = Image.fromarray(np.ascontiguousarray(example))
        picture.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=80)
        return JPEG + base64.b64encode(buffer.getvalue()).decode("ascii")

    def properties(self, examples: "Array", sizes: "Array | None" = None) -> "tuple[Property, ...]":
        """Light, contrast, colour and sharpness as the model sees them, and size and shape of the original."""
        from kt.kinds.pictures.properties import properties

        return properties(examples, sizes)


@dataclass(frozen=True)
class EncodedPictures:
    """Pictures as the bytes of their files, which a SavedModel decodes bit for bit as kt does."""

    kind: Pictures

    takes = "image_bytes"

    def bytes_of(self, given: Any) -> bytes:
        """The file's own bytes if TensorFlow decodes them as kt does, else a PNG of the decoded picture."""
        from kt.kinds.pictures.images import servable_bytes

        return servable_bytes(given, value_range=self.kind.value_range)

    def of_example(self, example: "Array") -> bytes:
        """The example as the bytes of a PNG."""
        from kt.kinds.pictures.images import encode_png

        return encode_png(example)

    def in_graph(self, encoded: Any) -> Any:
        """Decode and resize one picture by TensorFlow operations."""
        from kt.kinds.pictures.images import decode_in_graph, resize_in_graph

        return resize_in_graph(decode_in_graph(encoded), self.kind.image_size)

    def warm_up(self) -> Sequence[bytes]:
        """A smooth picture as JPEG and as PNG, so that the decoders have something to do."""
        import numpy as np
        from PIL import Image

        width, height = 320, 240
        y, x = np.mgrid[0:height, 0:width]
        levels = np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1).astype(np.uint8)
        buffers = {name: io.BytesIO() for name in ("JPEG", "PNG")}
        for name, buffer in buffers.items():
            Image.fromarray(levels).save(buffer, name)
        return [buffer.getvalue() for buffer in buffers.values()]
