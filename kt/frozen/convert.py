"""The child process that converts a frozen model for LiteRT: `python -m kt.frozen.convert MODEL PROBE TFLITE`."""

import sys
from pathlib import Path

import keras
import numpy as np

from kt.base import backend
from kt.base.plain import use_plain_temporary_folder
from kt.errors import one_line
from kt.frozen.encode import convert


def main(model: Path, probe: Path, out: Path) -> None:
    """Read the `.keras` file and the inputs to check the conversion on, and write the TFLite file."""
    backend.settle()
    use_plain_temporary_folder()
    frozen = keras.saving.load_model(model, compile=False)  # safe mode: no code comes out of the file
    out.write_bytes(convert(frozen, np.load(probe)))


if __name__ == "__main__":
    try:
        main(*map(Path, sys.argv[1:]))
    except Exception as error:  # noqa: BLE001 - the parent shows the last line and uses the slower backend
        sys.exit(one_line(error))
