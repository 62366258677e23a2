"""TensorFlow Serving's gRPC interface over the same models: PredictionService and ModelService."""

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import grpc
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from kt.errors import EnvironmentProblem, one_line
from kt.serve.answering import Answer
from kt.serve.app import Service
from kt.serve.batching import Pixels
from kt.serve.refusal import Code, Refusal, invalid
from kt.serve.servable import FROM_BYTES, FROM_PIXELS, NO_REGRESSION, SIGNATURES, Servable

log = logging.getLogger("kt.serve")

_SIGNATURE_DEF = "signature_def"


async def start(service: Service) -> Any:
    """A server that listens on the settings' gRPC port; raises EnvironmentProblem where that is taken."""
    settings = service.settings
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", settings.limits.body_bytes),
            ("grpc.so_reuseport", 0),  # otherwise two servers would share a port without a word
        ],
        maximum_concurrent_rpcs=settings.limits.requests,
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Predictions(service), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(service), server)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        server.add_insecure_port(f"{host}:{settings.grpc_port}")
    except RuntimeError as error:
        raise EnvironmentProblem(
            f"Cannot listen on {host}:{settings.grpc_port}; choose another --grpc-port. ({one_line(error)})"
        ) from None
    await server.start()
    return server


class _Call:
    """One call: admits it, counts and logs it, and turns a Refusal into the call's status."""

    def __init__(self, service: Service, context: Any, kind: str) -> None:
        self._service, self._context, self._kind = service, context, kind
        self.pictures = 0

    async def answered(self, work: Callable[["_Call"], Awaitable[Any]]) -> Any:
        begun, client, status, problem = time.monotonic(), _client(self._context), "OK", ""
        try:
            self._admit(client)
            return await work(self)
        except Refusal as refusal:
            status, problem = refusal.code.value, refusal.message
            return await self._context.abort(grpc.StatusCode[status], refusal.message)
        except Exception:
            status = "INTERNAL"
            log.exception("request failed", extra={"path": self._kind})
            return await self._context.abort(grpc.StatusCode.INTERNAL, "Internal error; the server's log tells more")
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

    def _admit(self, client: str) -> None:
        sent = {key: value.encode() for key, value in self._context.invocation_metadata() if isinstance(value, str)}
        self._service.gatekeeper.check_rate(client)
        self._service.gatekeeper.check_key(
            authorization=sent.get("authorization", b""), api_key=sent.get("x-api-key", b"")
        )


class _Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """Predict, Classify and GetModelMetadata; Regress says what TensorFlow Serving says of such a model."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def Predict(self, request: Any, context: Any) -> Any:  # noqa: N802
        async def work(call: _Call) -> Any:
            with _using(self._service, request.model_spec) as servable:
                signature = _signature(request.model_spec)
                given = _given(servable, signature, request.inputs, most=self._service.settings.limits.instances)
                call.pictures = len(given)
                answer = await self._service.answering.answer(servable, signature, given)
            outputs = _outputs(answer)
            if unknown := sorted(set(request.output_filter) - set(outputs)):
                raise invalid(f"output tensor alias not found in signature: {unknown[0]}")
            kept = set(request.output_filter) or set(outputs)
            return predict_pb2.PredictResponse(
                model_spec=_spec(servable, signature),
                outputs={name: outputs[name] for name in kept},
            )

        return await _Call(self._service, context, "predict").answered(work)

    async def Classify(self, request: Any, context: Any) -> Any:  # noqa: N802
        async def work(call: _Call) -> Any:
            with _using(self._service, request.model_spec) as servable:
                signature = _signature(request.model_spec)
                if signature != FROM_BYTES:
                    raise invalid(f"Classify takes encoded pictures: signature {FROM_BYTES!r}, not {signature!r}")
                given = [_feature(example) for example in _examples(request.input)]
                call.pictures = len(given)
                answer = await self._service.answering.answer(servable, signature, given)
            return classification_pb2.ClassificationResponse(
                model_spec=_spec(servable, signature), result={"classifications": _classifications(answer)}
            )

        return await _Call(self._service, context, "classify").answered(work)

    async def Regress(self, request: Any, context: Any) -> Any:  # noqa: N802
        async def work(_: _Call) -> Any:
            with _using(self._service, request.model_spec):
                raise invalid(NO_REGRESSION)

        return await _Call(self._service, context, "regress").answered(work)

    async def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        async def work(_: _Call) -> Any:
            if not request.metadata_field:
                raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
            if unknown := [field for field in request.metadata_field if field != _SIGNATURE_DEF]:
                raise invalid(f"Metadata field {unknown[0]} is not supported")
            with _using(self._service, request.model_spec) as servable:
                response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=_spec(servable, ""))
                signatures = get_model_metadata_pb2.SignatureDefMap(signature_def=servable.signature_defs)
                response.metadata[_SIGNATURE_DEF].Pack(signatures)
                return response

        return await _Call(self._service, context, "metadata").answered(work)


class _Models(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """GetModelStatus. What is served is told by the folders, so HandleReloadConfigRequest is not implemented."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def GetModelStatus(self, request: Any, context: Any) -> Any:  # noqa: N802
        async def work(_: _Call) -> Any:
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

        return await _Call(self._service, context, "status").answered(work)


def _client(context: Any) -> str:
    """The address without the port, from such as `ipv4:127.0.0.1:4711`."""
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
    """The one input of a signature. Its shape is checked first: a few bytes can claim a tensor of many gigabytes."""
    name = SIGNATURES[signature]
    if set(inputs) != {name}:
        raise invalid(f"input size does not match signature: sent {{{','.join(sorted(inputs))}}}, required {{{name}}}")
    tensor = inputs[name]
    shape = [int(side.size) for side in tensor.tensor_shape.dim]
    expected = [-1, *servable.image_size, 3] if signature == FROM_PIXELS else [-1]
    dtype = tf.uint8 if signature == FROM_PIXELS else tf.string
    if tensor.dtype != dtype.as_datatype_enum or len(shape) != len(expected) or shape[1:] != expected[1:]:
        sent = types_pb2.DataType.Name(tensor.dtype) if tensor.dtype in types_pb2.DataType.values() else tensor.dtype
        raise invalid(f"Input {name} is {sent} {shape}; expected {dtype.name} {expected}")
    if not 0 < shape[0] <= most:
        raise invalid(f"Input {name} holds {shape[0]} pictures; 1 to {most} are answered at once")
    try:
        values = tf.make_ndarray(tensor)
    except (TypeError, ValueError) as error:
        raise invalid(f"Input {name} is no tensor: {one_line(error)}") from None
    return values if signature == FROM_PIXELS else [bytes(value) for value in values]


def _outputs(answer: Answer) -> dict[str, Any]:
    """The outputs as TensorFlow Serving writes them: value by value, since some clients read nothing else."""
    count, num_classes = answer.scores.shape
    names = [name.encode() for name in answer.classes]
    return {
        "label": _tensor(types_pb2.DT_STRING, [count], string_val=[label.encode() for label in answer.labels]),
        "scores": _tensor(types_pb2.DT_FLOAT, [count, num_classes], float_val=answer.scores.reshape(-1).tolist()),
        "classes": _tensor(types_pb2.DT_STRING, [count, num_classes], string_val=names * count),
    }


def _tensor(dtype: int, shape: list[int], *, string_val: Sequence[bytes] = (), float_val: Sequence[float] = ()) -> Any:
    return tensor_pb2.TensorProto(
        dtype=dtype, tensor_shape=tf.TensorShape(shape).as_proto(), string_val=string_val, float_val=float_val
    )


def _examples(given: Any) -> list[Any]:
    kind = given.WhichOneof("kind")
    if kind is None:
        raise invalid("Input is empty")
    if kind == "example_list":
        return list(given.example_list.examples)
    context = given.example_list_with_context.context
    merged = []
    for example in given.example_list_with_context.examples:
        whole = type(example)()
        whole.CopyFrom(context)
        for name, feature in example.features.feature.items():
            whole.features.feature[name].CopyFrom(feature)
        merged.append(whole)
    return merged


def _feature(example: Any) -> bytes:
    name = SIGNATURES[FROM_BYTES]
    if name not in example.features.feature:
        raise invalid(f"Feature: {name} is missing in an example")
    values = example.features.feature[name].bytes_list.value
    if len(values) != 1:
        raise invalid(f"Feature: {name} has {len(values)} values; expected one picture an example")
    return bytes(values[0])


def _classifications(answer: Answer) -> Iterable[dict[str, Any]]:
    return [
        {"classes": [{"label": name, "score": float(score)} for name, score in zip(answer.classes, row, strict=True)]}
        for row in answer.scores
    ]
