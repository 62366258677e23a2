"""The trained model as a `.keras` file with its labels, for Keras on any backend."""

import zipfile
from pathlib import Path
from typing import Any

from kt.export.asides import kind_of_artifact
from kt.export.formats.format import THREADS, BatchArtifact, Details, FullFormat, add_to_zip
from kt.export.labels import LABELS, from_text, to_text


class KerasFile(FullFormat):
    """`<name>.keras`; Keras ignores the labels in it, `unzip -p` shows them."""

    asked = "keras"
    seen_as = ".keras"

    def file_name(self, name: str) -> str:
        """The name of the file."""
        return f"{name}.keras"

    def make(self, model: Any, directory: Path, *, details: Details) -> Path:
        """Write the file and give its path."""
        path = directory / self.file_name(details.name)
        model.save(path)
        add_to_zip(path, LABELS, to_text(details.classes))
        return path

    def opens(self, path: Path) -> bool:
        """Whether it is a `.keras` file, by its suffix."""
        return path.is_file() and path.suffix == ".keras"

    def open(self, path: Path, *, threads: int = THREADS) -> BatchArtifact:  # noqa: ARG002
        """Open it under the current backend; of its content only layers that are registered here are executed."""
        import keras

        model = keras.saving.load_model(path, compile=False, safe_mode=True)
        with zipfile.ZipFile(path) as archive:
            classes = from_text(archive.read(LABELS)) if LABELS in archive.namelist() else ()
        return BatchArtifact(
            path,
            classes=classes,
            kind=kind_of_artifact(path, model.input_shape, str(model.inputs[0].dtype)),
            ask=lambda pixels: keras.ops.convert_to_numpy(model(pixels, training=False)),
        )

    def annotate(self, path: Path, name: str, text: str) -> None:
        """Put a text into the file, which is a zip."""
        add_to_zip(path, name, text)
