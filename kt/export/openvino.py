"""OpenVINO's format, for Intel's processors: pixels in, scores out, labels beside."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from kt.export.labels import LABELS, to_text
from kt.export.runtimes import openvino_without_telemetry
from kt.plain import plain_folder
from kt.traced import traced

MODEL = "model.xml"


@dataclass(frozen=True)
class OpenVino:
    """Exporter: writes `directory/<name>_openvino/`: `model.xml`, `model.bin` (weights in float32) and `labels.txt`.

    Input `pixels`, uint8 `[N, H, W, 3]`; output `scores`, float32 `[N, C]`.
    """

    classes: tuple[str, ...]
    name: str

    def __call__(self, model: Any, directory: Path) -> Path:
        """Write the folder for a model of uint8 `[N, H, W, 3]` to scores `[N, C]` and give its path."""
        openvino = openvino_without_telemetry()
        function, module = traced(model, batch_size=None, takes="pixels", gives=["scores"])
        with plain_folder() as folder:
            tf.saved_model.save(module, str(folder), signatures={"serving_default": function})
            made = openvino.convert_model(str(folder))
        path = directory / f"{self.name}_openvino"
        path.mkdir(parents=True, exist_ok=True)
        openvino.save_model(made, path / MODEL, compress_to_fp16=False)
        (path / LABELS).write_bytes(to_text(self.classes))
        return path
