"""Threads for work that would block the event loop, such as decoding pictures; a stuck thread is replaced.

A thread can't be stopped from outside. So work that takes too long is given up: its caller gets an error, another
thread takes its place, and the stuck thread ends once its work is done. At most `_MOST_STUCK` threads are replaced.
Beyond that, no work is taken until one of them is done.
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
    """A number of worker threads. They are daemons, so that a stuck one can't keep the process from ending."""

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
        """How many threads are stuck in work that was given up."""
        return self._stuck

    @property
    def available(self) -> bool:
        """Whether there is a thread that isn't stuck."""
        return self._threads > self._stuck

    async def do(self, work: Callable[[], T]) -> T:
        """The result of the work. Raises TookTooLong if it was given up, Refusal if every thread is stuck."""
        if not self.available:
            raise _all_stuck()
        job = _Job(work)
        self._jobs.put(job)
        try:
            result: T = await asyncio.wrap_future(job.result)
        finally:
            # An error holds this frame, and so the job, which holds the error: a reference cycle that would keep the
            # request in memory until Python's garbage collection.
            del job
        return result

    def close(self) -> None:
        """End the threads after the waiting work; stuck threads are left."""
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
                deliver = partial(job.result.set_result, job.work())
            except BaseException as error:  # noqa: BLE001 - raised where the result is awaited
                deliver = partial(job.result.set_exception, error)
            if not self._goes_on(job, deliver):
                return
            del job, deliver  # otherwise a picture would be kept until the next job

    def _goes_on(self, job: _Job, deliver: Callable[[], None]) -> bool:
        """Deliver the outcome unless the work was given up; False if another thread has taken this one's place."""
        with self._lock:
            self._running.discard(job)
            if not job.given_up:
                deliver()
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
