"""The server: REST and gRPC over the same models, from start to a graceful stop."""

import asyncio
import contextlib
import importlib.util
import logging
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h11
import uvicorn
from starlette.routing import BaseRoute
from uvicorn.protocols.http.h11_impl import H11Protocol

from kt.base.console import tell
from kt.errors import EnvironmentProblem, ReleaseError
from kt.serve.app import Service, create_app
from kt.serve.batching import BatchScheduler
from kt.serve.gatekeeper import is_loopback
from kt.serve.metrics import Metrics
from kt.serve.settings import Settings
from kt.serve.store import ModelStore, collect, find_models

log = logging.getLogger("kt.serve")

_MOST_CONNECTIONS = 2048
_LAST_SECONDS = 3.0
"""Seconds after the grace period; then the process ends, even if requests are still unanswered."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(folders: Sequence[Path], settings: Settings, *, pages: Sequence[BaseRoute] = ()) -> None:
    """Serve the models in the folders until SIGINT or SIGTERM. Requests in work are answered before it returns.

    That takes at most the settings' grace period and a few seconds. After that, or at a second signal, the process
    ends, and requests that are still in work are lost. Raises ReleaseError if no version of a model can be opened,
    EnvironmentProblem if a port is taken.
    """
    with listening(settings) as listener, opened(folders, settings) as service:
        asyncio.run(_until_signal(service, listener, pages))
    log.info("stopped")
    if service.answering.stuck or service.drift.stuck or service.explanations.stuck:
        _end_process()


@contextlib.contextmanager
def opened(folders: Sequence[Path], settings: Settings) -> Iterator[Service]:
    """The service of the models in the folders, which are opened and watched for changes."""
    metrics = Metrics()
    by_name = find_models(folders)
    scheduler = BatchScheduler(settings.batching, observe=metrics.batch)
    models = ModelStore(
        by_name, scheduler, engine=settings.engine, drift_window=settings.drift_window, wanted=settings.wanted
    )
    try:
        models.refresh()
        _check_all_serve(models)
        collect()
        models.watch(settings.poll_seconds)
        service = Service(models, settings, metrics)
        try:
            yield service
        finally:
            service.answering.close()
            service.drift.close()
            service.explanations.close()
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
    """The socket of the REST port, opened before anything is loaded; None if REST is off."""
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

    def signalled() -> None:
        if stop.is_set():
            log.warning("ended at once by a second signal")
            _end_process()
        stop.set()
        last = threading.Timer(service.settings.grace_seconds + _LAST_SECONDS, _too_late)
        last.daemon = True
        last.start()

    # Not by the loop's own handlers, which Windows lacks.
    before = {number: signal.signal(number, lambda *_: loop.call_soon_threadsafe(signalled)) for number in _SIGNALS}
    try:
        await answer_until(stop, service, listener=listener, pages=pages)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def answer_until(
    stop: asyncio.Event, service: Service, *, listener: socket.socket | None, pages: Sequence[BaseRoute] = ()
) -> None:
    """Answer on the listener and the gRPC port until `stop` is set and the requests in work are answered."""
    ends: list[Callable[[], Awaitable[None]]] = []
    try:
        if service.settings.grpc_port:
            ends.append(await _grpc(service))
        if listener is not None:
            ends.append(await _rest(service, listener, pages))
        _say_ready(service)
        await stop.wait()
        log.info("stopping: no new connections, requests in work are answered")
    finally:
        service.intake.close()
        service.models.hurry()
        await asyncio.gather(*(end() for end in ends))


def _too_late() -> None:
    log.warning("stopped; what was still in work then is not answered")
    _end_process()


def _end_process() -> None:
    """End the process with code 0 and without waiting for threads: a thread that decodes can't be stopped."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


async def _rest(service: Service, listener: socket.socket, pages: Sequence[BaseRoute]) -> Callable[[], Awaitable[None]]:
    """Answer REST requests on the listener; gives a function that ends it."""
    config = uvicorn.Config(
        create_app(service, pages=pages),
        http=_patient_for(service.settings.limits.header_seconds),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=math.ceil(service.settings.grace_seconds),
        limit_concurrency=_MOST_CONNECTIONS,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started and not task.done():
        await asyncio.sleep(0.01)

    async def end() -> None:
        server.should_exit = True
        await task

    return end


async def _grpc(service: Service) -> Callable[[], Awaitable[None]]:
    """Answer on the gRPC port; gives a function that ends it."""
    from kt.serve.grpc_server import start

    server = await start(service)

    async def end() -> None:
        await server.stop(service.settings.grace_seconds)

    return end


def grpc_is_installed() -> bool:
    """Whether both packages of the extra for gRPC are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("grpc", "tensorflow_serving"))


def _say_ready(service: Service) -> None:
    settings = service.settings
    at = {
        "rest": f"http://{settings.host}:{settings.port}" if settings.port else "off",
        "grpc": f"{settings.host}:{settings.grpc_port}" if settings.grpc_port else "off",
    }
    if not settings.api_key and not is_loopback(settings.host):
        log.warning("anybody who reaches this address is answered; --api-key-file asks for a key")
    log.info("ready", extra={**at, "models": {name: service.models.loaded(name) for name in service.models.names}})
    with contextlib.suppress(OSError, ValueError):  # standard output may be closed
        tell(_for_a_person(service))


def _for_a_person(service: Service) -> str:
    settings, names = service.settings, ", ".join(service.models.names)
    everywhere = settings.host in ("0.0.0.0", "::")  # noqa: S104 - it compares, and binds nothing
    host = "localhost" if everywhere or is_loopback(settings.host) else settings.host
    host = f"[{host}]" if ":" in host else host
    ways = [f"open http://{host}:{settings.port}/ in a browser"] if settings.port else []
    ways += [f"gRPC at {host}:{settings.grpc_port}"] if settings.grpc_port else []
    return f"Serving {names}: {'; '.join(ways)}. Ctrl-C stops it."


class _Server(uvicorn.Server):
    """Leaves signals to the caller, which ends gRPC too and exits with 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _patient_for(seconds: float) -> type[H11Protocol]:
    """Uvicorn's protocol with a time limit for a request's head; by itself it waits for ever."""

    class Patient(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            # asyncio sets it only for sockets made with this protocol's number; without it, each answer waits 40 ms.
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
