"""How frozen layers are computed: by LiteRT on a CPU where converting pays, else by the backend that trains."""

import subprocess
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kt.backbones.fetch import sha256_of
from kt.base.backend import accelerated, child_environment
from kt.base.cache import cache_home
from kt.base.console import quiet, say, warn
from kt.base.environment import cores
from kt.base.scratch import WORK, scratch
from kt.errors import EnvironmentProblem, one_line
from kt.frozen.fingerprint import fingerprint
from kt.graph import is_functional, leaves, nodes
from kt.graph.traced import in_inference
from kt.litert import converter, interpreter

Array = npt.NDArray[Any]
Inputs = Array | tuple[Array, ...]
"""What a model takes: an array `[B, ...]`, or one for each of its inputs."""

Encode = Callable[[Inputs], list[npt.NDArray[np.float32]]]
"""A function from inputs, B up to `BATCH`, to the activations `[B, D]` of each output."""

BATCH = 32
_LITERT_BATCH = 8
_PART = ".part-"
_THREADS = 8  # a batch of eight gives more threads nothing to do

TOLERANCE = 1e-4
"""The largest accepted difference from Keras; relative to the largest output where that is over 1."""

_SAVED = {"tensorflow": 3e-9, "jax": 2e-9, "torch": 1.2e-9}
"""Seconds that LiteRT saves per picture and per output number of the layers, by backend (measured on 2 cores).

For TensorFlow only depthwise convolutions count: it computes other layers as fast as LiteRT, or faster.
"""

_DEPTHWISE = (keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)

_CHILD = 8.0
"""Seconds that a process takes to load TensorFlow and a model."""

T = TypeVar("T")
R = TypeVar("R")


def encoder_for(model: Any, *, pictures: int, probe: Inputs) -> tuple[Encode, str]:
    """The fastest way to compute a frozen model for this number of pictures, and its name.

    probe: the first inputs, on which a newly converted model is compared with Keras. A converted model is kept in the
    cache. A model whose outputs differ by more than `TOLERANCE` is not used, and a warning says so.
    """
    backend = str(keras.backend.backend())
    name = _name(model)
    if name is None:
        return by_backend(model), backend
    try:
        folder = _folder()
        file = _kept(folder, name)
        if file is None and _pays(model, pictures=pictures, backend=backend):
            assert not isinstance(probe, tuple)
            file = _keep(_converted(model, probe[:_LITERT_BATCH], backend=backend), folder, name)
        return (by_backend(model), backend) if file is None else (_by_litert(file), "LiteRT")
    except (_NoLiteRT, OSError, EnvironmentProblem) as error:
        warn(f"frozen layers are computed by {backend}, not by the faster LiteRT: {error}")
        return by_backend(model), backend


def kept_encoder(model: Any) -> Encode | None:
    """The model by LiteRT if it was converted and compared with Keras before; else None."""
    name = _name(model)
    try:
        file = None if name is None else _kept(_folder(), name)
        return None if file is None else _by_litert(file)
    except (_NoLiteRT, OSError, EnvironmentProblem):
        return None


def _name(model: Any) -> str | None:
    """The name of the converted model in the cache; None where LiteRT can't or should not compute it."""
    if (
        len(model.inputs) > 1
        or accelerated()
        or any(leaf.compute_dtype not in ("float32", "uint8") for leaf in leaves(model))
    ):
        return None
    computed = fingerprint(model)
    return None if computed is None else f"{computed}-{_LITERT_BATCH}"


def _folder() -> Path:
    return cache_home() / "encoders"


class _NoLiteRT(Exception):  # noqa: N818
    """Why a model can't be computed by LiteRT."""


def _pays(model: Any, *, pictures: int, backend: str) -> bool:
    """Whether converting costs less than it saves.

    Estimated from the model and not measured, so that the same job takes the same path each time.
    """
    size = sum(int(np.prod(weight.shape)) for weight in model.weights)
    called, numbers, depthwise = _counted(model)
    if backend == "tensorflow":
        return pictures * depthwise * _SAVED[backend] > 8e-3 * called + 1.6e-7 * size
    return pictures * numbers * _SAVED[backend] > _CHILD + 1.2 + 1.6e-7 * size


def _counted(model: Any) -> tuple[int, int, int]:
    """How many layers are called, how many numbers they put out for a picture, and how many of these are depthwise."""
    if not is_functional(model):
        return 0, 0, 0
    called = numbers = depthwise = 0
    for node in nodes(model.inputs, model.outputs):
        inner = _counted(node.operation)
        if inner == (0, 0, 0):
            own = sum(int(np.prod([side or 1 for side in tensor.shape[1:]])) for tensor in node.outputs)
            inner = 1, own, own * isinstance(node.operation, _DEPTHWISE)
        called, numbers, depthwise = called + inner[0], numbers + inner[1], depthwise + inner[2]
    return called, numbers, depthwise


# --------------------------------------------------------------------------------------------------------- backend


def by_backend(model: Any) -> Encode:
    """The model as the backend that trains computes it."""

    plain = len(model.inputs) == 1 and keras.backend.backend() == "tensorflow" and not accelerated()
    ask = in_inference(model) if plain else model.predict_on_batch

    def encode(inputs: Inputs) -> list[npt.NDArray[np.float32]]:
        parts = inputs if isinstance(inputs, tuple) else (inputs,)
        # Padded to one size, so that nothing is traced or compiled twice.
        padded = [_padded(part, BATCH) for part in parts]
        outputs = tf.nest.flatten(ask(padded if len(padded) > 1 else padded[0]))
        return [_flat(output[: len(parts[0])]) for output in outputs]

    return encode


def _padded(inputs: Array, size: int) -> Array:
    if len(inputs) == size:
        return inputs
    return np.concatenate([inputs, np.zeros((size - len(inputs), *inputs.shape[1:]), inputs.dtype)])


def _flat(values: Array) -> npt.NDArray[np.float32]:
    """One row of numbers for each example."""
    return np.asarray(values, np.float32).reshape(len(values), -1)


# ---------------------------------------------------------------------------------------------------------- LiteRT


def _by_litert(file: Path) -> Encode:
    try:
        runner = interpreter.opened(file, threads=min(cores(), _THREADS)).get_signature_runner()
    except (ValueError, RuntimeError) as error:
        raise _NoLiteRT(f"{file} can't be opened, remove it; {one_line(error)[:200]}") from None

    def encode(inputs: Inputs) -> list[npt.NDArray[np.float32]]:
        assert not isinstance(inputs, tuple)
        parts = []
        for start in range(0, len(inputs), _LITERT_BATCH):
            batch = inputs[start : start + _LITERT_BATCH]
            answer = runner(inputs=_padded(batch, _LITERT_BATCH))
            parts.append([_flat(answer[name][: len(batch)]) for name in _names(len(answer))])
        return [np.concatenate(output) for output in zip(*parts, strict=True)]

    return encode


def _names(count: int) -> list[str]:
    return [f"output_{index}" for index in range(count)]


@contextmanager
def _work() -> Iterator[Path]:
    """A temporary folder in the cache for the files of a conversion."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with scratch(folder, WORK) as work:
        work.mkdir()
        yield work


def _kept(folder: Path, name: str) -> Path | None:
    """The converted model in the cache. A file whose hash is not that of its name is removed."""
    for file in folder.glob(f"{name}.*.tflite"):
        if sha256_of(file) == file.name.split(".")[1]:
            return file
        file.unlink(missing_ok=True)
    return None


def _keep(content: bytes, folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with scratch(folder, _PART) as beside:
        beside.write_bytes(content)
        return beside.replace(folder / f"{name}.{sha256_of(beside)}.tflite")


def _converted(model: Any, probe: Array, *, backend: str) -> bytes:
    """The model as a TFLite file that was compared with Keras. Raises _NoLiteRT if it can't be made or differs."""
    say("frozen layers are converted for LiteRT, which computes them faster; kept for the next time")
    return convert(model, probe) if backend == "tensorflow" else _converted_by_child(model, probe)


def convert(model: Any, probe: Array) -> bytes:
    """The model as a TFLite file that was compared with Keras, where Keras runs on TensorFlow.

    Raises _NoLiteRT if it can't be made or differs.
    """
    outputs = len(model.outputs)
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content = converter.converted(model, batch_size=_LITERT_BATCH, takes="inputs", gives=_names(outputs))
    except Exception as error:  # noqa: BLE001 - the converter raises nearly anything on what it does not know
        raise _NoLiteRT(f"it can't convert them ({one_line(error)[:200]})") from None
    padded = _padded(probe, _LITERT_BATCH)
    with _work() as folder:
        file = folder / "frozen.tflite"
        file.write_bytes(content)
        ours = _by_litert(file)(padded)
    for converted, by_keras in zip(ours, tf.nest.flatten(model(padded, training=False)), strict=True):
        right = _flat(by_keras)
        difference, largest = float(np.abs(converted - right).max()), float(np.abs(right).max())
        if not difference <= TOLERANCE * max(1.0, largest):
            raise _NoLiteRT(f"it differs from Keras by {difference:.1e} where the largest output is {largest:.1e}")
    return content


def _converted_by_child(model: Any, probe: Array) -> bytes:
    """Convert in a child process, which gets the model as a file: LiteRT's converter needs Keras on TensorFlow."""
    with _work() as folder:
        files = [folder / name for name in ("frozen.keras", "probe.npy", "frozen.tflite")]
        try:
            model.save(files[0])
        except Exception as error:  # noqa: BLE001 - a layer of the user's own may refuse in any way
            raise _NoLiteRT(f"they can't be saved ({one_line(error)[:200]})") from None
        np.save(files[1], probe)
        command = [sys.executable, "-P", "-m", "kt.frozen.convert", *map(str, files)]
        child = subprocess.run(  # noqa: S603 - our own interpreter and module
            command, env=child_environment(folder), capture_output=True, text=True, check=False
        )
        if child.returncode or not files[2].is_file():
            last = (child.stderr.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
            raise _NoLiteRT(f"converting failed ({last[:200]})")
        return files[2].read_bytes()


# ---------------------------------------------------------------------------------------------------------- prefetched


def prefetched(fetch: Callable[[T], R], items: Iterable[T]) -> Iterator[tuple[T, R]]:
    """Each item with what is fetched for it. The next is fetched meanwhile: mapped pictures come from the disk."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting: deque[tuple[T, Future[R]]] = deque()
        for item in items:
            waiting.append((item, pool.submit(fetch, item)))
            if len(waiting) > 1:
                first, coming = waiting.popleft()
                yield first, coming.result()
        for first, coming in waiting:
            yield first, coming.result()
