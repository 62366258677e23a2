"""TensorFlow Serving's gRPC interface over the same models: PredictionService and ModelService."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from kt.errors import EnvironmentProblem, one_line
from kt.serve.answering import Answer
from kt.serve.app import Service
from kt.serve.batching import Pixels
from kt.serve.intake import Held
from kt.serve.refusal import Code, Refusal, invalid, plain_reason
from kt.serve.servable import FROM_BYTES, FROM_PIXELS, IN_SET, NO_REGRESSION, SIGNATURES, Servable
from kt.serve.wire import check_parts

log = logging.getLogger("kt.serve")

_SIGNATURE_DEF = "signature_def"

_PARTS, _PARTS_A_PICTURE = 10_000, 500
"""The most parts of a message, and further parts for each picture: an example of many features has several hundred."""


_PREDICTIONS, _MODELS = "tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"


async def start(service: Service) -> Any:
    """Start a server on the settings' gRPC port. Raises EnvironmentProblem if the port is taken."""
    settings = service.settings
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", settings.limits.body_bytes),
            ("grpc.server_handshake_timeout_ms", int(settings.limits.header_seconds * 1000)),
            ("grpc.so_reuseport", 0),  # otherwise two servers would silently share a port
        ],
        maximum_concurrent_rpcs=settings.limits.requests,
    )
    predictions, models = _Predictions(service), _Models(service)
    answers = {
        _PREDICTIONS: {
            "Predict": _Answer("predict", predict_pb2.PredictRequest, predictions.predict),
            "Classify": _Answer("classify", classification_pb2.ClassificationRequest, predictions.classify),
            "Regress": _Answer("regress", regression_pb2.RegressionRequest, predictions.regress),
            "GetModelMetadata": _Answer(
                "metadata", get_model_metadata_pb2.GetModelMetadataRequest, predictions.metadata
            ),
        },
        _MODELS: {"GetModelStatus": _Answer("status", get_model_status_pb2.GetModelStatusRequest, models.status)},
    }
    for name, methods in answers.items():
        handlers = {method: _handler(service, answer) for method, answer in methods.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        server.add_insecure_port(f"{host}:{settings.grpc_port}")
    except RuntimeError as error:
        raise EnvironmentProblem(
            f"Cannot listen on {host}:{settings.grpc_port}; choose another --grpc-port. ({one_line(error)})"
        ) from None
    await server.start()
    return server


@dataclass(frozen=True)
class _Answer:
    """A method: its kind for the counters, the message that it takes, and the function that answers."""

    kind: str
    takes: Any
    work: "Callable[[_Call, Any], Awaitable[Any]]"


def _handler(service: Service, answer: _Answer) -> Any:
    """A method that reads its message itself, once the key is checked and there is room for the message.

    In a handler of one message gRPC would read it first, from any client and any number at once. The bytes on the wire
    are the same.
    """

    async def behaviour(_: Any, context: Any) -> Any:
        return await _Call(service, context, answer.kind).answered(answer)

    return grpc.stream_unary_rpc_method_handler(
        behaviour, request_deserializer=None, response_serializer=lambda message: message.SerializeToString()
    )


class _Call:
    """One call: checks, counts and logs it, and turns a Refusal into the call's status."""

    def __init__(self, service: Service, context: Any, kind: str) -> None:
        self._service, self._context, self._kind = service, context, kind
        self.pictures = 0

    async def answered(self, answer: _Answer) -> Any:
        begun, client, status, problem = time.monotonic(), _client(self._context), "OK", ""
        try:
            self._admit(client)
            with self._service.intake.held() as held:
                return await answer.work(self, await self._message(answer.takes, held))
        except Refusal as refusal:
            status, problem = refusal.code.value, refusal.message
            self._end(status, problem)
        except asyncio.CancelledError:
            status = "CANCELLED"
            raise
        except Exception:
            status = "INTERNAL"
            log.exception("request failed", extra={"path": self._kind})
            self._end(status, "Internal error; the server's log tells more")
        finally:
            seconds = time.monotonic() - begun
            self._service.metrics.request("grpc", self._kind, status=status, seconds=seconds)
            extra = {
                "interface": "grpc",
                "method": "POST",
                "path": self._kind,
                "status": status,
                "ms": round(seconds * 1000, 1),
                "pictures": self.pictures,
                "client": client,
            }
            log.info("request", extra=extra | ({"error": problem} if problem else {}))

    def _end(self, status: str, message: str) -> None:
        """Answer with an error. Not by `abort`: its exception forms a reference cycle that holds the request."""
        self._context.set_code(grpc.StatusCode[status])
        self._context.set_details(message)

    def _admit(self, client: str) -> None:
        sent = {
            key: value if isinstance(value, bytes) else value.encode(errors="replace")
            for key, value in self._context.invocation_metadata()
        }
        self._service.gatekeeper.check_rate(client)
        self._service.gatekeeper.check_key(
            authorization=sent.get("authorization", b""), api_key=sent.get("x-api-key", b"")
        )

    async def _message(self, takes: Any, held: Held) -> Any:
        """The request, read within the limits, checked and parsed."""
        data = await self._service.intake.message(held, self._context.read)
        if data is grpc.aio.EOF:
            raise invalid("The call came without a message")
        most = _PARTS + _PARTS_A_PICTURE * self._service.settings.limits.instances
        return await self.read(lambda: _parsed(takes, data, most=most), size=len(data))

    async def read(self, work: Callable[[], Any], *, size: int) -> Any:
        """The result of reading a request, or a part of it. size: in bytes."""
        return await self._service.answering.read(work, size=size)


def _parsed(takes: Any, data: bytes, *, most: int) -> Any:
    check_parts(data, takes.DESCRIPTOR, most=most)
    try:
        return takes.FromString(data)
    except DecodeError:
        raise invalid("The message cannot be parsed") from None


class _Predictions:
    """Predict, Classify and GetModelMetadata; Regress gives TensorFlow Serving's error for such a model."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def predict(self, call: _Call, request: Any) -> Any:
        most = self._service.settings.limits.instances
        with _using(self._service, request.model_spec) as servable:
            signature = _signature(request.model_spec)
            wanted = set(request.output_filter)
            size = request.ByteSize()
            given = await call.read(partial(_given, servable, signature, request.inputs, most=most), size=size)
            del request  # its pictures are in `given`
            call.pictures = len(given)
            answer = await self._service.answering.answer(servable, signature, given)
        outputs = _outputs(answer)
        if unknown := sorted(wanted - set(outputs)):
            raise invalid(f"output tensor alias not found in signature: {unknown[0]}")
        return predict_pb2.PredictResponse(
            model_spec=_spec(servable, signature),
            outputs={name: outputs[name] for name in wanted or set(outputs)},
        )

    async def classify(self, call: _Call, request: Any) -> Any:
        most = self._service.settings.limits.instances
        with _using(self._service, request.model_spec) as servable:
            signature = _signature(request.model_spec)
            if signature != FROM_BYTES:
                raise invalid(f"Classify takes encoded pictures: signature {FROM_BYTES!r}, not {signature!r}")
            given = _pictures(request.input, most=most)
            del request
            call.pictures = len(given)
            answer = await self._service.answering.answer(servable, signature, given)
        return classification_pb2.ClassificationResponse(
            model_spec=_spec(servable, signature), result={"classifications": _classifications(answer)}
        )

    async def regress(self, _: _Call, request: Any) -> Any:
        with _using(self._service, request.model_spec):
            raise invalid(NO_REGRESSION)

    async def metadata(self, _: _Call, request: Any) -> Any:
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        if unknown := [field for field in request.metadata_field if field != _SIGNATURE_DEF]:
            raise invalid(f"Metadata field {plain_reason(unknown[0], most=80)} is not supported")
        with _using(self._service, request.model_spec) as servable:
            response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=_spec(servable, ""))
            signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signature_defs)
            response.metadata[_SIGNATURE_DEF].Pack(signatures)
            return response


class _Models:
    """GetModelStatus. The folders define what is served, so HandleReloadConfigRequest is not implemented."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def status(self, _: _Call, request: Any) -> Any:
        name, version, label = _which(request.model_spec)
        states = self._service.models.status(name, version=version, label=label)
        status = get_model_status_pb2.ModelVersionStatus
        return get_model_status_pb2.GetModelStatusResponse(
            model_version_status=[
                status(
                    version=each.version,
                    state=status.State.Value(each.state),
                    status={"error_code": "UNKNOWN" if each.error else "OK", "error_message": each.error},
                )
                for each in states
            ]
        )


def _client(context: Any) -> str:
    """The client's address without the port, from a peer such as `ipv4:127.0.0.1:4711`."""
    return str(context.peer()).partition(":")[2].rpartition(":")[0].strip("[]") or "unknown"


def _which(spec: Any) -> tuple[str, int | None, str | None]:
    if not spec.name:
        raise invalid("Missing ModelSpec")
    choice = spec.WhichOneof("version_choice")
    version = int(spec.version.value) if choice == "version" else None
    return spec.name, version, spec.version_label if choice == "version_label" else None


def _using(service: Service, spec: Any) -> Any:
    name, version, label = _which(spec)
    return service.models.using(name, version=version, label=label)


def _spec(servable: Servable, signature: str) -> Any:
    return model_pb2.ModelSpec(name=servable.name, version={"value": servable.version}, signature_name=signature)


def _signature(spec: Any) -> str:
    name = spec.signature_name or FROM_BYTES
    if name not in SIGNATURES:
        raise Refusal(Code.FAILED_PRECONDITION, f'Serving signature key "{name[:80]}" not found.')
    return str(name)


def _given(servable: Servable, signature: str, inputs: Any, *, most: int) -> "Sequence[bytes] | Pixels":
    """The input of a signature. Its shape is checked first: a few bytes can claim a tensor of many gigabytes."""
    name = SIGNATURES[signature]
    if set(inputs) != {name}:
        sent = plain_reason(",".join(sorted(inputs)), most=80)
        raise invalid(f"input size does not match signature: sent {{{sent}}}, required {{{name}}}")
    tensor = inputs[name]
    shape = [int(side.size) for side in tensor.tensor_shape.dim]
    expected = [-1, *servable.image_size, 3] if signature == FROM_PIXELS else [-1]
    dtype = tf.uint8 if signature == FROM_PIXELS else tf.string
    if tensor.dtype != dtype.as_datatype_enum or len(shape) != len(expected) or shape[1:] != expected[1:]:
        sent = types_pb2.DataType.Name(tensor.dtype) if tensor.dtype in types_pb2.DataType.values() else tensor.dtype
        raise invalid(f"Input {name} is {sent} {plain_reason(str(shape), most=80)}; expected {dtype.name} {expected}")
    if not 0 < shape[0] <= most:
        raise invalid(f"Input {name} holds {shape[0]} pictures; 1 to {most} are answered at once")
    return _pixels(tensor, shape) if signature == FROM_PIXELS else _strings(tensor, shape[0])


def _strings(tensor: Any, count: int) -> list[bytes]:
    values = tensor.string_val
    if not 0 < len(values) <= count:
        raise invalid(f"Input image_bytes is no tensor: it has {len(values)} values for {count} pictures")
    pictures = [bytes(value) for value in values]
    return pictures + pictures[-1:] * (count - len(pictures))  # the last value fills a tensor, as in TensorFlow


def _pixels(tensor: Any, shape: list[int]) -> Pixels:
    size = math.prod(shape)
    if tensor.tensor_content:
        if len(tensor.tensor_content) != size:
            raise invalid(f"Input pixels is no tensor: it has {len(tensor.tensor_content)} bytes for {shape}")
        return np.frombuffer(tensor.tensor_content, np.uint8).reshape(shape)
    values = np.fromiter(tensor.int_val, np.int32, len(tensor.int_val))
    if not 0 < len(values) <= size:
        raise invalid(f"Input pixels is no tensor: it has {len(values)} values for {shape}")
    if values.min() < 0 or values.max() > 255:
        raise invalid("Input pixels must be 0 to 255")
    pixels = np.full(size, values[-1], np.uint8)
    pixels[: len(values)] = values
    return pixels.reshape(shape)


def _outputs(answer: Answer) -> dict[str, Any]:
    """The outputs as TensorFlow Serving writes them: as single values, since some clients read nothing else."""
    count, num_classes = answer.scores.shape
    names = [name.encode() for name in answer.classes]
    labels = [(label or "").encode() for label in answer.labels]  # a tensor has no null
    outputs = {
        "label": _tensor(types_pb2.DT_STRING, [count], string_val=labels),
        "scores": _tensor(types_pb2.DT_FLOAT, [count, num_classes], float_val=answer.scores.reshape(-1).tolist()),
        "classes": _tensor(types_pb2.DT_STRING, [count, num_classes], string_val=names * count),
    }
    if (inside := answer.in_set) is not None:
        outputs[IN_SET] = _tensor(types_pb2.DT_BOOL, [count, num_classes], bool_val=inside.reshape(-1).tolist())
    if answer.unfamiliarity is not None:
        outputs["unfamiliarity"] = _tensor(types_pb2.DT_FLOAT, [count], float_val=answer.unfamiliarity)
    if answer.unfamiliar is not None:
        outputs["unfamiliar"] = _tensor(types_pb2.DT_BOOL, [count], bool_val=answer.unfamiliar)
    return outputs


def _tensor(dtype: int, shape: list[int], **values: Sequence[bytes] | Sequence[float] | Sequence[bool]) -> Any:
    return tensor_pb2.TensorProto(dtype=dtype, tensor_shape=tf.TensorShape(shape).as_proto(), **values)


def _pictures(given: Any, *, most: int) -> list[bytes]:
    """The picture of each example, or the context's if an example has none; a shared picture is copied only once."""
    kind = given.WhichOneof("kind")
    if kind is None:
        raise invalid("Input is empty")
    listed = getattr(given, kind)
    if len(listed.examples) > most:
        raise invalid(f"The request holds {len(listed.examples)} pictures; at most {most} are answered at once")
    shared: bytes | None = None
    pictures = []
    for example in listed.examples:
        picture = _feature(example)
        if picture is None and kind == "example_list_with_context":
            picture = shared = _feature(listed.context) if shared is None else shared
        if picture is None:
            raise invalid(f"Feature: {SIGNATURES[FROM_BYTES]} is missing in an example")
        pictures.append(picture)
    return pictures


def _feature(example: Any) -> bytes | None:
    name = SIGNATURES[FROM_BYTES]
    if name not in example.features.feature:
        return None
    values = example.features.feature[name].bytes_list.value
    if len(values) != 1:
        raise invalid(f"Feature: {name} has {len(values)} values; expected one picture an example")
    return bytes(values[0])


def _classifications(answer: Answer) -> Iterable[dict[str, Any]]:
    return [
        {"classes": [{"label": name, "score": float(score)} for name, score in zip(answer.classes, row, strict=True)]}
        for row in answer.scores
    ]
