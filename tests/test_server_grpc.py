"""`kt serve` over gRPC, asked by the stubs of tensorflow-serving-api: the answers and the codes of REST."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
grpc = pytest.importorskip("grpc", reason="needs the extra 'grpc'")
pytest.importorskip("tensorflow_serving.apis", reason="needs the extra 'grpc'")
pytest.importorskip("httpx")

import tensorflow as tf  # noqa: E402
from serving import (  # noqa: E402
    CLASSES,
    SIZE,
    Running,
    encoded,
    pixels_of,
    release,
    running,
    scores,
    two_versions,
)
from tensorflow.core.framework import tensor_pb2  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from kt.export.artifact import open_artifact  # noqa: E402
from kt.serve.settings import Limits  # noqa: E402


@pytest.fixture(scope="module")
def server(exports: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = two_versions(exports, tmp_path_factory.mktemp("served") / "tiny")
    with running(folder, limits=Limits(body_bytes=2**20, pixels=250_000, instances=8)) as made:
        yield made


@pytest.fixture(scope="module")
def predictions(server: Running) -> Iterator[Any]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def asking(inputs: dict[str, Any], **spec: Any) -> predict_pb2.PredictRequest:
    tensors = {
        name: value if isinstance(value, tensor_pb2.TensorProto) else tf.make_tensor_proto(value)
        for name, value in inputs.items()
    }
    return predict_pb2.PredictRequest(model_spec={"name": "tiny", **spec}, inputs=tensors)


def refusal(call: Any, request: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as raised:
        call(request, timeout=120)
    return raised.value.code().name, raised.value.details()


def test_predict_answers_with_the_scores_of_the_version_that_is_asked(server: Running, predictions: Any) -> None:
    pictures = [encoded(0), encoded(1, format="JPEG", exif=6)]
    pixels = np.stack([pixels_of(data) for data in pictures])
    for inputs, spec, version in (
        ({"image_bytes": pictures}, {}, "2"),
        ({"image_bytes": pictures}, {"version": {"value": 1}}, "1"),
        ({"image_bytes": pictures}, {"version": {"value": 0}}, "2"),
        ({"image_bytes": pictures}, {"version_label": "stable"}, "1"),
        ({"pixels": pixels}, {"signature_name": "pixels"}, "2"),
    ):
        answer = predictions.Predict(asking(inputs, **spec), timeout=120)
        assert answer.model_spec.version.value == int(version)
        expected = scores(server.folder / version, *pictures)
        assert tf.make_ndarray(answer.outputs["scores"]) == pytest.approx(expected, abs=1e-6)
        assert [name.decode() for name in tf.make_ndarray(answer.outputs["classes"])[0]] == list(CLASSES)
        labels = [name.decode() for name in tf.make_ndarray(answer.outputs["label"])]
        assert labels == [CLASSES[index] for index in expected.argmax(axis=1)]


def test_only_the_outputs_that_are_asked_for_come(predictions: Any) -> None:
    request = asking({"image_bytes": [encoded()]})
    request.output_filter.append("label")
    assert list(predictions.Predict(request, timeout=120).outputs) == ["label"]
    request.output_filter.append("colour")
    assert refusal(predictions.Predict, request) == (
        "INVALID_ARGUMENT",
        "output tensor alias not found in signature: colour",
    )


def test_classify_answers_each_example_with_every_label(server: Running, predictions: Any) -> None:
    request = classification_pb2.ClassificationRequest(model_spec={"name": "tiny"})
    for index in range(2):
        example = request.input.example_list.examples.add()
        example.features.feature["image_bytes"].bytes_list.value.append(encoded(index))
    answer = predictions.Classify(request, timeout=120)
    found = [[(each.label, each.score) for each in row.classes] for row in answer.result.classifications]
    expected = scores(server.folder / "2", encoded(0), encoded(1))
    assert [[name for name, _ in row] for row in found] == [list(CLASSES)] * 2
    assert [[score for _, score in row] for row in found] == pytest.approx(expected, abs=1e-6)


def test_metadata_and_status_tell_what_is_served(server: Running, predictions: Any) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(
        model_spec={"name": "tiny"}, metadata_field=["signature_def"]
    )
    answer = predictions.GetModelMetadata(request, timeout=120)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(signatures)
    shape = signatures.signature_def["pixels"].inputs["pixels"].tensor_shape
    assert [side.size for side in shape.dim] == [-1, *SIZE, 3]
    assert answer.model_spec.version.value == 2
    with grpc.insecure_channel(server.grpc) as channel:
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        status = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "tiny"})
        states = models.GetModelStatus(status, timeout=120).model_version_status
        available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
        assert [(each.version, each.state) for each in states] == [(2, available), (1, available)]
        status.model_spec.name = "none"
        assert refusal(models.GetModelStatus, status) == ("NOT_FOUND", "Could not find any versions of model none")


def test_what_is_wrong_gets_the_code_that_tensorflow_serving_gives(predictions: Any) -> None:
    huge = tf.make_tensor_proto([b"x"])
    huge.tensor_shape.dim[0].size = 10**9
    empty = tf.make_tensor_proto(np.zeros((1, *SIZE, 3), np.uint8))
    empty.tensor_content = b"short"
    for request, code, message in (
        (asking({"image_bytes": [b"x"]}, name="none"), "NOT_FOUND", "Servable not found for request: Latest(none)"),
        (asking({"image_bytes": [b"x"]}, version={"value": 7}), "NOT_FOUND", "Specific(tiny, 7)"),
        (asking({"image_bytes": [b"x"]}, version_label="new"), "INVALID_ARGUMENT", "version label: new"),
        (asking({"image_bytes": [b"x"]}, signature_name="x"), "FAILED_PRECONDITION", 'signature key "x" not found'),
        (asking({"image_bytes": [b"x"]}), "INVALID_ARGUMENT", "picture 0 cannot be read"),
        (asking({"image_bytes": [1.5]}), "INVALID_ARGUMENT", "is DT_FLOAT [1]; expected string [-1]"),
        (asking({"image_bytes": b"x"}), "INVALID_ARGUMENT", "expected string [-1]"),
        (asking({"image_bytes": [b"x"] * 9}), "INVALID_ARGUMENT", "holds 9 pictures; 1 to 8"),
        (asking({"image_bytes": huge}), "INVALID_ARGUMENT", "holds 1000000000 pictures"),
        (asking({"pixels": empty}, signature_name="pixels"), "INVALID_ARGUMENT", "is no tensor"),
        (asking({"picture": [b"x"]}), "INVALID_ARGUMENT", "input size does not match signature"),
        (asking({"image_bytes": [b"x" * 2**21]}), "RESOURCE_EXHAUSTED", ""),
        (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    ):
        found, details = refusal(predictions.Predict, request)
        assert (found, message in details) == (code, True), details
    regression = regression_pb2.RegressionRequest(model_spec={"name": "tiny"})
    assert refusal(predictions.Regress, regression)[0] == "INVALID_ARGUMENT"
    assert refusal(predictions.Classify, classification_pb2.ClassificationRequest(model_spec={"name": "tiny"})) == (
        "INVALID_ARGUMENT",
        "Input is empty",
    )


def test_the_key_and_the_rate_hold_for_grpc_too(exports: list[Path], tmp_path: Path) -> None:
    release(exports[0], tmp_path / "tiny", 1)
    with (
        running(tmp_path / "tiny", api_key="secret", limits=Limits(rate=3)) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "tiny"})
        assert refusal(models.GetModelStatus, request)[0] == "UNAUTHENTICATED"
        metadata = [("authorization", "Bearer secret")]
        assert models.GetModelStatus(request, metadata=metadata, timeout=120).model_version_status[0].version == 1
        codes = {refusal(models.GetModelStatus, request)[0] for _ in range(5)}
        assert "RESOURCE_EXHAUSTED" in codes


def test_the_outputs_say_whether_a_picture_is_unlike_anything_the_model_learned_from(ran: Any) -> None:
    folder, pictures = ran.folder / "saved_models" / "tiny", [encoded(0), encoded(1)]
    expected = open_artifact(folder).answers_to(pictures)
    with running(folder) as made, grpc.insecure_channel(made.grpc) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        outputs = stub.Predict(asking({"image_bytes": pictures}), timeout=120).outputs
    called = tf.make_ndarray(outputs["unfamiliar"])
    assert called.dtype == bool and called.tolist() == expected.unfamiliar.tolist()
    np.testing.assert_allclose(tf.make_ndarray(outputs["unfamiliarity"]), expected.unfamiliarity, atol=1e-5)
