"""Threads for work that would hold up the event loop, such as decoding pictures; one that is stuck is replaced.

A thread can't be stopped from outside. So work that takes longer than it may is given up: whoever waits for it is told,
another thread takes the place, and the one that is stuck leaves when it comes back. At most `_MOST_STUCK` are replaced;
beyond that, or until one comes back, no work is taken.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from kt.serve.refusal import Code, Refusal

T = TypeVar("T")

_MOST_STUCK = 4


class TookTooLong(Exception):  # noqa: N818 - not an error of the program
    """Work that was given up."""


class _Job:
    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.result: Future[Any] = Future()
        self.begun = 0.0
        self.given_up = False


class Workers:
    """So many threads; they are daemons, so that one that is stuck can't keep the process from ending."""

    def __init__(self, threads: int, *, seconds: float, name: str) -> None:
        self._wanted, self._seconds, self._name = threads, seconds, name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._running: set[_Job] = set()
        self._threads = self._stuck = 0
        self._closing = threading.Event()
        for _ in range(threads):
            self._start()
        threading.Thread(target=self._watch, name=f"{name}-watch", daemon=True).start()

    @property
    def stuck(self) -> int:
        """How many threads are at work that was given up."""
        return self._stuck

    @property
    def available(self) -> bool:
        """Whether there is a thread that isn't stuck."""
        return self._threads > self._stuck

    async def do(self, work: Callable[[], T]) -> T:
        """The result of the work; TookTooLong where it was given up, Refusal where every thread is stuck."""
        if not self.available:
            raise _all_stuck()
        job = _Job(work)
        self._jobs.put(job)
        try:
            result: T = await asyncio.wrap_future(job.result)
        finally:
            # An error that comes back holds this frame, and so the job that holds the error: a circle, which would keep
            # what was sent in memory until Python looks for circles.
            del job
        return result

    def close(self) -> None:
        """End the threads once they have done what waits; those that are stuck are left."""
        self._closing.set()
        for _ in range(self._threads):
            self._jobs.put(None)

    def _start(self) -> None:
        self._threads += 1
        threading.Thread(target=self._work, name=self._name, daemon=True).start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if not job.result.set_running_or_notify_cancel():  # the client has gone
                continue
            with self._lock:
                job.begun = time.monotonic()
                self._running.add(job)
            try:
                tell = partial(job.result.set_result, job.work())
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
                tell = partial(job.result.set_exception, error)
            if not self._goes_on(job, tell):
                return
            del job, tell  # a picture would else be kept until the next

    def _goes_on(self, job: _Job, tell: Callable[[], None]) -> bool:
        """Tell the outcome, if anybody still waits for it; False where another thread has taken this one's place."""
        with self._lock:
            self._running.discard(job)
            if not job.given_up:
                tell()
                return True
            self._stuck -= 1
            if self._threads - self._stuck <= self._wanted:
                return True
            self._threads -= 1
            return False

    def _watch(self) -> None:
        while not self._closing.wait(min(0.25, self._seconds / 4)):
            with self._lock:
                late = time.monotonic() - self._seconds
                overdue = [job for job in self._running if not job.given_up and job.begun < late]
                for job in overdue:
                    job.given_up = True
                    job.result.set_exception(TookTooLong(f"takes more than {self._seconds:g} s"))
                    self._stuck += 1
                    if self._threads < self._wanted + _MOST_STUCK:
                        self._start()
            if not self.available:
                self._refuse_waiting()

    def _refuse_waiting(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return
            if job is not None and job.result.set_running_or_notify_cancel():
                job.result.set_exception(_all_stuck())


def _all_stuck() -> Refusal:
    return Refusal(Code.UNAVAILABLE, "Every decoding thread is stuck in a picture; try again later")
