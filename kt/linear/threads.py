"""How many threads multiply the matrices of a linear classifier."""

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[Any]:
    """Within it NumPy and SciPy multiply matrices in one thread, in the whole process.

    Several would wait for each other on matrices of this size, 20 times as slow beside other work; and the last digits
    depend on their number. Whoever fits classifiers in two threads at once goes into it first and leaves it last, since
    the one that leaves puts back what it found.
    """
    return _libraries().limit(limits=1, user_api="blas")  # type: ignore[no-any-return]


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()  # looking for them takes milliseconds, which a hundred fits would feel
