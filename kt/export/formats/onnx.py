"""ONNX files, made by tf2onnx and run by ONNX Runtime: pixels in, scores out, labels in the file's properties."""

from pathlib import Path
from typing import Any

from kt.export.asides import kind_of_artifact
from kt.export.formats.format import (
    THREADS,
    BatchArtifact,
    Details,
    FullFormat,
    needed,
)
from kt.export.labels import LABELS, from_text, to_text

OPSET = 17
"""The version of ONNX's operators; ONNX Runtime supports it since 1.12 (2022)."""


_DTYPES = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


class Onnx(FullFormat):
    """`<name>.onnx`, for any number of pictures a call.

    Input `pixels`, uint8 `[N, H, W, 3]`; output `scores`, float32 `[N, C]`; the property `labels.txt` has the classes.
    """

    asked = "onnx"
    seen_as = ".onnx"
    packages = ("tf2onnx", "onnxruntime")

    def file_name(self, name: str) -> str:
        """The name of the file."""
        return f"{name}.onnx"

    def make(self, model: Any, directory: Path, *, details: Details) -> Path:
        """Write the file and give its path."""
        import onnx
        import tf2onnx

        from kt.graph.traced import traced

        function, _ = traced(model, batch_size=None, takes=details.kind_for(model).takes, gives=["scores"])
        made, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=OPSET)
        pixels, scores = (end.type.tensor_type.shape.dim for end in (made.graph.input[0], made.graph.output[0]))
        pixels[0].dim_param = scores[0].dim_param = "N"  # tf2onnx gives unknown dimensions a number as name
        scores[1].dim_value = len(details.classes)
        onnx.helper.set_model_props(made, {LABELS: to_text(details.classes).decode()})
        path = directory / self.file_name(details.name)
        onnx.save(made, path)
        return path

    def opens(self, path: Path) -> bool:
        """Whether it is an ONNX file, by its suffix."""
        return path.is_file() and path.suffix == ".onnx"

    def open(self, path: Path, *, threads: int = THREADS) -> BatchArtifact:  # noqa: ARG002
        """Open it on the CPU, with ONNX Runtime's default number of threads."""
        runtime = needed("onnxruntime", extra=self.asked)
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        session = runtime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
        (given,), (answer,) = session.get_inputs(), session.get_outputs()
        texts = session.get_modelmeta().custom_metadata_map
        return BatchArtifact(
            path,
            classes=from_text(texts.get(LABELS, "").encode()),
            kind=kind_of_artifact(path, given.shape, _DTYPES.get(given.type, given.type), told=texts),
            ask=lambda pixels: session.run([answer.name], {given.name: pixels})[0],
        )

    def annotate(self, path: Path, name: str, text: str) -> None:
        """Put a text among the file's properties."""
        import onnx

        model = onnx.load(str(path))
        onnx.helper.set_model_props(model, {**{entry.key: entry.value for entry in model.metadata_props}, name: text})
        onnx.save(model, str(path))
