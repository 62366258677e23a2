"""ONNX files, by tf2onnx: pixels in, scores out, labels in the file's properties."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kt.export.labels import LABELS, to_text
from kt.traced import traced

OPSET = 17
"""The version of ONNX's operators: what ONNX Runtime has known since 1.12 (2022)."""


@dataclass(frozen=True)
class Onnx:
    """Exporter: writes `directory/<name>.onnx`, for any number of pictures a call.

    Input `pixels`, uint8 `[N, H, W, 3]`; output `scores`, float32 `[N, C]`; the property `labels.txt` has the classes.
    """

    classes: tuple[str, ...]
    name: str

    def __call__(self, model: Any, directory: Path) -> Path:
        """Write the file for a model of uint8 `[N, H, W, 3]` to scores `[N, C]` and give its path."""
        import onnx
        import tf2onnx

        function, _ = traced(model, batch_size=None, takes="pixels", gives=["scores"])
        made, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=OPSET)
        pixels, scores = (end.type.tensor_type.shape.dim for end in (made.graph.input[0], made.graph.output[0]))
        pixels[0].dim_param = scores[0].dim_param = "N"  # tf2onnx numbers what it doesn't know
        scores[1].dim_value = len(self.classes)
        onnx.helper.set_model_props(made, {LABELS: to_text(self.classes).decode()})
        path = directory / f"{self.name}.onnx"
        onnx.save(made, path)
        return path
