"""Work that goes on in a thread while something else is done."""

from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def beside(work: Callable[[], T]) -> Callable[[], T]:
    """Begin the work in a thread of its own, and give what waits for its result, or raises what it raised.

    A process that ends, or is interrupted, does not wait for it.
    """
    future: Future[T] = Future()

    def do() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)

    Thread(target=copy_context().run, args=(do,), daemon=True).start()
    return future.result
