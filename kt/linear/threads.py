"""The number of threads for the matrix products of a linear classifier."""

from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


def one_thread() -> AbstractContextManager[Any]:
    """A context in which NumPy and SciPy multiply matrices in one thread, in the whole process.

    With matrices of this size several threads wait for each other, which is 20 times as slow if the machine has other
    work, and the last digits depend on their number. Code that fits classifiers in two threads at once must enter this
    context before it starts them, and leave it after they end, because leaving restores the previous limit.
    """
    return _libraries().limit(limits=1, user_api="blas")  # type: ignore[no-any-return]


@cache
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()  # finding the libraries takes milliseconds, too long for each of a hundred fits
