"""Limits on incoming requests: the bytes that are held and the time to arrive, for both interfaces together."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from kt.serve.refusal import Code, Refusal
from kt.serve.settings import Limits

_AT_ONCE = 4
"""The most gRPC messages that are read at once.

gRPC gives no size before a message is complete, so each may have the largest size. A large message keeps its place
until it is answered, since it is in memory more than once.
"""

_LARGE = 2**22

_PATIENCE = 2.0
"""Seconds that a message may take to arrive while others wait for its place."""

_LAST_SECONDS = 1.0
"""Seconds that a request has to arrive once the server stops."""


class Held:
    """The count of one request's bytes."""

    def __init__(self, intake: "Intake") -> None:
        self._intake, self.bytes = intake, 0
        self.place: asyncio.Semaphore | None = None

    def add(self, count: int) -> None:
        """Count bytes that have arrived. Raises Refusal for more than the limits allow."""
        self.bytes += count
        self._intake.bytes += count
        limits = self._intake.limits
        check_body_size(self.bytes, limits)
        if self._intake.bytes > limits.all_bodies_bytes:
            raise Refusal(Code.UNAVAILABLE, "The bodies of all requests together are too large; try again later")

    def leave(self) -> None:
        """Give back the place among the messages, if it has one."""
        if self.place is not None:
            self.place.release()
            self.place = None


def check_body_size(size: int, limits: Limits) -> None:
    """Refuse a body that is too large. size: in bytes, as counted or as its header says."""
    if size > limits.body_bytes:
        raise Refusal(Code.TOO_LARGE, f"The request's body has more than {limits.body_bytes:,} bytes")


class Intake:
    """Counts the bytes that requests hold, and limits the time that each has to arrive. For one event loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.bytes = 0
        self._deadlines: set[asyncio.Timeout] = set()
        self._closing = False
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._reading: dict[asyncio.Future[Any], float] = {}

    @contextmanager
    def held(self) -> Iterator[Held]:
        """Count a request's bytes until its answer is known."""
        held = Held(self)
        try:
            yield held
        finally:
            self.bytes -= held.bytes
            held.leave()

    @asynccontextmanager
    async def arriving(self) -> AsyncIterator[None]:
        """Limit the time for a request to arrive within the block. Raises Refusal if it takes too long."""
        seconds = _LAST_SECONDS if self._closing else self.limits.body_seconds
        try:
            async with asyncio.timeout(seconds) as deadline:
                self._deadlines.add(deadline)
                try:
                    yield
                finally:
                    self._deadlines.discard(deadline)
        except TimeoutError:
            if self._closing:
                raise Refusal(Code.UNAVAILABLE, "The server is shutting down") from None
            raise Refusal(
                Code.TOO_SLOW, f"The request's body did not arrive within {self.limits.body_seconds:g} s"
            ) from None

    def close(self) -> None:
        """From now on, wait at most a second for requests to arrive."""
        self._closing = True
        until = asyncio.get_running_loop().time() + _LAST_SECONDS
        for deadline in self._deadlines:
            with suppress(RuntimeError):  # it has just expired
                deadline.reschedule(until)

    async def message(self, held: Held, read: "Callable[[], Coroutine[Any, Any, Any]]") -> Any:
        """A gRPC message, read once there is a place for it. A slow one loses its place if another one waits."""
        async with self.arriving():
            await self._place()
            held.place = self._places
            reading = asyncio.ensure_future(read())
            self._reading[reading] = time.monotonic()
            try:
                await asyncio.wait([reading])
            finally:
                del self._reading[reading]
                reading.cancel()
        if reading.cancelled():
            raise Refusal(Code.UNAVAILABLE, "The request arrived too slowly while others waited; try again later")
        message = reading.result()
        size = len(message) if isinstance(message, bytes) else 0
        if size < _LARGE:
            held.leave()
        held.add(size)
        return message

    async def _place(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._places.acquire()
                return
            except TimeoutError:
                oldest = next(iter(self._reading), None)
                if oldest is not None and time.monotonic() - self._reading[oldest] > _PATIENCE:
                    oldest.cancel()
