"""OpenVINO's format, for Intel's processors: pixels in, scores out, labels in a file beside the model."""

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from kt.export.asides import kind_of_artifact
from kt.export.formats.format import (
    THREADS,
    BatchArtifact,
    Details,
    FullFormat,
    Pixels,
    needed,
)
from kt.export.labels import LABELS, from_text, to_text

MODEL = "model.xml"

_FIRST_ANSWER = threading.Lock()


class OpenVino(FullFormat):
    """`<name>_openvino/`: `model.xml`, `model.bin` (weights in float32) and `labels.txt`.

    Input `pixels`, uint8 `[N, H, W, 3]`; output `scores`, float32 `[N, C]`.
    """

    asked = "openvino"
    seen_as = "OpenVINO"
    packages = ("openvino",)

    def file_name(self, name: str) -> str:
        """The name of the folder."""
        return f"{name}_openvino"

    def make(self, model: Any, directory: Path, *, details: Details) -> Path:
        """Write the folder and give its path."""
        import tensorflow as tf

        from kt.base.plain import plain_folder
        from kt.graph.traced import traced

        openvino = self._library()
        function, module = traced(model, batch_size=None, takes=details.kind_for(model).takes, gives=["scores"])
        with plain_folder() as folder:
            tf.saved_model.save(module, str(folder), signatures={"serving_default": function})
            made = openvino.convert_model(str(folder))
        path = directory / self.file_name(details.name)
        path.mkdir(parents=True, exist_ok=True)
        openvino.save_model(made, path / MODEL, compress_to_fp16=False)
        (path / LABELS).write_bytes(to_text(details.classes))
        return path

    def opens(self, path: Path) -> bool:
        """Whether it is a folder with `model.xml`, or that file."""
        return (path / MODEL).is_file() or (path.is_file() and path.name == MODEL)

    def open(self, path: Path, *, threads: int = THREADS) -> BatchArtifact:  # noqa: ARG002
        """Open it on the CPU, in float32, with OpenVINO's default number of threads.

        On a CPU with bfloat16 OpenVINO would by default compute in that, which changes a score by up to 0.01.
        """
        path = path.parent if path.is_file() else path
        library = self._library()
        model = library.Core().read_model(str(path / MODEL))
        compiled = library.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        shape = [None if side.is_dynamic else side.get_length() for side in model.input().get_partial_shape()]
        labels, dtype = path / LABELS, model.input().get_element_type().to_dtype().name
        kind = kind_of_artifact(path, shape, dtype)

        def ask(pixels: Pixels) -> Any:
            # A new request for each call, since one request answers only one thread at a time.
            return compiled.create_infer_request().infer([pixels])[compiled.output()]

        # The first answer is computed here, before other threads may ask: two first answers at the same time deadlock.
        # One thread holds the lock of a static variable in OpenVINO's bindings and waits for Python's lock (GIL), the
        # other the reverse (OpenVINO 2026.4.1).
        with _FIRST_ANSWER:
            ask(np.zeros((1, *kind.shape), kind.dtype))
        classes = from_text(labels.read_bytes()) if labels.is_file() else ()
        return BatchArtifact(path, classes=classes, kind=kind, ask=ask)

    def annotate(self, path: Path, name: str, text: str) -> None:
        """Put a text beside the model."""
        (path / name).write_text(text, encoding="utf-8")

    def _library(self) -> Any:
        """The openvino package without its telemetry; EnvironmentProblem if it is not installed.

        On import and on conversion its tools report to Google Analytics unless the user opted out, from a process that
        they fork while TensorFlow's threads run. If the telemetry package can't be imported, they work without it.
        """
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        return needed("openvino", extra=self.asked)
