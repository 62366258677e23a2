"""Refused requests, with the codes that TensorFlow Serving uses in both of its interfaces."""

from enum import Enum

from kt.base.names import printable

_MOST_SHOWN = 350


class Code(Enum):
    """A canonical code by its gRPC name; `HTTP_STATUS` has the HTTP status of each."""

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
    Code.TOO_SLOW: 408,  # TensorFlow Serving has no code for it: it waits for ever
    Code.TOO_LARGE: 413,  # TensorFlow Serving has no code for it
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNAVAILABLE: 503,
}


class Refusal(Exception):  # noqa: N818 - the server is right, the request isn't
    """A request is answered with an error: a code, and one line for the client.

    The line may quote the request. It is cut, and unprintable characters are escaped, because it goes into headers,
    logs and JSON.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, plain_reason(message)


def plain_reason(text: str, *, most: int = _MOST_SHOWN) -> str:
    """A client's text for one line: cut, and without line breaks, escape sequences or lone surrogates."""
    shown = printable(text[: most + 1])
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."


def invalid(message: str) -> Refusal:
    """A refusal of TensorFlow Serving's kind "invalid argument", status 400."""
    return Refusal(Code.INVALID_ARGUMENT, message)
