"""Processes that examine files: as fast as the processors allow, and a file that crashes its decoder ends none but its.

Each process gets the paths of a few files at a time, and answers with what `examine` says. Processes of Python's own
pool would not do: they import the program that uses kt once more, and after a crash all of them end. Before a process
decodes a large picture it asks for room, so that several of them at once do not take gigabytes.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from kt.errors import EnvironmentProblem
from kt.kinds.pictures import Pixels
from kt.kinds.pictures.examine import THUMBNAIL, Facts, examine, state_of
from kt.kinds.pictures.room import SMALL, Room

_SHAPE = (THUMBNAIL, THUMBNAIL, 3)
_BYTES = THUMBNAIL * THUMBNAIL * 3

CRASHES = "makes its decoder crash, or take more memory than it may"


class Examiner:
    """A process that examines files. It is used by one thread at a time. room: for large pictures, shared by all."""

    def __init__(self, room: Room | None = None) -> None:
        self._room = room or Room()
        self._process = _started()
        self._ready = False
        self._ended = False

    def examine(self, files: Sequence[Path]) -> tuple[list[Facts], list[Pixels | None]]:
        """The facts and the thumbnail of each file, as `kt.kinds.pictures.examine` returns them.

        A file at which the process ends gets that as its reason, and the others are examined by a new process.
        """
        try:
            return self._answer(files)
        except (OSError, EOFError):
            if self._ended:
                raise EnvironmentProblem("The scan was ended.") from None
            self._end()
            self._process, self._ready = _started(), False
        if len(files) == 1:
            size, time = state_of(files[0])
            return [Facts(size=size, mtime_ns=time, reason=CRASHES)], [None]
        answers = [self.examine([file]) for file in files]
        return [facts for each, _ in answers for facts in each], [pixels for _, each in answers for pixels in each]

    def _answer(self, files: Sequence[Path]) -> tuple[list[Facts], list[Pixels | None]]:
        requests, answers = self._process.stdin, self._process.stdout
        assert requests is not None
        assert answers is not None
        if not self._ready and answers.read(1) != b"+":
            raise EnvironmentProblem(
                "The processes that look at the files do not start; kt doctor checks the packages."
            )
        self._ready = True
        _send(requests, [str(file) for file in files])
        with self._room.asking() as ask:
            while isinstance(told := _received(answers), dict):
                ask(told["pixels"])
                requests.write(b"!")
                requests.flush()
        facts = [Facts(**{**each, "border": tuple(each["border"])}) for each in told]
        if len(facts) != len(files):
            raise EOFError
        return facts, [None if each.reason else _thumbnail(answers) for each in facts]

    def end(self) -> None:
        """End the process, also while it works."""
        self._ended = True
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if pipe is not None:
                    pipe.close()


def _started() -> subprocess.Popen[bytes]:
    # One thread each: they share the processors, and arrays of one picture are small.
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.Popen(
        [sys.executable, "-c", "from kt.data.checks.examiners import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **threads, "PYTHONPATH": path},
    )


def _thumbnail(answers: IO[bytes]) -> Pixels:
    return np.frombuffer(_exactly(answers, _BYTES), np.uint8).reshape(_SHAPE)


def _received(pipe: IO[bytes]) -> Any:
    return json.loads(_exactly(pipe, int.from_bytes(_exactly(pipe, 4), "big")))


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _send(pipe: IO[bytes], message: Any) -> None:
    text = json.dumps(message).encode()
    pipe.write(len(text).to_bytes(4, "big") + text)
    pipe.flush()


# ------------------------------------------------------------------------------------------------------- the process


def main() -> None:
    """The process: examine the files whose paths arrive on standard input, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # so that output of a library is never taken for an answer
    answers.write(b"+")
    answers.flush()
    held = 0

    def on_size(pixels: int) -> None:
        """Wait for room before a large picture is decoded, and give it back afterwards."""
        nonlocal held
        if pixels > SMALL or held:
            held = pixels
            _send(answers, {"pixels": pixels})
            requests.read(1)

    while size := requests.read(4):
        examined = []
        for name in json.loads(requests.read(int.from_bytes(size, "big"))):
            examined.append(examine(Path(name), on_size=on_size))
            on_size(0)
        _send(answers, [asdict(facts) for facts, _ in examined])
        answers.write(b"".join(pixels.tobytes() for _, pixels in examined if pixels is not None))
        answers.flush()
