"""From pictures to scores for any interface: decoded in worker threads as `kt predict` decodes them, then batched."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from kt.data.images import read_rgb, resize
from kt.errors import DataError
from kt.serve.batching import Pixels, Scores
from kt.serve.metrics import Metrics
from kt.serve.refusal import invalid
from kt.serve.servable import FROM_BYTES, FROM_PIXELS, SIGNATURES, Servable
from kt.serve.settings import Limits

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """Scores `[N, C]`, with the classes that they belong to."""

    scores: Scores
    classes: tuple[str, ...]

    @property
    def labels(self) -> list[str]:
        """The label of each picture."""
        return [self.classes[index] for index in self.scores.argmax(axis=1)]


class Answering:
    """Answers pictures and pixels within the limits. For one event loop."""

    def __init__(self, limits: Limits, *, threads: int, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    def close(self) -> None:
        """End the worker threads."""
        self._pool.shutdown()

    async def in_worker(self, work: Callable[[], T]) -> T:
        """The result of work that would hold up the event loop, such as reading a large JSON text."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def answer(self, servable: Servable, signature: str, given: "Sequence[bytes] | Pixels") -> Answer:
        """Scores for encoded pictures (`serving_default`) or for pixels of the model's size (`pixels`).

        Raises Refusal for more than the limits allow, for what cannot be read, and where the queue is full.
        """
        self.check_count(len(given))
        queue = servable.queues[signature]
        with queue.room(len(given)):
            if signature == FROM_BYTES:
                work = [self.in_worker(self._decoding(servable, data, index)) for index, data in enumerate(given)]
                pictures = await _all(work)
            else:
                pictures = list(_checked_pixels(servable, np.asarray(given)))
            scores = await asyncio.gather(*map(asyncio.wrap_future, queue.add(pictures)))
        self._metrics.pictures(servable, len(given))
        return Answer(np.stack(scores), servable.classes)

    def check_count(self, count: int) -> None:
        """Refuse a request without pictures, or with too many."""
        if count == 0:
            raise invalid("The request holds no picture")
        if count > self._limits.instances:
            raise invalid(f"The request holds {count} pictures; at most {self._limits.instances} are answered at once")

    def _decoding(self, servable: Servable, data: bytes, index: int) -> Callable[[], Pixels]:
        def decode() -> Pixels:
            try:
                return resize(read_rgb(data, max_pixels=self._limits.pixels), servable.image_size)
            except DataError as error:
                raise invalid(f"{SIGNATURES[FROM_BYTES]} of picture {index} cannot be read: {error}") from None

        return decode


async def _all(work: "Sequence[Awaitable[Pixels]]") -> list[Pixels]:
    """Every result; waits for all even if one fails, so that nothing of a refused request is left at work."""
    pictures: list[Pixels] = []
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
        pictures.append(result)
    return pictures


def _checked_pixels(servable: Servable, pixels: Pixels) -> Pixels:
    height, width = servable.image_size
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (height, width, 3):
        raise invalid(
            f"Input {SIGNATURES[FROM_PIXELS]} is {pixels.dtype} {list(pixels.shape)}; expected uint8 "
            f"[-1, {height}, {width}, 3]"
        )
    return pixels
