"""ONNX files, by tf2onnx: pixels in, scores out, labels in the file's properties."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from kt.export.labels import LABELS, to_text

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

        (tensor,) = model.inputs
        signature = [tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype, name="pixels")]
        function = tf.function(lambda pixels: {"scores": model(pixels, training=False)}, input_signature=signature)
        made, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
        for end, width in ((made.graph.input[0], None), (made.graph.output[0], len(self.classes))):
            end.type.tensor_type.shape.dim[0].dim_param = "N"  # tf2onnx numbers what it doesn't know
            if width is not None:
                end.type.tensor_type.shape.dim[1].dim_value = width
        onnx.helper.set_model_props(made, {LABELS: to_text(self.classes).decode()})
        path = directory / f"{self.name}.onnx"
        onnx.save(made, path)
        return path
