"""The REST interface as an ASGI application: TensorFlow Serving's addresses, health, metrics, facts for the page."""

from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from kt.base.names import json_text
from kt.serve import rest
from kt.serve.answering import Answering
from kt.serve.door import Door
from kt.serve.drift import DriftAnswers
from kt.serve.explaining import ExplainAnswers
from kt.serve.gatekeeper import Gatekeeper
from kt.serve.intake import Intake
from kt.serve.metrics import Metrics
from kt.serve.refusal import HTTP_STATUS, Code, Refusal, invalid, plain_reason
from kt.serve.servable import NO_REGRESSION, Servable
from kt.serve.settings import Settings
from kt.serve.store import ModelStore


class Service:
    """The parts that both interfaces share: the models, the workers, the counters, the gatekeeper."""

    def __init__(self, models: ModelStore, settings: Settings, metrics: Metrics) -> None:
        self.models, self.settings, self.metrics = models, settings, metrics
        self.answering = Answering(settings.limits, threads=settings.decode_threads, metrics=metrics)
        self.drift = DriftAnswers(metrics)
        self.explanations = ExplainAnswers(metrics)
        self.gatekeeper = Gatekeeper(settings)
        self.intake = Intake(settings.limits)


def create_app(service: Service, *, pages: Sequence[BaseRoute] = ()) -> Starlette:
    """The application. pages: further routes, for people; they need no key."""
    interface = _Interface(service)
    routes: list[BaseRoute] = [
        Route("/v1/{rest:path}", interface.models, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        Route("/healthz", interface.health),
        Route("/metrics", interface.metrics),
        Route("/about.json", interface.about),
        *pages,
    ]
    return Starlette(
        routes=routes,
        middleware=[Middleware(Door, service.intake, service.gatekeeper, service.metrics)],
        exception_handlers={Refusal: _refused, HTTPException: _http_error},
    )


class _Interface:
    def __init__(self, service: Service) -> None:
        self._service, self._models = service, service.models

    async def models(self, request: Request) -> Response:
        """Everything below /v1, as TensorFlow Serving has it, and kt's own `/drift` and `:explain`."""
        where = rest.address(request.method, request.scope["path"])  # request.url drops tabs and line breaks
        if where.verb == "status":
            states = self._models.status(where.name, version=where.version, label=where.label)
            return _json(rest.status(states))
        with self._models.using(where.name, version=where.version, label=where.label) as servable:
            if where.verb == "metadata":
                return _json(rest.metadata(servable))
            if where.verb == "drift":
                return _json(await self._service.drift.answer(servable))
            if where.verb == "regress":
                raise invalid(NO_REGRESSION)
            if where.verb == "explain":
                return _json(await self._explained(request, servable))
            body, answering = await request.body(), self._service.answering
            read = rest.predict_request if where.verb == "predict" else rest.classify_request
            query = await answering.read(lambda: read(body), size=len(body))
            request.state.pictures = len(query.given)
            answer = await answering.answer(servable, query.signature, query.given)
        return _json(rest.predictions(answer, query) if where.verb == "predict" else rest.classifications(answer))

    async def _explained(self, request: Request, servable: Servable) -> dict[str, Any]:
        if not self._service.settings.explains:
            raise Refusal(Code.NOT_FOUND, "This server explains no pictures: it was started with --no-explain")
        body, answering, explanations = await request.body(), self._service.answering, self._service.explanations
        explanations.check_room()
        query = await answering.read(lambda: rest.explain_request(body), size=len(body))
        request.state.pictures = 1
        pixels, shown = await answering.picture(servable, query.pictures.signature, query.pictures.given)
        return {"explanations": [await explanations.answer(servable, pixels, shown=shown, label=query.label)]}

    async def health(self, request: Request) -> Response:  # noqa: ARG002
        """200 if every model answers and pictures can be decoded; for load balancers and process managers."""
        if not self._models.ready:
            return _json({"status": "no version of a model can be served"}, code=503)
        if not self._service.answering.ready:
            return _json({"status": "every decoding thread is stuck in a picture"}, code=503)
        return _json({"status": "ok"})

    async def metrics(self, request: Request) -> Response:  # noqa: ARG002
        """The metrics for Prometheus."""
        text = self._service.metrics.text(self._models)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def about(self, request: Request) -> Response:  # noqa: ARG002
        """The models with their versions, labels, classes, picture size and test figures."""
        return _json({"models": [self._about(name) for name in self._models.names if self._models.loaded(name)]})

    def _about(self, name: str) -> dict[str, Any]:
        with self._models.using(name) as servable:
            return {
                "name": name,
                "version": servable.version,
                "versions": self._models.loaded(name),
                "labels": self._models.labels(name),
                "description": servable.card.get("description", ""),
                "classes": list(servable.classes),
                "image_size": list(servable.image_size),
                "rendered": servable.card.get("rendered", False),
                "says_unfamiliar": servable.says_unfamiliar,
                "decides": self._service.settings.wanted.as_json(),
                "explains": self._service.settings.explains,
                "test": servable.card.get("test", {}),
            }


def _json(content: Any, *, code: int = 200) -> Response:
    return Response(json_text(content, strict=False), status_code=code, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    request.state.error = error.message
    code = HTTP_STATUS[error.code]
    return JSONResponse({"error": error.message}, code, {"retry-after": "1"} if code in (429, 503) else None)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    text = f"There is nothing at {plain_reason(request.scope['path'])}" if error.status_code == 404 else error.detail
    return JSONResponse({"error": text}, error.status_code, error.headers)
