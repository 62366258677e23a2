"""Decodes in a separate process, which is killed if a picture takes too long, and which has a limit on its memory.

It is for formats whose decoding time can't be limited from the file: HEIC and AVIF can lay pictures over each other
many thousand times. It is also for compressed TIFFs, since libtiff prints to the standard error of its process and not
to a log. A process is kept for the next picture, and ends with the process that started it.
"""

import atexit
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import IO, Any

import numpy as np

from kt.errors import DataError
from kt.kinds.pictures import decode
from kt.kinds.pictures.decode import Decoded, StoredForm
from kt.kinds.pictures.values import ValueRange

SECONDS = 10.0
"""The seconds that a picture may take, plus `SECONDS_A_MEGAPIXEL`: several times what it takes on a phone."""
SECONDS_A_MEGAPIXEL = 0.3
"""The further seconds for each million of its pixels."""

MEMORY = 6 * 2**30
"""The most bytes of address space of the process, if the operating system can limit them."""

_START = 120.0
_HEAD = struct.Struct(">QQ")


def decode_apart(data: bytes, *, max_pixels: int) -> Decoded:
    """Decode a picture as `decode.decode` does, in a separate process. Raises DataError also if that one was killed."""
    with _lent() as process:
        return process.decode(data, max_pixels=max_pixels)


class _Process:
    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from kt.kinds.pictures.apart import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        with self._within(_START):
            self._ready = self._out.read(1) == b"+"
        self.usable = self._ready

    @property
    def _in(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _out(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def end(self) -> None:
        self.usable = False
        self._process.kill()
        self._process.wait()
        with suppress(OSError):
            self._in.close()
        self._out.close()

    @contextmanager
    def _within(self, seconds: float) -> Iterator[threading.Event]:
        """Kill the process if the body takes longer; then the event is set."""
        killed = threading.Event()

        def kill() -> None:
            killed.set()
            self._process.kill()

        timer = threading.Timer(seconds, kill)
        timer.daemon = True
        timer.start()
        try:
            yield killed
        finally:
            timer.cancel()

    def decode(self, data: bytes, *, max_pixels: int) -> Decoded:
        if not self._ready:
            raise DataError("can't be decoded: the process for this kind of picture does not start")
        self.usable = False  # until the whole answer has been read
        seconds = SECONDS
        try:
            with self._within(seconds) as killed:
                self._in.write(_HEAD.pack(len(data), max_pixels))
                self._in.write(data)
                self._in.flush()
                message = self._message()
            if "pixels" in message:
                seconds = SECONDS + SECONDS_A_MEGAPIXEL * message["pixels"] / 1e6
                with self._within(seconds) as killed:
                    message = self._message()
                    values = self._values(message)
        except (OSError, EOFError):
            if killed.is_set():
                raise DataError(f"takes more than {seconds:.0f} s to decode") from None
            raise DataError("makes its decoder crash, or take more memory than it may") from None
        self.usable = True
        if "error" in message:
            raise DataError(message["error"])
        own, stored = ValueRange.from_json(message["own"]), StoredForm(**message["stored"])
        return Decoded(values, own=own, inverted=message["inverted"], shallow=message["shallow"], stored=stored)

    def _message(self) -> dict[str, Any]:
        size = int.from_bytes(self._read(4), "big")
        message: dict[str, Any] = json.loads(self._read(size))
        return message

    def _values(self, message: dict[str, Any]) -> Any:
        if "error" in message:
            return None
        shape, kind = message["shape"], np.dtype(message["dtype"])
        values = np.empty(shape, kind)
        view = values.reshape(-1).view(np.uint8).data
        while len(view):
            count = self._out.readinto(view)  # type: ignore[attr-defined]
            if not count:
                raise EOFError
            view = view[count:]
        return values

    def _read(self, size: int) -> bytes:
        data = self._out.read(size)
        if len(data) < size:
            raise EOFError
        return data


# ----------------------------------------------------------------------------------------------- pool of processes


class _Pool:
    def __init__(self) -> None:
        self.owner = os.getpid()
        self.idle: list[_Process] = []
        self.lock = threading.Lock()
        self.turns = threading.BoundedSemaphore(min(4, os.cpu_count() or 1))


_pool = _Pool()


def _own_pool() -> _Pool:
    global _pool
    if _pool.owner != os.getpid():  # after a fork: the pipes of this pool belong to the parent
        _pool = _Pool()
    return _pool


@contextmanager
def _lent() -> Iterator[_Process]:
    pool = _own_pool()
    with pool.turns:
        with pool.lock:
            process = pool.idle.pop() if pool.idle else None
        process = process or _Process()
        try:
            yield process
        finally:
            if process.usable:
                with pool.lock:
                    pool.idle.append(process)
            else:
                process.end()


@atexit.register
def _end_all() -> None:
    pool = _own_pool()
    with pool.lock:
        while pool.idle:
            pool.idle.pop().end()


# ------------------------------------------------------------------------------------------------------- the process


def main() -> None:
    """The separate process: decode the pictures that arrive on standard input, one by one, until it is closed."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # so that output of a library is never taken for an answer
    _limit_memory()
    answers.write(b"+")
    answers.flush()
    while head := requests.read(_HEAD.size):
        size, max_pixels = _HEAD.unpack(head)
        _answer(answers, requests.read(size), max_pixels=max_pixels)


def _limit_memory() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        return


def _answer(answers: IO[bytes], data: bytes, *, max_pixels: int) -> None:
    def send(message: dict[str, Any]) -> None:
        text = json.dumps(message).encode()
        answers.write(len(text).to_bytes(4, "big") + text)
        answers.flush()

    try:
        done = decode.decode(data, max_pixels=max_pixels, on_size=lambda pixels: send({"pixels": pixels}))
    except DataError as error:
        send({"error": str(error)})
        return
    except MemoryError:
        send({"error": "takes more memory than it may"})
        return
    values = np.ascontiguousarray(done.values)
    own = None if done.own is None else done.own.to_json()
    send(
        {
            "shape": values.shape,
            "dtype": values.dtype.str,
            "own": own,
            "inverted": done.inverted,
            "shallow": done.shallow,
            "stored": asdict(done.stored),
        }
    )
    answers.write(values.reshape(-1).view(np.uint8).data)
    answers.flush()
