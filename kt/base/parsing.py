"""A fault of Python 3.11 and 3.12 that threads meet when two of them parse source text."""

import ast
import functools
import sys
import threading
from typing import Any

_ONE_AT_A_TIME = threading.RLock()
_FAULTY = sys.version_info < (3, 11, 8) or (3, 12) <= sys.version_info < (3, 12, 2)


def one_at_a_time(*, faulty: bool = _FAULTY) -> None:
    """Let one thread of this process parse at a time, where Python itself does not see to it.

    Python before 3.11.8, and 3.12 before 3.12.2, counts the depth of a syntax tree for all threads together: where
    garbage collection lets a second thread parse in between, `ast.parse` raises SystemError. TensorFlow's AutoGraph and
    `numpy.load` parse, and kt calls them from threads. Source: https://github.com/python/cpython/issues/106905
    """
    parse = ast.parse
    if not faulty or hasattr(parse, "__wrapped__"):
        return

    @functools.wraps(parse)
    def alone(*args: Any, **kwargs: Any) -> Any:
        with _ONE_AT_A_TIME:
            return parse(*args, **kwargs)

    ast.parse = alone
