"""`kt serve` attacked: each request is refused with its reason or answered, and the server goes on, within memory."""

import base64
import concurrent.futures
import contextlib
import io
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
httpx = pytest.importorskip("httpx")
grpc = pytest.importorskip("grpc", reason="needs the extra 'grpc'")

import tensorflow as tf  # noqa: E402
from conftest import kt  # noqa: E402
from PIL import Image  # noqa: E402
from serving import (  # noqa: E402
    PREDICT,
    SIZE,
    Running,
    b64,
    encoded,
    process,
    release,
    rows,
    running,
    scores,
)
from tensorflow_serving.apis import (  # noqa: E402
    classification_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from kt.serve.settings import Limits  # noqa: E402

# A decoder that never comes back, for pictures of 13 pixels' width: how a hostile picture looks from outside.
STUCK = """
import time
from PIL import Image, ImageFile
Image.init()  # so that the first picture of all is read as fast as the next
load = ImageFile.ImageFile.load
ImageFile.ImageFile.load = lambda self: (self.width == 13 and time.sleep(3600)) or load(self)
"""


def narrow() -> bytes:
    """A picture at which such a decoder is stuck."""
    buffer = io.BytesIO()
    Image.new("RGB", (13, 9)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folder(exports: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attacked")
    release(exports[0], folder / "saved_models" / "tiny", 1)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Running]:
    with running(folder / "saved_models" / "tiny", limits=Limits(instances=8)) as made:
        yield made


@pytest.fixture(scope="module")
def predictions(server: Running) -> Iterator[Any]:
    with grpc.insecure_channel(server.grpc, options=[("grpc.max_send_message_length", -1)]) as channel:
        yield prediction_service_pb2_grpc.PredictionServiceStub(channel)


def refusal(call: Any, request: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as raised:
        call(request, timeout=60)
    return raised.value.code().name, raised.value.details()


def asking(given: str, tensor: Any, **spec: Any) -> predict_pb2.PredictRequest:
    return predict_pb2.PredictRequest(model_spec={"name": "tiny", **spec}, inputs={given: tensor})


def in_context(examples: int, picture: bytes) -> classification_pb2.ClassificationRequest:
    request = classification_pb2.ClassificationRequest(model_spec={"name": "tiny"})
    given = request.input.example_list_with_context
    given.context.features.feature["image_bytes"].bytes_list.value.append(picture)
    for _ in range(examples):
        given.examples.add()
    return request


# ------------------------------------------------------------------------------------------------------------ gRPC


def test_a_context_stands_for_what_examples_lack_and_is_not_copied_for_thousands(
    server: Running, predictions: Any
) -> None:
    request = in_context(2, encoded(0))
    own = request.input.example_list_with_context.examples[1].features.feature["image_bytes"]
    own.bytes_list.value.append(encoded(1))
    answer = predictions.Classify(request, timeout=60)
    found = [[each.score for each in row.classes] for row in answer.result.classifications]
    assert found == pytest.approx(scores(server.folder / "1", encoded(0), encoded(1)), abs=1e-6)
    code, details = refusal(predictions.Classify, in_context(4000, b"x" * 2_000_000))
    assert (code, "holds 4000 pictures; at most 8" in details) == ("INVALID_ARGUMENT", True)


def test_messages_of_very_many_parts_are_refused_before_they_are_parsed(server: Running) -> None:
    many = 2_000_000

    def part(number: int, content: bytes) -> bytes:
        length, left = b"", len(content)
        while left > 127:
            length, left = length + bytes([left & 127 | 128]), left >> 7
        return bytes([number << 3 | 2]) + length + bytes([left]) + content

    name = part(1, part(1, b"tiny"))
    sides = part(2, part(1, b"image_bytes") + part(2, part(2, b"\x12\x00" * many)))
    with grpc.insecure_channel(server.grpc) as channel:
        for method, message, said in (
            ("Classify", name + part(2, part(1, b"\x0a\x00" * many)), "more than 14,000 parts"),
            ("Predict", name + b"\x1a\x00" * many, "more than 14,000 parts"),
            ("Predict", name + sides, "more than 14,000 parts"),
            ("Predict", b"\x12\x05\x12\x03", "cannot be parsed"),
            ("Predict", b"\xff" * 50, "cannot be parsed"),
            ("GetModelMetadata", b"\x0b\x0c", "cannot be parsed"),
        ):
            call = channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
            code, details = refusal(call, message)
            assert (code, said in details) == ("INVALID_ARGUMENT", True), details


def test_tensors_that_are_none_are_told_and_tensors_of_one_value_are_filled(server: Running, predictions: Any) -> None:
    pixels = np.zeros((1, *SIZE, 3), np.uint8)
    count = pixels.size

    def uint8(**values: Any) -> Any:
        tensor = tf.make_tensor_proto(pixels)
        tensor.ClearField("tensor_content")
        for field, value in values.items():
            getattr(tensor, field).extend(value)
        return tensor

    def strings(*values: bytes, count: int = 1) -> Any:
        tensor = tf.make_tensor_proto([b"x"] * count)
        del tensor.string_val[:]
        tensor.string_val.extend(values)
        return tensor

    negative = tf.make_tensor_proto(pixels)
    negative.tensor_shape.dim[0].size = -(2**63)
    large = tf.make_tensor_proto(pixels)
    large.tensor_shape.dim[0].size = 2**62
    unknown = tf.make_tensor_proto(pixels)
    unknown.tensor_shape.unknown_rank = True
    strange = tf.make_tensor_proto(pixels)
    strange.dtype = 4711
    for name, tensor, said in (
        ("pixels", uint8(int_val=[256] * count), "0 to 255"),
        ("pixels", uint8(int_val=[-1] * count), "0 to 255"),
        ("pixels", uint8(int_val=[2**31 - 1] + [0] * (count - 1)), "0 to 255"),
        ("pixels", uint8(), "0 values for"),
        ("pixels", uint8(int_val=[0] * (count + 1)), f"{count + 1} values for"),
        ("pixels", uint8(half_val=[1] * 9, float_val=[0.5], string_val=[b"a"]), "0 values for"),
        ("pixels", negative, "holds -9223372036854775808 pictures"),
        ("pixels", large, "4611686018427387904"),
        ("pixels", strange, "expected uint8"),
        ("image_bytes", strings(), "has 0 values for 1 pictures"),
        ("image_bytes", strings(b"a", b"b"), "has 2 values for 1 pictures"),
        ("image_bytes", strings(b"", count=3), "picture 0 cannot be read"),
        ("image_bytes", tf.make_tensor_proto([[b"x"]]), "expected string [-1]"),
    ):
        spec = {"signature_name": "pixels"} if name == "pixels" else {}
        code, details = refusal(predictions.Predict, asking(name, tensor, **spec))
        assert (code, said in details) == ("INVALID_ARGUMENT", True), details
    expected = scores(server.folder / "1", encoded(3))[0]
    answer = predictions.Predict(asking("image_bytes", strings(encoded(3), count=3)), timeout=60)
    assert tf.make_ndarray(answer.outputs["scores"]) == pytest.approx(np.stack([expected] * 3), abs=1e-6)
    one = predictions.Predict(asking("pixels", uint8(int_val=[200]), signature_name="pixels"), timeout=60)
    full = tf.make_tensor_proto(np.full_like(pixels, 200))
    same = predictions.Predict(asking("pixels", full, signature_name="pixels"), timeout=60)
    assert tf.make_ndarray(one.outputs["scores"]).tolist() == tf.make_ndarray(same.outputs["scores"]).tolist()


def test_names_of_a_megabyte_get_a_short_answer(predictions: Any) -> None:
    long = "ä" * 500_000
    picture = tf.make_tensor_proto([encoded()])
    for request, code in (
        (asking("image_bytes", picture, name=long), "NOT_FOUND"),
        (asking("image_bytes", picture, version_label=long), "INVALID_ARGUMENT"),
        (asking("image_bytes", picture, signature_name=long), "FAILED_PRECONDITION"),
        (asking(long, picture), "INVALID_ARGUMENT"),
    ):
        found, details = refusal(predictions.Predict, request)
        assert found == code
        assert len(details) < 400


def test_who_has_no_key_costs_no_memory_and_who_has_it_is_answered(folder: Path) -> None:
    with process(folder, KT_API_KEY="secret") as made:
        picture = asking("image_bytes", tf.make_tensor_proto([encoded()]))
        large = asking("image_bytes", tf.make_tensor_proto([b"x" * 30 * 2**20]))

        def ask(request: Any, key: str) -> str:
            options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(made.server.grpc, options=options) as channel:
                call = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
                try:
                    call(request, timeout=120, metadata=[("x-api-key", key)])
                except grpc.RpcError as error:
                    return str(error.code().name)
                return "OK"

        assert ask(picture, "secret") == "OK"
        before = made.memory()
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            assert set(pool.map(lambda _: ask(large, "wrong"), range(20))) == {"UNAUTHENTICATED"}
        assert made.memory() < before + 150
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            codes = list(pool.map(lambda _: ask(large, "secret"), range(12)))
        assert set(codes) == {"INVALID_ARGUMENT"}, codes  # no picture; each was read, though not all at once
        assert ask(picture, "secret") == "OK"


# ------------------------------------------------------------------------------------------------------------ REST


def test_halves_of_characters_in_json_are_refused_in_json(server: Running) -> None:
    for path, body, said in (
        (PREDICT, b'{"instances": [1], "signature_name": "\\ud800"}', "\\ud800"),
        (PREDICT, b'{"inputs": {"\\udfff": []}}', "Missing named input"),
        (PREDICT, b'{"instances": [{"\\ud800": 1}]}', "keys must be equal"),
        (PREDICT, b'{"instances": ["\\ud800"]}', "picture 0 cannot be read"),
        (PREDICT, b'{"instances": [{"b64": "\\ud800"}]}', "Unable to base64 decode"),
        ("/v1/models/tiny:classify", b'{"examples": ["\\udc00"]}', "must be JSON object"),
        (PREDICT, b'{"instances": [1], "signature_name": "a\\u001b[31m\\u009b\\nb"}', "a\\x1b[31m\\x9b\\nb"),
    ):
        answer = server.post(path, content=body)
        assert (answer.status_code, said in answer.json()["error"]) == (400, True), answer.text


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [NaN, Infinity], "signature_name": "pixels"}',
        b'{"instances": [1e999], "signature_name": "pixels"}',
        b'{"instances": [' + b"9" * 4000 + b'], "signature_name": "pixels"}',
        b'{"signature_name": NaN, "instances": [1]}',
        b'{"instances": ' + b"[" * 900 + b"]" * 900 + b', "signature_name": "pixels"}',
        b'{"instances": [' + b"{}," * 200_000 + b"{}]}",
        b'{"instances": [' + b'"aa",' * 300_000 + b'""]}',
        b'{"instances": [true], "signature_name": "pixels"}',
        b'{"instances": [[[["a"]]]], "signature_name": "pixels"}',
    ],
)
def test_odd_json_is_refused(server: Running, body: bytes) -> None:
    answer = server.post(content=body)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert len(answer.json()["error"]) < 400


def test_base64_is_taken_as_tensorflow_serving_takes_it(server: Running) -> None:
    picture = next(data for data in map(encoded, range(50)) if len(data) % 3 == 1)
    text = base64.b64encode(picture).decode()
    assert text.endswith("==")
    lines = "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    expected = server.post(json=rows(picture)).json()
    for fine in (lines, lines.replace("\n", "\r\n"), text.rstrip("="), f" {text[:-1]} =\t\n", text[:-2] + ".."):
        assert server.post(json={"instances": [{"b64": fine}]}).json() == expected, fine[-10:]
    url_safe = base64.urlsafe_b64encode(bytes(range(240, 256))).decode()
    for wrong in (text[:-1], text + "=", "=" + text, "a", "a=b=", "ä", text[:8] + "==" + text[8:], url_safe, "="):
        answer = server.post(json={"instances": [{"b64": wrong}]})
        assert (answer.status_code, answer.json()) == (400, {"error": "Unable to base64 decode"}), wrong[-10:]


def test_no_character_of_a_path_is_dropped_and_the_log_quotes_it_short(folder: Path) -> None:
    with process(folder) as made:
        for path in ("/v1/models/ti%09ny:predict", "/v1/models/tiny%0d:predict", "/v1/models/t%0a%1b[31miny:predict"):
            answer = made.server.post(path, json=rows(encoded()))
            assert answer.status_code == 400
            assert answer.json()["error"].startswith("Malformed request: POST /v1/models/t")
            assert not set(answer.json()["error"]) & set("\t\r\n\x1b")
        assert made.server.get("/v1/models/" + "x" * 50_000).status_code == 404
        assert made.server.get("/" + "y" * 50_000).status_code == 404
        text = made.log.read_text(encoding="utf-8")
        assert not set(text) & set("\t\r\x1b\x9b")
        assert max(map(len, text.splitlines())) < 4000
        assert any("ti\\tny" in line.get("error", "") for line in made.told())


def test_a_page_of_another_name_is_not_answered_by_a_server_for_this_machine(folder: Path) -> None:
    model = folder / "saved_models" / "tiny"
    with running(model) as server:
        port = server.url.rpartition(":")[2]
        for host in ("localhost", f"localhost:{port}", "127.0.0.1", f"127.0.0.1:{port}", f"[::1]:{port}", "LOCALHOST."):
            assert server.get("/healthz", headers={"host": host}).status_code == 200, host
        for host in ("evil.example", f"evil.example:{port}", "localhost.evil.example", "127.0.0.1.evil.example", "x"):
            for path in ("/healthz", "/", "/v1/models/tiny", "/about.json", "/metrics"):
                answer = server.get(path, headers={"host": host})
                assert answer.status_code == 403, (host, path)
                assert "--allow-host" in answer.json()["error"]
    with running(model, hosts=("Photos.example",)) as server:
        assert server.get("/healthz", headers={"host": "photos.example:443"}).status_code == 200
        assert server.get("/healthz", headers={"host": "evil.example"}).status_code == 403
    with running(model, host="0.0.0.0") as server:
        assert server.get("/healthz", headers={"host": "photos.example"}).status_code == 200
    with running(model, host="0.0.0.0", hosts=("photos.example",)) as server:
        for host, status in (("photos.example", 200), ("localhost", 200), ("192.0.2.7", 200), ("evil.example", 403)):
            assert server.get("/healthz", headers={"host": host}).status_code == status, host


# --------------------------------------------------------------------------------------------- decoding, and ending


def test_a_picture_that_is_never_decoded_is_given_up_and_holds_up_neither_others_nor_the_end(folder: Path) -> None:
    stuck, good = rows(narrow()), rows(encoded())
    options = ("--decode-timeout", "2", "--grace-seconds", "2")
    with process(folder, *options, before=STUCK) as made, concurrent.futures.ThreadPoolExecutor(8) as pool:
        expected = made.server.post(json=good).json()
        for answer in pool.map(lambda _: made.server.post(json=stuck), range(3)):
            assert answer.status_code == 400
            assert answer.json() == {"error": "image_bytes of picture 0 cannot be read: takes more than 2 s"}
        assert made.server.post(json=good).json() == expected
        assert made.server.get("/healthz").status_code == 200
        for _ in range(10):
            list(pool.map(lambda _: made.server.post(json=stuck), range(4)))
        sick = made.server.get("/healthz")
        assert (sick.status_code, sick.json()) == (503, {"status": "every decoding thread is stuck in a picture"})
        refused = made.server.post(json=good)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        pixels = np.zeros((1, *SIZE, 3), int).tolist()
        assert made.server.post(json={"instances": pixels, "signature_name": "pixels"}).status_code == 200
        made.process.send_signal(signal.SIGTERM)
        assert made.process.wait(600) == 0


def test_half_a_body_and_idle_connections_do_not_hold_up_the_end(folder: Path) -> None:
    with process(folder, "--request-timeout", "300", "--grace-seconds", "200") as made:
        address = ("127.0.0.1", made.port)
        head = f"POST {PREDICT} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n".encode()
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(socket.create_connection(address, timeout=120)) for _ in range(4)]
            connections[0].sendall(head + b"{")
            connections[1].sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert connections[1].recv(65536).startswith(b"HTTP/1.1 200")
            connections[2].sendall(head[:20])
            idle = stack.enter_context(grpc.insecure_channel(made.server.grpc))
            grpc.channel_ready_future(idle).result(300)
            time.sleep(1)
            made.process.send_signal(signal.SIGTERM)
            assert made.process.wait(100) == 0
            assert connections[0].recv(65536).startswith(b"HTTP/1.1 503")
        assert made.told()[-1]["message"] == "stopped"


# ------------------------------------------------------------------------------------------------- what lies on disk

CARDS = {
    "none": b"{",
    "list": b"[1, 2]",
    "text": b'"kt"',
    "types": b'{"test": 3, "artifacts": {"a": 1}, "description": [], "rendered": "yes"}',
    "figures": b'{"test": {"balanced_accuracy": "high", "intervals": {"balanced_accuracy": [1]}}}',
    "artifacts": b'{"artifacts": [{"name": 3, "released": true}, 7], "test": {}}',
    "deep": b"[" * 5000 + b"]" * 5000,
    "nested": b'{"test": ' + b'{"a": ' * 500 + b"1" + b"}" * 500 + b"}",
    "binary": bytes(range(128, 256)),
    "huge": b'{"description": "' + b"x" * (2**24) + b'"}',
}


def test_a_damaged_card_is_named_and_the_others_are_shown_and_served(exports: list[Path], tmp_path: Path) -> None:
    saved_models = tmp_path / "saved_models"
    release(exports[0], saved_models / "good", 1)
    for name, card in CARDS.items():
        release(exports[0], saved_models / name, 1)
        (saved_models / name / "1" / "kt.json").write_bytes(card)
    release(exports[0], saved_models / "pipe", 1)
    (saved_models / "pipe" / "1" / "kt.json").unlink()
    os.mkfifo(saved_models / "pipe" / "1" / "kt.json")
    release(exports[0], saved_models / "labels", 1)
    (saved_models / "labels" / "labels.json").write_text('{"stable": "one"}', encoding="utf-8")
    done = kt("models", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert shown == sorted([*CARDS, "good", "pipe", "labels"])
    for name in (*CARDS, "pipe", "labels"):
        assert f"warning: saved_models/{name}/" in done.stderr, name
    assert len(done.stderr.splitlines()) == len(CARDS) + 2
    assert json.loads(kt("models", "--json", cwd=tmp_path).stdout)[0]["name"] == "artifacts"
    with running(saved_models) as server:
        about = {model["name"]: model for model in server.get("/about.json").json()["models"]}
        assert sorted(about) == shown
        assert about["good"]["test"] == {"images": 7}
        assert about["figures"]["test"] == {}
        for name in shown:
            assert server.post(f"/v1/models/{name}:predict", json=rows(encoded())).status_code == 200


def test_text_of_a_card_that_no_terminal_should_see_arrives_escaped(exports: list[Path], tmp_path: Path) -> None:
    release(exports[0], tmp_path / "tiny", 1)
    card = {"description": "a\ud800\x1b[31m\nb", "test": {"accuracy": float("nan"), "images": 1e999}}
    (tmp_path / "tiny" / "1" / "kt.json").write_text(json.dumps(card), encoding="utf-8")
    with running(tmp_path / "tiny") as server:
        answer = server.get("/about.json")
        assert answer.status_code == 200
        assert not set(answer.text) & set("\x1b\n")
        (about,) = json.loads(answer.text, parse_constant=pytest.fail)["models"]
        assert about["test"] == {"accuracy": None, "images": None}


def test_folders_that_no_address_can_name_are_left_out_and_versions_past_64_bits_are_none(
    exports: list[Path], tmp_path: Path
) -> None:
    release(exports[0], tmp_path / "fine", 1)
    release(exports[0], tmp_path / "fine", 2**64)
    for name in ("a\nb", "a:b", "\x1b[31m"):
        release(exports[0], tmp_path / name, 1)
    with running(tmp_path) as server:
        assert [(model["name"], model["versions"]) for model in server.get("/about.json").json()["models"]] == [
            ("fine", [1])
        ]
        assert server.get("/metrics").status_code == 200


def test_kt_serve_says_where_to_open_it_and_only_json_beside(folder: Path) -> None:
    with process(folder) as made:
        line = made.process.stdout.readline()
        assert f"http://localhost:{made.port}/" in line
        assert f"localhost:{made.grpc_port}" in line
        assert line.startswith("Serving tiny: open ")
        told = [line["message"] for line in made.told()]
        assert [message for message in told if message != "request"] == [
            "no drift is looked for",
            "version serves",
            "ready",
        ]


def test_one_request_of_many_slow_pictures_lets_others_pass(folder: Path) -> None:
    with process(folder, before=STUCK.replace("3600", "0.3")) as made, concurrent.futures.ThreadPoolExecutor(1) as pool:
        slow = pool.submit(made.server.post, json=rows(*[narrow()] * 40), timeout=600)
        time.sleep(1)
        assert made.server.post(json={"instances": [b64(encoded())]}, timeout=600).status_code == 200
        assert not slow.done()
        assert slow.result().status_code == 200
