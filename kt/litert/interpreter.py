"""Opening a TFLite file by LiteRT's own package, which loads quickly and needs no TensorFlow."""

import mmap
import struct
from pathlib import Path
from typing import Any

from ai_edge_litert.interpreter import Interpreter, OpResolverType
from ai_edge_litert.tools import flatbuffer_utils

from kt.base.console import quiet


def opened(model: Path | bytes, *, threads: int, xnnpack: bool = True) -> Any:
    """An interpreter of a TFLite file, or of its content, with its tensors allocated.

    xnnpack: whether XNNPACK computes the layers that it supports, as is usual. Raises ValueError or RuntimeError for a
    damaged file.
    """
    if isinstance(model, Path):
        _read_through(model)
    given = {"model_path": str(model)} if isinstance(model, Path) else {"model_content": model}
    kernels = OpResolverType.AUTO if xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with quiet():  # XNNPACK prints that it is used
        interpreter = Interpreter(**given, num_threads=threads, experimental_op_resolver_type=kernels)
        interpreter.allocate_tensors()
    return interpreter


def _read_through(file: Path) -> None:
    """Raise ValueError for a truncated file: the interpreter would read past its end and crash."""
    try:
        with file.open("rb") as opened_file:
            content = mmap.mmap(opened_file.fileno(), 0, access=mmap.ACCESS_READ)
        flatbuffer_utils.convert_bytearray_to_object(content)
    except (struct.error, ValueError, IndexError):
        raise ValueError("it is cut short, or no TFLite model") from None
