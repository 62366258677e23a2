"""Dynamic batching: pictures of several requests go through the model together, as TensorFlow Serving batches them.

A queue belongs to one signature of one version of one model, so these never mix. A few threads serve all queues in
turn.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from kt.serve.refusal import Code, Refusal, invalid
from kt.serve.settings import Batching

Pixels = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.float32]


class Reply(NamedTuple):
    """The answer for one picture.

    scores: `[C]`. unfamiliarity, unfamiliar: how unlike anything that the model learned from the picture is, and
    whether too much so; None where the model does not say.
    """

    scores: Scores
    unfamiliarity: float | None = None
    unfamiliar: bool | None = None


@dataclass(frozen=True)
class _Waiting:
    """One picture, and the future of its answer."""

    pixels: Pixels
    answer: "Future[Reply]"
    since: float = field(default_factory=time.monotonic)


class BatchQueue:
    """The pictures that wait for one signature of one version.

    run: gives the answer for each of the pixels `[N, H, W, 3]`.
    """

    def __init__(self, scheduler: "BatchScheduler", run: Callable[[Pixels], Sequence[Reply]]) -> None:
        self.run = run
        self.rows: deque[_Waiting] = deque()
        self._scheduler = scheduler
        self._lock = threading.Lock()
        self._taken = 0

    @contextmanager
    def room(self, count: int) -> Iterator[None]:
        """Reserve room for `count` pictures until they are answered. Raises Refusal if there is none."""
        most = self._scheduler.batching.room
        if count > most:
            raise invalid(f"Task size {count} is larger than maximum input batch size {most}")
        with self._lock:
            if self._taken + count > most:
                raise Refusal(Code.UNAVAILABLE, "The batch scheduling queue to which this task was submitted is full")
            self._taken += count
        try:
            yield
        finally:
            with self._lock:
                self._taken -= count

    def add(self, pictures: Sequence[Pixels]) -> "list[Future[Reply]]":
        """The future answer for each picture."""
        rows = [_Waiting(pixels, Future()) for pixels in pictures]
        self._scheduler.add(self, rows)
        return [row.answer for row in rows]


class BatchScheduler:
    """Threads that run batches. observe: is called with the size of each batch before it runs."""

    def __init__(self, batching: Batching, *, observe: Callable[[int], None]) -> None:
        self.batching = batching
        self._observe = observe
        self._changed = threading.Condition()
        self._waiting: deque[BatchQueue] = deque()  # only queues with rows, so that it holds no unloaded version
        self._closing = self._hurrying = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{index}", daemon=True)
            for index in range(batching.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def add(self, queue: BatchQueue, rows: Sequence[_Waiting]) -> None:
        """Append rows to the queue."""
        with self._changed:
            if self._closing:
                raise Refusal(Code.UNAVAILABLE, "The server is shutting down")
            queue.rows.extend(rows)
            if queue not in self._waiting:
                self._waiting.append(queue)
            self._changed.notify_all()

    def hurry(self) -> None:
        """From now on, run waiting pictures at once, without waiting for more: the server is stopping."""
        with self._changed:
            self._hurrying = True
            self._changed.notify_all()

    def close(self) -> None:
        """Run the waiting pictures, then end the threads."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            queue, rows = batch
            _answer(queue, rows, observe=self._observe)
            del batch, queue, rows  # otherwise the thread would hold an unloaded version until the next batch

    def _next(self) -> tuple[BatchQueue, list[_Waiting]] | None:
        """Wait for a batch that is full or has waited long enough; None at the end."""
        with self._changed:
            while True:
                now = time.monotonic()
                for queue in self._waiting:
                    if self._closing or self._seconds_left(queue, now) <= 0:
                        return queue, self._take(queue)
                if self._closing:
                    return None
                self._changed.wait(min((self._seconds_left(queue, now) for queue in self._waiting), default=None))

    def _seconds_left(self, queue: BatchQueue, now: float) -> float:
        if self._hurrying or len(queue.rows) >= self.batching.max_batch_size:
            return 0.0
        return queue.rows[0].since + self.batching.batch_timeout_micros / 1e6 - now

    def _take(self, queue: BatchQueue) -> list[_Waiting]:
        count = min(len(queue.rows), self.batching.max_batch_size)
        rows = [queue.rows.popleft() for _ in range(count)]
        self._waiting.remove(queue)
        if queue.rows:
            self._waiting.append(queue)  # behind the others, so that one busy model doesn't starve them
        return rows


def _answer(queue: BatchQueue, rows: list[_Waiting], *, observe: Callable[[int], None]) -> None:
    wanted = [row for row in rows if row.answer.set_running_or_notify_cancel()]  # a client may have gone
    if not wanted:
        return
    observe(len(wanted))
    try:
        answers = queue.run(np.stack([row.pixels for row in wanted]))
    except Exception as error:  # noqa: BLE001 - whatever it is, the requests must not wait for ever
        for row in wanted:
            row.answer.set_exception(error)
        return
    for row, answer in zip(wanted, answers, strict=True):
        row.answer.set_result(answer)
