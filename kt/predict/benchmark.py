"""The time and memory that a TFLite file needs for one picture on this machine, by threads, with and without XNNPACK.

Each way to run a file is measured in its own process, so that it does not depend on an earlier one. If a file makes the
interpreter crash, only that process ends.
"""

import multiprocessing
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kt.base.console import quiet
from kt.errors import ReleaseError, one_line
from kt.releases.versions import versions

_IDENTIFIER = b"TFL3"


@dataclass(frozen=True)
class Timing:
    """The times of calls of one picture each, one after the other, run in one way.

    median_ms, low_ms, high_ms: the median, and the range of nine in ten calls. memory: bytes that the process holds for
    the model while it runs: activations, and weights in the kernels' own layout, but not the file, which is only
    mapped. None on systems other than Linux, which do not say.
    """

    threads: int
    xnnpack: bool
    median_ms: float
    low_ms: float
    high_ms: float
    memory: int | None


@dataclass(frozen=True)
class Benchmark:
    """One file: its size in bytes, its inputs, such as "uint8 [1, 224, 224, 3]", and the times of each way it ran."""

    path: Path
    bytes: int
    takes: tuple[str, ...]
    timings: tuple[Timing, ...]


@dataclass(frozen=True)
class _Told:
    """The message of the measuring process: seconds of each call, or an error."""

    seconds: tuple[float, ...] = ()
    takes: tuple[str, ...] = ()
    memory: int | None = None
    error: str = ""


def tflite_files(path: Path) -> list[Path]:
    """The file itself, or the `.tflite` files of a version folder or of a model's newest version.

    Raises ReleaseError if there is none, or if a file is no TFLite model.
    """
    if path.is_dir():
        numbers = versions(path)
        files = sorted(path.glob("*.tflite")) or (sorted((path / str(numbers[-1])).glob("*.tflite")) if numbers else [])
        if not files:
            raise ReleaseError(f"{path} holds no .tflite file, and no version that does.")
        return [checked for file in files for checked in tflite_files(file)]
    try:
        with path.open("rb") as opened:
            begins = opened.read(8)
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read: {error.strerror}.") from None
    if begins[4:] != _IDENTIFIER:
        raise ReleaseError(f"{path} is no TFLite model; kt benchmark takes .tflite files.")
    return [path]


def thread_counts(cores: int) -> tuple[int, ...]:
    """1, 2, 4, ... and the number of cores."""
    return tuple(sorted({1 << power for power in range(cores.bit_length()) if 1 << power <= cores} | {cores}))


def benchmark(
    file: Path, *, threads: Sequence[int], runs: int, warm_up: int, after_each: Callable[[], None] = lambda: None
) -> Benchmark:
    """Measure a file on noise, with each number of threads, with XNNPACK and without.

    after_each: called when one way is done, for a progress bar. Raises ReleaseError if the file can't be run.
    """
    takes: tuple[str, ...] = ()
    timings = []
    for xnnpack in (True, False):
        for count in threads:
            calls = _measured(file, threads=count, xnnpack=xnnpack, runs=runs, warm_up=warm_up)
            takes = calls.takes
            timings.append(_timing(calls, threads=count, xnnpack=xnnpack))
            after_each()
    return Benchmark(file, file.stat().st_size, takes, tuple(timings))


def _timing(calls: _Told, *, threads: int, xnnpack: bool) -> Timing:
    milliseconds = [1000 * seconds for seconds in calls.seconds]
    # A single call has no spread, and `quantiles` needs two.
    quantiles = statistics.quantiles(milliseconds, n=20, method="inclusive") if len(milliseconds) > 1 else milliseconds
    return Timing(threads, xnnpack, statistics.median(milliseconds), quantiles[0], quantiles[-1], calls.memory)


def _measured(file: Path, *, threads: int, xnnpack: bool, runs: int, warm_up: int) -> _Told:
    """Run the file in a process that has loaded LiteRT and opened no file before."""
    processes = _processes()
    receiver, sender = processes.Pipe(duplex=False)
    process = processes.Process(target=_tell, args=(sender, file, threads, xnnpack, runs, warm_up), daemon=True)
    with quiet():  # hide the interpreter's own output when a file makes it crash
        process.start()
    sender.close()
    try:
        calls = receiver.recv()
    except EOFError:
        calls = _Told(error="it makes the interpreter crash; it may be damaged")
    finally:
        process.kill()  # does nothing if it has ended; an interrupted benchmark leaves no process behind
        process.join()
    assert isinstance(calls, _Told)
    if calls.error:
        raise ReleaseError(f"{file} cannot be run: {calls.error}.")
    return calls


def _processes() -> Any:
    """A context of processes: forks of a server that has loaded LiteRT once, or else processes that each load it."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kt.litert.interpreter"])
    return context


def _tell(sender: Connection, file: Path, threads: int, xnnpack: bool, runs: int, warm_up: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process and reports
    try:
        sender.send(_run(file, threads=threads, xnnpack=xnnpack, runs=runs, warm_up=warm_up))
    except Exception as error:  # noqa: BLE001 - the interpreter raises nearly anything on a damaged file
        sender.send(_Told(error=one_line(error).rstrip(".")[:300]))


def _run(file: Path, *, threads: int, xnnpack: bool, runs: int, warm_up: int) -> _Told:
    import numpy as np

    from kt.litert import interpreter

    before = _private_memory()
    opened = interpreter.opened(file, threads=threads, xnnpack=xnnpack)
    random = np.random.default_rng(0)
    for details in opened.get_input_details():
        opened.set_tensor(details["index"], _noise(details, random))
    seconds = []
    for _ in range(warm_up + runs):
        start = time.perf_counter()
        opened.invoke()
        seconds.append(time.perf_counter() - start)
    after = _private_memory()
    takes = tuple(f"{np.dtype(item['dtype']).name} {item['shape'].tolist()}" for item in opened.get_input_details())
    memory = None if before is None or after is None else max(0, after - before)
    return _Told(tuple(seconds[warm_up:]), takes, memory)


def _noise(details: Any, random: Any) -> Any:
    import numpy as np

    kind, shape = np.dtype(details["dtype"]), details["shape"]
    if kind.kind == "f":
        return random.random(shape).astype(kind)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        # No large numbers for wider integers: an int32 input may be an index into a table.
        return (
            random.integers(limits.min, limits.max, shape, endpoint=True).astype(kind)
            if kind.itemsize == 1
            else (np.zeros(shape, kind))
        )
    if kind.kind == "b":
        return np.zeros(shape, kind)
    raise ReleaseError(f"its input {details['name']!r} takes {kind.name}, which kt has no noise for")


def _private_memory() -> int | None:
    """Bytes of this process's private memory, without mapped files; None on systems other than Linux."""
    if sys.platform != "linux":
        return None
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return None
