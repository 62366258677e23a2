"""A released version against what TensorFlow Serving expects of it, and the files beside that its server reads.

Its binary is in no package index, so `Served` does here what the server does: it loads the MetaGraphDef into a session,
feeds tensors by the signature's names, and turns JSON into tensors and back by the rules of its REST interface.
"""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
import yaml
from conftest import PHOTOS, REPOSITORY, Ran, draw
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, text_format, wrappers_pb2
from tensorflow.python.tools import saved_model_utils
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

from kt.export import warm_up
from kt.export.artifact import open_artifact
from kt.export.formats.format import Details
from kt.export.formats.saved_model import SavedModel
from kt.kinds.pictures.images import read_rgb, resize
from kt.kinds.pictures.kind import Pictures
from kt.releases import tensorflow_serving
from kt.releases.versions import version_labels

CLASSES = ["blue", "green", "red"]


def png(label: str, index: int) -> bytes:
    buffer = io.BytesIO()
    draw(label, index).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = [png(label, index) for label in CLASSES for index in (100, 101)]


def b64(content: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(content).decode()}


class Served:
    """A version as TensorFlow Serving has it."""

    def __init__(self, version: Path) -> None:
        self.session = tf.compat.v1.Session(graph=tf.Graph())
        with self.session.graph.as_default():
            self.meta = tf.compat.v1.saved_model.load(self.session, ["serve"], str(version))

    def run(self, request: predict_pb2.PredictRequest) -> dict[str, np.ndarray]:
        """What gRPC answers."""
        signature = self.meta.signature_def[request.model_spec.signature_name or "serving_default"]
        assert signature.method_name == "tensorflow/serving/predict"
        assert set(request.inputs) == set(signature.inputs), "input names are not those of the signature"
        for name, tensor in request.inputs.items():
            assert tensor.dtype == signature.inputs[name].dtype
        fed = {signature.inputs[name].name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        return self.session.run({name: info.name for name, info in signature.outputs.items()}, fed)

    def predict(self, body: dict[str, Any]) -> dict[str, Any]:
        """What REST answers."""
        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = body.get("signature_name", "serving_default")
        inputs = self.meta.signature_def[request.model_spec.signature_name].inputs
        by_row = "instances" in body
        columns = _columns(body["instances"], inputs) if by_row else _named(body["inputs"], inputs)
        for name, values in columns.items():
            kind = tf.dtypes.as_dtype(inputs[name].dtype)
            request.inputs[name].CopyFrom(tf.make_tensor_proto(_decoded(values), dtype=kind))
        answer = {name: _jsonable(name, values) for name, values in self.run(request).items()}
        return json.loads(json.dumps({"predictions": _rows(answer)} if by_row else {"outputs": _alone(answer)}))


def _columns(instances: list[Any], inputs: Any) -> dict[str, list[Any]]:
    if all(isinstance(row, dict) and set(row) != {"b64"} for row in instances):
        assert all(set(row) == set(inputs) for row in instances), "every row needs each input of the signature"
        return {name: [row[name] for row in instances] for name in inputs}
    assert len(inputs) == 1, "rows without names are for signatures of one input"
    return {next(iter(inputs)): instances}


def _named(values: Any, inputs: Any) -> dict[str, Any]:
    if isinstance(values, dict) and set(values) != {"b64"}:
        return values
    assert len(inputs) == 1, "columns without names are for signatures of one input"
    return {next(iter(inputs)): values}


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    return [_decoded(item) for item in value] if isinstance(value, list) else value


def _jsonable(name: str, values: np.ndarray) -> list[Any]:
    """Strings whose name ends in _bytes become base64, others have to be UTF-8."""
    if values.dtype != object:
        return values.tolist()
    encode = b64 if name.endswith("_bytes") else bytes.decode
    return np.vectorize(encode, otypes=[object])(values).tolist()


def _rows(answer: dict[str, list[Any]]) -> list[Any]:
    assert len({len(values) for values in answer.values()}) == 1, "rows need the same batch size in every output"
    if len(answer) == 1:
        return next(iter(answer.values()))
    return [dict(zip(answer, row, strict=True)) for row in zip(*answer.values(), strict=True)]


def _alone(answer: dict[str, list[Any]]) -> Any:
    return answer if len(answer) > 1 else next(iter(answer.values()))


@dataclass(frozen=True)
class Version:
    """A version that `kt run` released, as the server has it and as kt has it."""

    path: Path
    served: Served
    scores: np.ndarray
    pixels: np.ndarray


@pytest.fixture(scope="session")
def version(ran: Ran) -> Version:
    path = ran.folder / "saved_models/tiny/1"
    artifact = open_artifact(path)
    pixels = np.stack([resize(read_rgb(data), artifact.kind.image_size) for data in PICTURES])
    return Version(path, Served(path), artifact.answer(PICTURES), pixels)


# -------------------------------------------------------------------------------------------------- signatures


def test_the_signatures_have_the_names_types_and_shapes_that_clients_go_by(version):
    meta = saved_model_utils.get_meta_graph_def(str(version.path), "serve")
    told = {
        name: {
            (kind, tensor): (tf.dtypes.as_dtype(info.dtype).name, [dim.size for dim in info.tensor_shape.dim])
            for kind, infos in (("in", signature.inputs), ("out", signature.outputs))
            for tensor, info in infos.items()
        }
        for name, signature in meta.signature_def.items()
        if not name.startswith("__")
    }
    answers = {
        ("out", "label"): ("string", [-1]),
        ("out", "scores"): ("float32", [-1, 3]),
        ("out", "classes"): ("string", [-1, 3]),
        ("out", "unfamiliarity"): ("float32", [-1]),
        ("out", "unfamiliar"): ("bool", [-1]),
    }
    assert told == {
        "serving_default": {("in", "image_bytes"): ("string", [-1]), **answers},
        "pixels": {("in", "pixels"): ("uint8", [-1, 32, 32, 3]), **answers},
        "features": {
            ("in", "pixels"): ("uint8", [-1, 32, 32, 3]),
            ("out", "scores"): ("float32", [-1, 3]),
            ("out", "features"): ("float32", [-1, 8]),
            ("out", "unfamiliarity"): ("float32", [-1]),
            ("out", "unfamiliar"): ("bool", [-1]),
        },
    }


def test_binary_inputs_and_no_readable_output_are_named_bytes(version):
    """The suffix is what tells the server that a string is binary."""
    for signature in version.served.meta.signature_def.values():
        for name, info in signature.inputs.items():
            assert (info.dtype == tf.string.as_datatype_enum) == name.endswith("_bytes")
        assert not any(name.endswith("_bytes") for name in signature.outputs)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_any_number_of_pictures_is_a_batch_in_both_signatures(version, size):
    for signature, name, given in (
        ("serving_default", "image_bytes", np.array(PICTURES[:size], object)),
        ("pixels", "pixels", version.pixels[:size]),
    ):
        request = predict_pb2.PredictRequest()
        request.model_spec.signature_name = signature
        request.inputs[name].CopyFrom(tf.make_tensor_proto(given))
        answer = version.served.run(request)
        assert {key: value.shape for key, value in answer.items()} == {
            "label": (size,),
            "scores": (size, 3),
            "classes": (size, 3),
            "unfamiliarity": (size,),
            "unfamiliar": (size,),
        }
        np.testing.assert_allclose(answer["scores"], version.scores[:size], atol=1e-5)


def test_the_metadata_answer_names_each_signature(version):
    """As the server builds it: the signatures of the MetaGraphDef, packed, and printed with the names of the fields."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in version.served.meta.signature_def.items():
        signatures.signature_def[name].CopyFrom(signature)
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.metadata["signature_def"].Pack(signatures)
    unpacked = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(unpacked)
    told = json_format.MessageToDict(unpacked, preserving_proto_field_name=True)["signature_def"]
    image_bytes = told["serving_default"]["inputs"]["image_bytes"]
    assert image_bytes["dtype"] == "DT_STRING" and image_bytes["tensor_shape"] == {"dim": [{"size": "-1"}]}
    assert told["pixels"]["inputs"]["pixels"]["dtype"] == "DT_UINT8"
    assert set(told["pixels"]["outputs"]) == {"label", "scores", "classes", "unfamiliarity", "unfamiliar"}


# ---------------------------------------------------------------------------------------------------- JSON


def check_rows(answer: dict[str, Any], version: Version, count: int) -> None:
    rows = answer["predictions"]
    assert [row["classes"] for row in rows] == [CLASSES] * count
    np.testing.assert_allclose([row["scores"] for row in rows], version.scores[:count], atol=1e-5)
    assert [row["label"] for row in rows] == [CLASSES[top] for top in version.scores[:count].argmax(axis=1)]


def test_rows_of_base64_pictures_are_answered_row_by_row(version):
    named = {"instances": [{"image_bytes": b64(data)} for data in PICTURES]}
    short = {"signature_name": "serving_default", "instances": [b64(data) for data in PICTURES]}
    for body in (named, short):
        check_rows(version.served.predict(body), version, len(PICTURES))


def test_rows_of_pixels_are_answered_row_by_row(version):
    rows = version.pixels[:2].tolist()
    for instances in (rows, [{"pixels": row} for row in rows]):
        check_rows(version.served.predict({"signature_name": "pixels", "instances": instances}), version, 2)


def test_columns_are_answered_by_columns(version):
    encoded = [b64(data) for data in PICTURES[:3]]
    for body in (
        {"inputs": {"image_bytes": encoded}},
        {"inputs": encoded},
        {"signature_name": "pixels", "inputs": {"pixels": version.pixels[:3].tolist()}},
    ):
        outputs = version.served.predict(body)["outputs"]
        assert set(outputs) == {"label", "scores", "classes", "unfamiliarity", "unfamiliar"}
        np.testing.assert_allclose(outputs["scores"], version.scores[:3], atol=1e-5)
        assert outputs["classes"] == [CLASSES] * 3


def test_a_picture_that_cannot_be_decoded_is_an_invalid_argument(version):
    with pytest.raises(tf.errors.InvalidArgumentError):
        version.served.predict({"instances": [b64(PICTURES[0]), b64(PICTURES[1][:60])]})


# ------------------------------------------------------------------------------------------------- warm-up


def logs(version: Path) -> list[prediction_log_pb2.PredictionLog]:
    file = version / "assets.extra" / "tf_serving_warmup_requests"
    return [prediction_log_pb2.PredictionLog.FromString(item.numpy()) for item in tf.data.TFRecordDataset(str(file))]


def test_the_warm_up_requests_run_through_both_signatures_in_several_batch_sizes(version):
    seen = []
    for log in logs(version.path):
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        assert request.model_spec.name == "tiny"
        answer = version.served.run(request)
        assert np.isfinite(answer["scores"]).all()
        seen.append((request.model_spec.signature_name, len(answer["label"])))
    assert sorted(seen) == sorted((name, size) for name in ("serving_default", "pixels") for size in (1, 8, 32))


def test_warm_up_batches_fit_the_batches_of_the_server():
    """The server refuses a request of more pictures than a batch, and then the whole version."""
    assert max(warm_up.BATCH_SIZES) <= batching_parameters().max_batch_size.value


def test_the_warm_up_file_is_small_and_the_same_whatever_the_pictures_of_the_run(version, tmp_path):
    file = version.path / warm_up.PLACE
    assert file.stat().st_size < 300_000
    again = warm_up.write_requests(tmp_path, name="tiny", kind=Pictures((32, 32)))
    assert again.read_bytes() == file.read_bytes()
    large = warm_up.write_requests(tmp_path, name="large", kind=Pictures((640, 640)))
    assert large.stat().st_size < 300_000, "pixels are written as one value, not one by one"


def test_the_warm_up_pictures_reach_both_decoders(version):
    requests = [log.predict_log.request for log in logs(version.path)]
    encoded = [data for request in requests for data in request.inputs["image_bytes"].string_val]
    assert {data[:4] for data in encoded} == {b"\xff\xd8\xff\xe0", b"\x89PNG"}


# --------------------------------------------------------------------------------------------- models.config


@pytest.fixture
def saved_models(ran: Ran, tmp_path: Path) -> Path:
    """A copy of what `kt run` released, which a test may change."""
    return shutil.copytree(ran.folder / "saved_models", tmp_path / "saved_models")


def config_of(saved_models: Path) -> Any:
    text = (saved_models / "models.config").read_text(encoding="utf-8")
    return text_format.Parse(text, model_server_config_pb2.ModelServerConfig())


def test_a_run_names_its_model_in_models_config(ran):
    expected = text_format.Parse(
        """model_config_list {
             config {
               name: "tiny" base_path: "/models/tiny" model_platform: "tensorflow"
               model_version_policy { specific { versions: 1 } }
             }
           }""",
        model_server_config_pb2.ModelServerConfig(),
    )
    assert config_of(ran.folder / "saved_models") == expected


def test_versions_without_a_saved_model_and_other_folders_are_not_served(saved_models):
    (saved_models / "phone" / "1").mkdir(parents=True)
    (saved_models / "tiny" / "2").mkdir()
    (saved_models / "notes").mkdir()
    (saved_models / "tiny" / "labels.json").write_text('{"stable": 1, "canary": 2}')
    assert tensorflow_serving.write_files(saved_models) == ()
    (model,) = config_of(saved_models).model_config_list.config
    assert model.model_version_policy.specific.versions == [1] and dict(model.version_labels) == {"stable": 1}


def test_nothing_is_written_for_models_that_only_phones_can_run(tmp_path):
    (tmp_path / "phone" / "1").mkdir(parents=True)
    assert tensorflow_serving.write_files(tmp_path) == ()
    assert [path.name for path in tmp_path.iterdir()] == ["phone"]


def test_a_model_that_was_removed_leaves_models_config(saved_models):
    shutil.rmtree(saved_models / "tiny")
    tensorflow_serving.write_files(saved_models)
    assert list(config_of(saved_models).model_config_list.config) == []


@pytest.mark.parametrize("name", ["models.config", "batching_parameters.txt", "compose.yaml"])
def test_a_file_that_a_person_changed_is_left_alone_until_it_is_deleted(saved_models, name):
    file = saved_models / name
    mine = file.read_text(encoding="utf-8").replace("8500", "9500") + "\n# mine\n"
    file.write_text(mine, encoding="utf-8")
    shutil.copytree(saved_models / "tiny" / "1", saved_models / "tiny" / "2")
    assert tensorflow_serving.write_files(saved_models) == (file,)
    assert file.read_text(encoding="utf-8") == mine
    (line,) = tensorflow_serving.left_alone((file,))
    assert "was changed by hand, so it stays as it is" in line and "Delete it" in line
    file.unlink()
    assert tensorflow_serving.write_files(saved_models) == ()
    assert "mine" not in file.read_text(encoding="utf-8")


def test_a_file_without_kts_first_line_is_a_persons(saved_models):
    file = saved_models / "models.config"
    file.write_text("model_config_list {}\n")
    assert tensorflow_serving.write_files(saved_models) == (file,)
    file.write_bytes(b"")
    assert tensorflow_serving.write_files(saved_models) == (file,)


def test_writing_twice_changes_nothing(saved_models):
    before = (saved_models / "models.config").read_bytes()
    tensorflow_serving.write_files(saved_models)
    assert (saved_models / "models.config").read_bytes() == before


# ------------------------------------------------------------------------------- batching parameters and compose


def batching_parameters() -> Any:
    """The file, parsed by the published fields of TensorFlow Serving's BatchingParameters."""
    whole = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
    proto = descriptor_pb2.FileDescriptorProto(name="batching.proto", package="test", syntax="proto3")
    proto.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = proto.message_type.add(name="BatchingParameters")
    fields = ["max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"]
    for number, name in enumerate(fields, start=1):
        message.field.add(name=name, number=number, label=1, type=whole, type_name=".google.protobuf.Int64Value")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(proto)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("test.BatchingParameters"))
    text = (REPOSITORY / "kt/releases/batching_parameters.txt").read_text(encoding="utf-8")
    return text_format.Parse(text, kind())


def test_the_batching_parameters_are_those_that_the_server_knows():
    parameters = batching_parameters()
    assert parameters.max_batch_size.value == 64
    assert 0 < parameters.batch_timeout_micros.value <= 5000
    assert parameters.max_enqueued_batches.value > 0


@pytest.fixture(scope="module")
def service(ran: Ran) -> dict[str, Any]:
    """The one service of the compose file that a run wrote."""
    (told,) = yaml.safe_load((ran.folder / "saved_models/compose.yaml").read_text(encoding="utf-8"))[
        "services"
    ].values()
    return told


def test_the_compose_file_starts_the_server_of_this_tensorflow_on_what_lies_beside_it(ran, service):
    image, _, tag = service["image"].partition(":")
    assert image == "tensorflow/serving" and tag.split(".")[:2] == tf.__version__.split(".")[:2]
    (volume,) = service["volumes"]
    assert volume == ".:/models:ro"
    told = dict(flag.removeprefix("--").split("=") for flag in service["command"])
    for flag in ("model_config_file", "batching_parameters_file"):
        assert (ran.folder / "saved_models" / Path(told[flag]).relative_to("/models")).is_file()
    assert int(told["model_config_file_poll_wait_seconds"]) == tensorflow_serving.POLL_SECONDS
    assert told["allow_version_labels_for_unavailable_models"] == told["enable_batching"] == "true"
    assert [port.rpartition(":")[2] for port in service["ports"]] == ["8500", "8501"]
    assert all(port.startswith("${BIND:-127.0.0.1}:") for port in service["ports"]), "open to this machine only"


@pytest.fixture
def status_server() -> Iterator[tuple[int, dict[str, str]]]:
    """Answers GET /v1/models/NAME with the state that a test sets, on a port of its own."""
    states: dict[str, str] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state = states.get(self.path.removeprefix("/v1/models/"))
            self.send_response(200 if state else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"model_version_status": [{"version": "1", "state": state}]}).encode())

        def log_message(self, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port, states
    server.shutdown()
    server.server_close()


def test_the_health_check_asks_for_every_model(service, status_server, saved_models):
    port, states = status_server
    shutil.copytree(saved_models / "tiny", saved_models / "other one")
    tensorflow_serving.write_files(saved_models)
    assert service["healthcheck"]["test"][:3] == ["CMD", "bash", "-c"]
    script = service["healthcheck"]["test"][3].replace("$$", "$")
    script = script.replace("8501", str(port)).replace("/models/models.config", str(saved_models / "models.config"))

    def healthy() -> bool:
        return subprocess.run(["bash", "-c", script], capture_output=True, timeout=60).returncode == 0

    (saved_models / "other one").rename(saved_models / "other")
    tensorflow_serving.write_files(saved_models)
    assert not healthy()
    states.update(tiny="AVAILABLE", other="LOADING")
    assert not healthy()
    states["other"] = "AVAILABLE"
    assert healthy()


# -------------------------------------------------------------------------------------------- documentation


@pytest.fixture
def endpoints(version: Version) -> Iterator[tuple[int, int]]:
    """REST and gRPC of the version on ports of their own, for clients that ask by name, and need no label."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/models/apples:predict"
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(version.served.predict(body)).encode())

        def log_message(self, *arguments: Any) -> None:
            pass

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request: Any, context: Any) -> Any:
            assert (request.model_spec.name, request.model_spec.version_label) == ("apples", "")
            answer = version.served.run(request)
            return predict_pb2.PredictResponse(
                outputs={name: tf.make_tensor_proto(values) for name, values in answer.items()}
            )

    rest = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=rest.serve_forever, args=(0.01,), daemon=True).start()
    remote = grpc.server(ThreadPoolExecutor(1))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), remote)
    yield rest.server_port, remote_port(remote)
    rest.shutdown()
    rest.server_close()
    remote.stop(None).wait()


def remote_port(server: grpc.Server) -> int:
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return port


def test_the_documented_clients_print_each_picture_with_its_label(version, endpoints, tmp_path, monkeypatch, capsys):
    page = (REPOSITORY / "docs/tensorflow-serving.md").read_text(encoding="utf-8")
    clients = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(clients) == 2
    files = [tmp_path / f"{index}.png" for index in range(len(PICTURES))]
    for file, content in zip(files, PICTURES, strict=True):
        file.write_bytes(content)
    monkeypatch.setattr("sys.argv", ["client.py", *map(str, files)])
    expected = [[str(file), CLASSES[top]] for file, top in zip(files, version.scores.argmax(axis=1), strict=True)]
    for client, port, name in zip(clients, endpoints, ("localhost:8501", "localhost:8500"), strict=True):
        assert name in client
        exec(compile(client.replace(name, f"127.0.0.1:{port}"), "docs/tensorflow-serving.md", "exec"), {})
        assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == expected


# ------------------------------------------------------------------------------------------- a real server


@pytest.mark.network
@pytest.mark.skipif("TF_SERVING_URL" not in os.environ, reason="TF_SERVING_URL names no server")
def test_a_real_server_answers_as_kt_does():
    """TF_SERVING_URL is its REST address, TF_SERVING_MODEL the folder of a model that it serves."""
    url, model = os.environ["TF_SERVING_URL"], Path(os.environ.get("TF_SERVING_MODEL", "saved_models/apples"))
    artifact = open_artifact(model)
    photos = sorted((PHOTOS / "apples/test").rglob("*.jpg"))[:5]
    pictures = [photo.read_bytes() for photo in photos] or PICTURES
    address = f"{url.rstrip('/')}/v1/models/{model.name}"

    def ask(path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(address + path, data=data, timeout=30) as answer:
            return json.load(answer)

    newest = artifact.path.name
    states = {item["version"]: item["state"] for item in ask("")["model_version_status"]}
    assert states[newest] == "AVAILABLE"
    signatures = ask(f"/versions/{newest}/metadata")["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "pixels"} <= set(signatures)
    scores = artifact.answer(pictures)
    rows = ask(f"/versions/{newest}:predict", {"instances": [{"image_bytes": b64(data)} for data in pictures]})
    np.testing.assert_allclose([row["scores"] for row in rows["predictions"]], scores, atol=1e-4)
    columns = ask(f"/versions/{newest}:predict", {"inputs": {"image_bytes": [b64(data) for data in pictures]}})
    np.testing.assert_allclose(columns["outputs"]["scores"], scores, atol=1e-4)
    assert columns["outputs"]["classes"][0] == list(artifact.classes)
    for label, labelled in version_labels(model).items():
        row = ask(f"/labels/{label}:predict", {"instances": [b64(pictures[0])]})["predictions"][0]
        expected = open_artifact(model / str(labelled)).answer(pictures[:1])[0]
        np.testing.assert_allclose(row["scores"], expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not (PHOTOS / "apples/test").is_dir(), reason="no photos beside the project")
def test_mobilenet_v2_is_served_with_its_warm_up_on_real_photos(tmp_path):
    import keras

    pixels = keras.Input((224, 224, 3), dtype="uint8", name="pixels")
    backbone = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(224, 224, 3), pooling="avg")
    scores = keras.layers.Dense(2, activation="softmax")(
        backbone(keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels))
    )
    path = SavedModel().make(keras.Model(pixels, scores), tmp_path, details=Details("apples", ("bad", "good")))
    served = Served(path)
    for log in logs(path):
        assert np.isfinite(served.run(log.predict_log.request)["scores"]).all()
    photos = [photo.read_bytes() for photo in sorted((PHOTOS / "apples/test").rglob("*.jpg"))[:5]]
    rows = served.predict({"instances": [{"image_bytes": b64(data)} for data in photos]})["predictions"]
    np.testing.assert_allclose([row["scores"] for row in rows], open_artifact(path).answer(photos), atol=1e-5)
