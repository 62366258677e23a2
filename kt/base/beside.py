"""Work in a background thread."""

from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def beside(work: Callable[[], T]) -> Callable[[], T]:
    """Begin the work in its own thread, and give a function that waits for its result, or raises what it raised.

    A process that ends, or is interrupted, does not wait for the work.
    """
    future: Future[T] = Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again when the result is asked for
            future.set_exception(error)

    Thread(target=copy_context().run, args=(do,), daemon=True).start()
    return future.result
