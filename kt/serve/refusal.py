"""Why a request is not answered, in the codes that TensorFlow Serving has for both of its interfaces."""

from enum import Enum

from kt.names import printable

_MOST_SHOWN = 350


class Code(Enum):
    """A canonical code by its gRPC name, with the HTTP status that stands for it."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    NOT_FOUND = "NOT_FOUND"
    TOO_SLOW = "DEADLINE_EXCEEDED"
    TOO_LARGE = "OUT_OF_RANGE"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    UNAVAILABLE = "UNAVAILABLE"


HTTP_STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.TOO_SLOW: 408,  # TensorFlow Serving, which waits for ever, has no code for it
    Code.TOO_LARGE: 413,  # nor for this
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNAVAILABLE: 503,
}


class Refusal(Exception):  # noqa: N818 - the server is right, the request isn't
    """A request that gets an error for an answer: its code, and one line that the client reads.

    The line may quote what was sent, cut and with what can't be printed escaped: it goes into headers, logs and JSON.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, plain(message)


def plain(text: str, *, most: int = _MOST_SHOWN) -> str:
    """Text of a stranger's, for one line: cut, and without line breaks, escapes or halves of characters."""
    shown = printable(text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def invalid(message: str) -> Refusal:
    """What TensorFlow Serving calls an invalid argument: 400."""
    return Refusal(Code.INVALID_ARGUMENT, message)
