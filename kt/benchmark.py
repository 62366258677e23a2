"""How long a TFLite file takes for one picture on this machine, by threads, with XNNPACK and without; what it holds.

Each way to run a file is measured in a process of its own, where nothing is left of the one before. A file that makes
the interpreter crash takes only that process with it.
"""

import multiprocessing
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kt.console import quiet
from kt.errors import ReleaseError, one_line
from kt.export.versions import versions

_IDENTIFIER = b"TFL3"


@dataclass(frozen=True)
class Timing:
    """Calls of one picture each, one after the other, run in one way.

    median_ms, low_ms, high_ms: the median, and between what nine in ten calls lie. memory: bytes that the process holds
    for it once it runs (activations, and weights as the kernels want them; the file itself is only mapped, and not in
    it), None where the system does not tell, which is anywhere but on Linux.
    """

    threads: int
    xnnpack: bool
    median_ms: float
    low_ms: float
    high_ms: float
    memory: int | None


@dataclass(frozen=True)
class Benchmark:
    """One file: its size in bytes, what it takes, such as "uint8 [1, 224, 224, 3]", and how it ran in each way."""

    path: Path
    bytes: int
    takes: tuple[str, ...]
    timings: tuple[Timing, ...]


@dataclass(frozen=True)
class _Told:
    """What the measuring process says: seconds of each call, or why there are none."""

    seconds: tuple[float, ...] = ()
    takes: tuple[str, ...] = ()
    memory: int | None = None
    error: str = ""


def tflite_files(path: Path) -> list[Path]:
    """The file itself, or the `.tflite` files of a version folder or of a model's newest version.

    Raises ReleaseError for what is no TFLite model, without loading TensorFlow.
    """
    if path.is_dir():
        there = versions(path)
        files = sorted(path.glob("*.tflite")) or (sorted((path / str(there[-1])).glob("*.tflite")) if there else [])
        if not files:
            raise ReleaseError(f"{path} holds no .tflite file, and no version that does.")
        return [file for found in files for file in tflite_files(found)]
    try:
        with path.open("rb") as opened:
            begins = opened.read(8)
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read: {error.strerror}.") from None
    if begins[4:] != _IDENTIFIER:
        raise ReleaseError(f"{path} is no TFLite model; kt benchmark takes .tflite files.")
    return [path]


def thread_counts(cores: int) -> tuple[int, ...]:
    """1, 2, 4, ... and as many as there are cores."""
    return tuple(sorted({1 << power for power in range(cores.bit_length()) if 1 << power <= cores} | {cores}))


def benchmark(
    file: Path, *, threads: Sequence[int], runs: int, warm_up: int, after_each: Callable[[], None] = lambda: None
) -> Benchmark:
    """Measure a file with each number of threads, with XNNPACK and without; noise goes in, not pictures.

    after_each: called when one way is done, for a progress bar. Raises ReleaseError where the file cannot be run.
    """
    takes: tuple[str, ...] = ()
    timings = []
    for xnnpack in (True, False):
        for count in threads:
            told = _measured(file, threads=count, xnnpack=xnnpack, runs=runs, warm_up=warm_up)
            takes = told.takes
            timings.append(_timing(told, threads=count, xnnpack=xnnpack))
            after_each()
    return Benchmark(file, file.stat().st_size, takes, tuple(timings))


def _timing(told: _Told, *, threads: int, xnnpack: bool) -> Timing:
    milliseconds = [1000 * seconds for seconds in told.seconds]
    # A single call has no spread, and `quantiles` wants two.
    cuts = statistics.quantiles(milliseconds, n=20, method="inclusive") if len(milliseconds) > 1 else milliseconds
    return Timing(threads, xnnpack, statistics.median(milliseconds), cuts[0], cuts[-1], told.memory)


def _measured(file: Path, *, threads: int, xnnpack: bool, runs: int, warm_up: int) -> _Told:
    """Run it in a process that has TensorFlow loaded and has opened no file before."""
    processes = _processes()
    here, there = processes.Pipe(duplex=False)
    process = processes.Process(target=_tell, args=(there, file, threads, xnnpack, runs, warm_up), daemon=True)
    with quiet():  # TensorFlow talks while it is loaded
        process.start()
    there.close()
    try:
        told = here.recv()
    except EOFError:
        told = _Told(error="it makes the interpreter crash; it may be damaged")
    finally:
        process.kill()  # does nothing to one that has ended; an interrupted benchmark leaves none behind
        process.join()
    assert isinstance(told, _Told)
    if told.error:
        raise ReleaseError(f"{file} cannot be run: {told.error}.")
    return told


def _processes() -> Any:
    """Forks of a server that has loaded TensorFlow once, where there is fork; else processes that load it each."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kt.litert"])
    return context


def _tell(there: Connection, file: Path, threads: int, xnnpack: bool, runs: int, warm_up: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process, and says what happened
    try:
        there.send(_run(file, threads=threads, xnnpack=xnnpack, runs=runs, warm_up=warm_up))
    except Exception as error:  # noqa: BLE001 - the interpreter raises nearly anything on a damaged file
        there.send(_Told(error=one_line(error).rstrip(".")[:300]))


def _run(file: Path, *, threads: int, xnnpack: bool, runs: int, warm_up: int) -> _Told:
    import numpy as np

    from kt import litert

    before = _private_memory()
    interpreter = litert.interpreter(file, threads=threads, xnnpack=xnnpack)
    random = np.random.default_rng(0)
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], _noise(details, random))
    seconds = []
    for _ in range(warm_up + runs):
        start = time.perf_counter()
        interpreter.invoke()
        seconds.append(time.perf_counter() - start)
    after = _private_memory()
    takes = tuple(
        f"{np.dtype(item['dtype']).name} {item['shape'].tolist()}" for item in interpreter.get_input_details()
    )
    memory = None if before is None or after is None else max(0, after - before)
    return _Told(tuple(seconds[warm_up:]), takes, memory)


def _noise(details: Any, random: Any) -> Any:
    import numpy as np

    kind, shape = np.dtype(details["dtype"]), details["shape"]
    if kind.kind == "f":
        return random.random(shape).astype(kind)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        # No large numbers: an int32 input may be an index into a table.
        return (
            random.integers(limits.min, limits.max, shape, endpoint=True).astype(kind)
            if kind.itemsize == 1
            else (np.zeros(shape, kind))
        )
    if kind.kind == "b":
        return np.zeros(shape, kind)
    raise ReleaseError(f"its input {details['name']!r} takes {kind.name}, which kt has no noise for")


def _private_memory() -> int | None:
    """Bytes that this process holds for itself, without files that are only mapped; Linux alone tells."""
    if sys.platform != "linux":
        return None
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return None
