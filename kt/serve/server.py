"""The server: REST and gRPC over the same models, from start to a graceful stop."""

import asyncio
import contextlib
import importlib.util
import logging
import signal
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h11
import uvicorn
from starlette.routing import BaseRoute
from uvicorn.protocols.http.h11_impl import H11Protocol

from kt.errors import EnvironmentProblem, ReleaseError
from kt.serve.app import Service, create_app
from kt.serve.batching import BatchScheduler
from kt.serve.metrics import Metrics
from kt.serve.settings import Settings
from kt.serve.store import ModelStore, find_models

log = logging.getLogger("kt.serve")

_GRACE_SECONDS = 30
_MOST_CONNECTIONS = 2048
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(folders: Sequence[Path], settings: Settings, *, pages: Sequence[BaseRoute] = ()) -> None:
    """Serve the models in the folders until SIGINT or SIGTERM; requests in work are answered before it returns.

    Raises ReleaseError where no version of a model can be opened, EnvironmentProblem where a port is taken.
    """
    with listening(settings) as listener, opened(folders, settings) as service:
        asyncio.run(_until_signal(service, listener, pages))
    log.info("stopped")


@contextlib.contextmanager
def opened(folders: Sequence[Path], settings: Settings) -> Iterator[Service]:
    """The models in the folders, opened and watched, with what answers for them."""
    metrics = Metrics()
    found = find_models(folders)
    scheduler = BatchScheduler(settings.batching, observe=metrics.batch)
    models = ModelStore(found, scheduler, engine=settings.engine)
    try:
        models.refresh()
        _check_all_serve(models)
        models.watch(settings.poll_seconds)
        service = Service(models, settings, metrics)
        yield service
        service.answering.close()
    finally:
        models.close()
        scheduler.close()


def _check_all_serve(models: ModelStore) -> None:
    for name in models.names:
        if not models.loaded(name):
            newest = models.status(name)[0]
            raise ReleaseError(f"No version of {name} can be served; version {newest.version}: {newest.error}")


@contextlib.contextmanager
def listening(settings: Settings) -> Iterator[socket.socket | None]:
    """The REST port, taken before anything is loaded."""
    if not settings.port:
        yield None
        return
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=1024)
    except OSError as error:
        raise EnvironmentProblem(
            f"Cannot listen on {settings.host} port {settings.port}: {error.strerror or error}; choose another --port."
        ) from None
    with listener:
        yield listener


async def _until_signal(service: Service, listener: socket.socket | None, pages: Sequence[BaseRoute]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    # Not by the loop's own handlers, which Windows has not.
    before = {number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set)) for number in _SIGNALS}
    try:
        await answer_until(stop, service, listener=listener, pages=pages)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def answer_until(
    stop: asyncio.Event, service: Service, *, listener: socket.socket | None, pages: Sequence[BaseRoute] = ()
) -> None:
    """Answer on the listener and the gRPC port until `stop` is set and what is in work then is answered."""
    async with contextlib.AsyncExitStack() as running:
        if service.settings.grpc_port:
            await running.enter_async_context(_grpc(service))
        if listener is not None:
            await running.enter_async_context(_rest(service, listener, pages))
        _say_ready(service)
        await stop.wait()
        log.info("stopping: no new connections, requests in work are answered")


@contextlib.asynccontextmanager
async def _rest(service: Service, listener: socket.socket, pages: Sequence[BaseRoute]) -> Any:
    config = uvicorn.Config(
        create_app(service, pages=pages),
        http=_patient_for(service.settings.limits.header_seconds),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        limit_concurrency=_MOST_CONNECTIONS,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await task


@contextlib.asynccontextmanager
async def _grpc(service: Service) -> Any:
    from kt.serve.grpc_server import start

    server = await start(service)
    try:
        yield
    finally:
        await server.stop(_GRACE_SECONDS)


def grpc_is_installed() -> bool:
    """Whether gRPC can be served: its extra brings both packages."""
    return all(importlib.util.find_spec(name) is not None for name in ("grpc", "tensorflow_serving"))


def _say_ready(service: Service) -> None:
    settings = service.settings
    at = {
        "rest": f"http://{settings.host}:{settings.port}" if settings.port else "off",
        "grpc": f"{settings.host}:{settings.grpc_port}" if settings.grpc_port else "off",
    }
    if not settings.api_key and settings.host not in _LOOPBACK:
        log.warning("anybody who reaches this address is answered; --api-key-file asks for a key")
    log.info("ready", extra={**at, "models": {name: service.models.loaded(name) for name in service.models.names}})


class _Server(uvicorn.Server):
    """Leaves the signals to the caller, who ends gRPC too and exits with 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _patient_for(seconds: float) -> type[H11Protocol]:
    """Uvicorn's protocol, made to wait only so long for a request's head; by itself it would wait for ever."""

    class Patient(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            # asyncio does so only for sockets made with this protocol's number; without, each answer waits 40 ms.
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._deadline = self.loop.call_later(seconds, self._too_slow)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:
                self._end_deadline()
            elif self._deadline is None:
                self._deadline = self.loop.call_later(seconds, self._too_slow)

        def connection_lost(self, exc: Exception | None) -> None:
            self._end_deadline()
            super().connection_lost(exc)

        def _end_deadline(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _too_slow(self) -> None:
            self._deadline = None
            if self.transport.is_closing() or self.conn.their_state is not h11.IDLE:
                return
            body = b'{"error": "The request did not arrive in time"}'
            head = f"HTTP/1.1 408 Request Timeout\r\ncontent-length: {len(body)}\r\nconnection: close\r\n"
            self.transport.write(head.encode() + b"content-type: application/json\r\n\r\n" + body)
            self.transport.close()

    return Patient
