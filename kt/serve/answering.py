"""From pictures to scores for any interface: decoded in worker threads, as by `kt predict`, then batched."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from kt.errors import DataError
from kt.explain.drawing import fitting
from kt.kinds.pictures.images import read_rgb, resize
from kt.predict.decide import UNSURE, Decision
from kt.serve.batching import Pixels, Scores
from kt.serve.metrics import Metrics
from kt.serve.refusal import invalid
from kt.serve.servable import FROM_BYTES, FROM_PIXELS, SIGNATURES, Servable
from kt.serve.settings import Limits
from kt.serve.workers import TookTooLong, Workers

T = TypeVar("T")

_SMALL = 2**16  # bytes of a request up to which reading it takes less time than waking a thread
_LARGE = 2**22  # bytes above which requests are read one at a time: as Python lists one may take twenty times its size
_READING_SECONDS = 60.0


@dataclass(frozen=True)
class Answer:
    """Scores `[N, C]` and their classes.

    decision: how they become labels and sets. unfamiliarity, unfamiliar: of each picture; None where the model does not
    say.
    """

    scores: Scores
    classes: tuple[str, ...]
    decision: Decision
    unfamiliarity: tuple[float, ...] | None = None
    unfamiliar: tuple[bool, ...] | None = None

    @property
    def labels(self) -> list[str | None]:
        """The label of each picture; None where the model is not sure enough."""
        return [None if place == UNSURE else self.classes[place] for place in self.decision.places(self.scores)]

    @property
    def in_set(self) -> npt.NDArray[np.bool_] | None:
        """Whether each class is in the set of each picture, `[N, C]`; None if no sets are asked."""
        return self.decision.sets(self.scores)


class Answering:
    """Gives the scores of pictures or pixels, within the limits. For one event loop."""

    def __init__(self, limits: Limits, *, threads: int, metrics: Metrics) -> None:
        self._limits, self._metrics = limits, metrics
        self._window = threads
        self._decoders = Workers(threads, seconds=limits.decode_seconds, name="decode")
        self._readers = Workers(2, seconds=_READING_SECONDS, name="read")
        self._one_large = asyncio.Semaphore(1)

    @property
    def ready(self) -> bool:
        """Whether pictures can be decoded."""
        return self._decoders.available

    @property
    def stuck(self) -> bool:
        """Whether a thread is stuck in work that was given up; it can't be ended."""
        return self._decoders.stuck + self._readers.stuck > 0

    def close(self) -> None:
        """End the worker threads, except those that are stuck."""
        self._decoders.close()
        self._readers.close()

    async def read(self, work: Callable[[], T], *, size: int) -> T:
        """The result of reading a request of this size in bytes, without blocking the event loop."""
        if size <= _SMALL:
            return work()
        try:
            if size <= _LARGE:
                return await self._readers.do(work)
            async with self._one_large:
                return await self._readers.do(work)
        except TookTooLong as error:
            raise invalid(f"Reading the request {error}") from None

    async def answer(self, servable: Servable, signature: str, given: "Sequence[bytes] | Pixels") -> Answer:
        """Scores for encoded pictures (`serving_default`) or for pixels of the model's size (`pixels`).

        Raises Refusal for more than the limits allow, for a picture that can't be read, and if the queue is full.
        """
        self.check_count(len(given))
        queue = servable.queues[signature]
        with queue.room(len(given)):
            if signature == FROM_BYTES:
                pictures = await self._decoded(servable, list(given))
            else:
                pictures = list(_checked_pixels(servable, np.asarray(given)))
            rows = await asyncio.gather(*map(asyncio.wrap_future, queue.add(pictures)))
        distances, called = ([getattr(row, name) for row in rows] for name in ("unfamiliarity", "unfamiliar"))
        answer = Answer(
            np.stack([row.scores for row in rows]),
            servable.classes,
            servable.decision,
            None if None in distances else tuple(distances),
            None if None in called else tuple(called),
        )
        self._metrics.pictures(servable, answer)
        return answer

    async def picture(
        self, servable: Servable, signature: str, given: "Sequence[bytes] | Pixels"
    ) -> tuple[Pixels, Pixels]:
        """One picture of a request, as the model takes it, and as it is shown: with sides of at most 640 pixels.

        Raises Refusal if it can't be read.
        """
        if signature == FROM_PIXELS:
            (pixels,) = _checked_pixels(servable, np.asarray(given))
            return pixels, pixels

        def both() -> tuple[Pixels, Pixels]:
            photo = _read(servable, given[0], self._limits)
            return resize(photo, servable.image_size), fitting(photo)

        return await self._in_decoder(both, index=0)

    def check_count(self, count: int) -> None:
        """Refuse a request without pictures, or with too many."""
        if count == 0:
            raise invalid("The request holds no picture")
        if count > self._limits.instances:
            raise invalid(f"The request holds {count} pictures; at most {self._limits.instances} are answered at once")

    async def _decoded(self, servable: Servable, given: Sequence[Any]) -> list[Pixels]:
        """The decoded pictures of a request. Only a few of them queue at a time, so that small requests can pass."""
        turn = asyncio.Semaphore(self._window)

        async def decoded(index: int, data: bytes) -> Pixels:
            async with turn:
                return await self._in_decoder(
                    lambda: resize(_read(servable, data, self._limits), servable.image_size), index=index
                )

        return await _all([decoded(index, data) for index, data in enumerate(given)])

    async def _in_decoder(self, work: Callable[[], T], *, index: int) -> T:
        """The result of decoding a picture of a request, in a worker thread. Raises Refusal if it can't be read."""
        try:
            return await self._decoders.do(work)
        except (DataError, TookTooLong) as error:
            raise invalid(f"{SIGNATURES[FROM_BYTES]} of picture {index} cannot be read: {error}") from None


def _read(servable: Servable, data: Any, limits: Limits) -> Pixels:
    return read_rgb(data, max_pixels=limits.pixels, value_range=servable.value_range)


async def _all(work: "Sequence[Coroutine[Any, Any, T]]") -> list[T]:
    """All results; if one fails, work that has not begun is cancelled."""
    if len(work) == 1:
        return [await work[0]]
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _checked_pixels(servable: Servable, pixels: Pixels) -> Pixels:
    height, width = servable.image_size
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (height, width, 3):
        raise invalid(
            f"Input {SIGNATURES[FROM_PIXELS]} is {pixels.dtype} {list(pixels.shape)}; expected uint8 "
            f"[-1, {height}, {width}, 3]"
        )
    return pixels
