"""Why a request is not answered, in the codes that TensorFlow Serving has for both of its interfaces."""

from enum import Enum


class Code(Enum):
    """A canonical code by its gRPC name, with the HTTP status that stands for it."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    FAILED_PRECONDITION = "FAILED_PRECONDITION"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    NOT_FOUND = "NOT_FOUND"
    TOO_SLOW = "DEADLINE_EXCEEDED"
    TOO_LARGE = "OUT_OF_RANGE"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    UNAVAILABLE = "UNAVAILABLE"


HTTP_STATUS = {
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.UNAUTHENTICATED: 401,
    Code.NOT_FOUND: 404,
    Code.TOO_SLOW: 408,  # TensorFlow Serving, which waits for ever, has no code for it
    Code.TOO_LARGE: 413,  # nor for this
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNAVAILABLE: 503,
}


class Refusal(Exception):  # noqa: N818 - the server is right, the request isn't
    """A request that gets an error for an answer: its code, and one line that the client reads."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def invalid(message: str) -> Refusal:
    """What TensorFlow Serving calls an invalid argument: 400."""
    return Refusal(Code.INVALID_ARGUMENT, message)
