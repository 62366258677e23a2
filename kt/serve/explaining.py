"""Answers to `:explain`: where a model looks in a picture, by occlusion, from the served version's scores alone."""

import asyncio
import base64
import time
from typing import Any

from kt.errors import DataError
from kt.explain import told
from kt.explain.curves import removed
from kt.explain.drawing import overlay, png
from kt.explain.maps import Pixels, occlusion
from kt.explain.models import index_of
from kt.serve.metrics import Metrics
from kt.serve.refusal import Code, Refusal, invalid
from kt.serve.servable import Servable
from kt.serve.workers import TookTooLong, Workers

MOST_WAITING = 8
"""The most explanations that wait while one is computed; more are refused (503)."""

_MOST_SECONDS = 60.0


class ExplainAnswers:
    """Explains pictures in a thread of its own, one at a time. For one event loop.

    An explanation asks for 53 scores. They go through the batch queue of the version, in turn with those of clients, so
    that a client's pictures wait for one batch at most.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._workers = Workers(1, seconds=_MOST_SECONDS, name="explain")
        self._one = asyncio.Lock()
        self._waiting = 0

    @property
    def stuck(self) -> bool:
        """Whether an explanation that was given up still runs."""
        return self._workers.stuck > 0

    def close(self) -> None:
        """End the thread."""
        self._workers.close()

    def check_room(self) -> None:
        """Raise Refusal if too many explanations wait. To be called before a picture is decoded."""
        if self._waiting > MOST_WAITING:
            raise Refusal(Code.UNAVAILABLE, f"More than {MOST_WAITING} explanations wait; try again later")

    async def answer(self, servable: Servable, pixels: Pixels, *, shown: Pixels, label: str | None) -> dict[str, Any]:
        """The explanation as plain data, with the overlay as a PNG.

        pixels: as the model takes them, uint8 `[H, W, 3]`. shown: the same picture in any size, for the overlay. label:
        the class to explain; None for the one with the highest score. Raises Refusal for a class that the model does
        not have, if too many explanations wait, and if it takes too long.
        """
        wanted = None if label is None else _index_of(servable, label)
        self.check_room()
        self._waiting += 1
        try:
            async with self._one:
                explanation = await self._workers.do(lambda: _explained(servable, pixels, shown=shown, label=wanted))
        except TookTooLong as error:
            raise Refusal(Code.UNAVAILABLE, f"The explanation {error}; try again later") from None
        finally:
            self._waiting -= 1
        self._metrics.explanation(servable)
        return explanation


def _index_of(servable: Servable, label: str) -> int:
    try:
        return index_of(servable.classes, label)
    except DataError as error:
        raise invalid(str(error)) from None


def _explained(servable: Servable, pixels: Pixels, *, shown: Pixels, label: int | None) -> dict[str, Any]:
    until = time.monotonic() + _MOST_SECONDS

    def ask(pictures: Pixels) -> Any:
        return servable.ask(pictures, until=until)

    (drawn,) = occlusion(ask, pixels[None], None if label is None else [label])
    (without,) = removed(ask, pixels[None], [drawn])
    image = base64.b64encode(png(overlay(shown, drawn))).decode("ascii")
    facts = told.as_json(drawn, without, servable.classes)
    del facts["depths"]  # only gradients tell depths apart
    return {**facts, "method": "occlusion", "overlay": {"b64": image}}
