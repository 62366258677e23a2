"""Answers to `/drift`: whether the latest pictures of a version still come like its held-out ones."""

import asyncio
import time
import weakref
from dataclasses import dataclass
from typing import Any

from kt.drift import Drift, judge
from kt.serve.metrics import Metrics
from kt.serve.refusal import Code, Refusal
from kt.serve.servable import Servable
from kt.serve.workers import TookTooLong, Workers

FRESH_SECONDS = 30.0
"""A judgement answers all requests for this long, so that asking often costs no more than asking once."""

_MOST_SECONDS = 120.0


@dataclass(frozen=True)
class _Judgement:
    drift: Drift
    answered: int
    at: float


class DriftAnswers:
    """Judges the window of a version in a thread of its own, one at a time. For one event loop."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._workers = Workers(1, seconds=_MOST_SECONDS, name="drift")
        self._one = asyncio.Lock()
        self._latest: weakref.WeakKeyDictionary[Servable, _Judgement] = weakref.WeakKeyDictionary()

    @property
    def stuck(self) -> bool:
        """Whether a judgement that was given up still runs."""
        return self._workers.stuck > 0

    def close(self) -> None:
        """End the thread."""
        self._workers.close()

    async def answer(self, servable: Servable) -> dict[str, Any]:
        """The judgement of a version's window, at most `FRESH_SECONDS` old, as plain data.

        Raises Refusal if the version keeps no window, or if the judgement takes too long.
        """
        async with self._one:
            found = self._latest.get(servable)
            if found is None or time.monotonic() - found.at > FRESH_SECONDS:
                found = self._latest[servable] = await self._judged(servable)
        return {
            "model_spec": {"name": servable.name, "version": str(servable.version)},
            "answered": found.answered,
            "age_seconds": round(time.monotonic() - found.at, 1),
            **found.drift.as_json(servable.classes),
        }

    async def _judged(self, servable: Servable) -> _Judgement:
        window = servable.window
        if window is None:
            raise Refusal(Code.NOT_FOUND, f"No drift is looked for in {servable.name}: {servable.unwatched}")
        answered, at = window.added, time.monotonic()
        try:
            drift = await self._workers.do(lambda: judge(window.reference, window.latest()))
        except TookTooLong as error:
            raise Refusal(Code.UNAVAILABLE, f"The judgement {error}; try again later") from None
        self._metrics.drift(servable, drift)
        return _Judgement(drift, answered, at)
