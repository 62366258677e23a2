"""The middleware in front of the application: limits, key, rate, and one log line a request."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kt.base.names import printable
from kt.serve.gatekeeper import Gatekeeper
from kt.serve.intake import Held, Intake, check_body_size
from kt.serve.metrics import Metrics
from kt.serve.refusal import HTTP_STATUS, Code, Refusal, invalid

log = logging.getLogger("kt.serve")

_KEYED = ("/v1/", "/metrics", "/about.json")
_KINDS = ("predict", "classify", "regress", "metadata", "drift", "explain")
_DRAIN_SECONDS = 1.0


class Door:
    """An ASGI middleware that reads each request's whole body, within the limits, before the application runs."""

    def __init__(self, app: ASGIApp, intake: Intake, gatekeeper: Gatekeeper, metrics: Metrics) -> None:
        self._app, self._intake, self._gatekeeper, self._metrics = app, intake, gatekeeper, metrics
        self._requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; other events, such as the application's start, pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        try:
            await self._admit(scope, receive, exchange)
        except Refusal as refusal:
            if refusal.code is not Code.TOO_SLOW and not exchange.body_read and not _waits_for_leave(scope):
                exchange.body_read = await _drain(receive)
            await exchange.refuse(HTTP_STATUS[refusal.code], refusal.message)
        except asyncio.CancelledError:  # the server stops, and its grace is over
            await exchange.refuse(503, "The server is shutting down")
        except Exception as error:
            exchange.error = repr(error)
            log.exception("request failed", extra={"path": scope["path"]})
            await exchange.refuse(500, "Internal error; the server's log tells more")
        finally:
            self._log(exchange)

    async def _admit(self, scope: Scope, receive: Receive, exchange: "_Exchange") -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        self._gatekeeper.check_host(headers.get(b"host", b""))
        if printable(scope["path"]) != scope["path"]:
            raise invalid(f"Malformed request: {scope['method']} {scope['path']}")
        if scope["path"].lower().startswith(_KEYED):
            self._gatekeeper.check_rate(exchange.client)
            self._gatekeeper.check_key(
                authorization=headers.get(b"authorization", b""), api_key=headers.get(b"x-api-key", b"")
            )
        limits = self._intake.limits
        if self._requests >= limits.requests:
            raise Refusal(Code.UNAVAILABLE, f"More than {limits.requests} requests at once; try again later")
        check_body_size(int(headers.get(b"content-length", b"0")), limits)
        self._requests += 1
        try:
            with self._intake.held() as held:
                body = await self._body(receive, held)
                exchange.body_read = True
                await self._app(scope, _once(body, receive), exchange.send)
        finally:
            self._requests -= 1

    async def _body(self, receive: Receive, held: Held) -> bytes:
        """The whole body. Raises Refusal if it does not arrive in time."""
        body, more = bytearray(), True
        async with self._intake.arriving():
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refusal(Code.TOO_SLOW, "The client has gone")
                part = message.get("body", b"")
                held.add(len(part))
                body += part
                more = message.get("more_body", False)
        return bytes(body)

    def _log(self, exchange: "_Exchange") -> None:
        """Count and log a request."""
        seconds = time.monotonic() - exchange.begun
        scope = exchange.scope
        kind = scope["path"].rpartition(":")[2].rpartition("/")[2].lower()
        self._metrics.request("rest", kind if kind in _KINDS else "other", status=str(exchange.status), seconds=seconds)
        extra = {
            "interface": "rest",
            "method": scope["method"],
            "path": scope["path"],
            "status": exchange.status,
            "ms": round(seconds * 1000, 1),
            "pictures": scope.get("state", {}).get("pictures", 0),
            "client": exchange.client,
        }
        error = exchange.error or scope.get("state", {}).get("error", "")
        log.info("request", extra=extra | ({"error": error} if error else {}))


class _Exchange:
    """One request with its answer: remembers the status, and sends an error unless an answer has begun."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope, self._send = scope, send
        self.begun = time.monotonic()
        self.client = scope["client"][0] if scope.get("client") else "unknown"
        self.status = 0
        self.error = ""
        self.body_read = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)

    async def refuse(self, status: int, message: str) -> None:
        if self.status:
            return
        self.error = self.error or message
        body = json.dumps({"error": message}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if not self.body_read or status == 413:  # otherwise the connection would wait for a body that may never come
            headers.append((b"connection", b"close"))
        if status in (429, 503):
            headers.append((b"retry-after", b"1"))
        if status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


def _waits_for_leave(scope: Scope) -> bool:
    """Whether the client sends its body only after a go-ahead (`Expect`), as curl does with a large one."""
    return any(name == b"expect" for name, _ in scope["headers"])


def _once(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """A `receive` that gives the body that was read already, then the connection's further messages."""
    replayed = False

    async def replay() -> Message:
        nonlocal replayed
        if replayed:
            return await receive()
        replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _drain(receive: Receive) -> bool:
    """Read and drop the rest of the body for a moment; True if all of it came.

    If the connection was closed at once, the client could lose the answer.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while (await receive()).get("more_body", False):
                pass
            return True
    return False
