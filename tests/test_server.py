"""`kt serve` over loopback: TensorFlow Serving's words, the scores of `kt predict`, limits, and nothing dropped."""

import concurrent.futures
import dataclasses
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
httpx = pytest.importorskip("httpx")

from conftest import Ran, draw  # noqa: E402
from serving import (  # noqa: E402
    CLASSES,
    PREDICT,
    SIZE,
    Running,
    b64,
    encoded,
    eventually,
    free_port,
    pixels_of,
    release,
    rows,
    running,
    scores,
    tiny,
    two_versions,
)

from kt.errors import EnvironmentProblem, ReleaseError  # noqa: E402
from kt.export.artifact import open_artifact  # noqa: E402
from kt.export.formats.format import Details  # noqa: E402
from kt.export.formats.tflite import TFLite  # noqa: E402
from kt.kinds.pictures.images import read_rgb, resize  # noqa: E402
from kt.predict import predict_files  # noqa: E402
from kt.serve.server import serve  # noqa: E402
from kt.serve.settings import Batching, Limits, Settings  # noqa: E402


@pytest.fixture(scope="module")
def server(exports: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Versions 1 and 2, where 1 is stable."""
    folder = two_versions(exports, tmp_path_factory.mktemp("served") / "tiny")
    with running(folder, limits=Limits(body_bytes=2**20, pixels=250_000, instances=8)) as made:
        yield made


def test_scores_are_those_of_kt_predict_turned_and_odd_pictures_too(server: Running, tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 50, 4), np.uint8)).save(tmp_path / "clear.png")
    (tmp_path / "photo.jpg").write_bytes(encoded(1, format="JPEG"))
    (tmp_path / "sideways.jpg").write_bytes(encoded(2, format="JPEG", exif=6))
    draw("green", 3).convert("CMYK").save(tmp_path / "print.tif")
    draw("green", 4).save(tmp_path / "net.webp")
    files = sorted(tmp_path.iterdir())
    expected = list(predict_files(open_artifact(server.folder), files))
    answer = server.post(json=rows(*[file.read_bytes() for file in files]))
    assert answer.status_code == 200
    for row, prediction in zip(answer.json()["predictions"], expected, strict=True):
        assert row["label"] == prediction.label
        assert row["classes"] == list(CLASSES)
        assert row["scores"] == pytest.approx([prediction.scores[name] for name in CLASSES], abs=1e-6)


def test_the_same_question_has_the_same_answer_in_each_of_its_forms(server: Running) -> None:
    pictures = [encoded(index) for index in range(3)]
    expected = scores(server.folder / "2", *pictures)
    wrapped = [b64(data) for data in pictures]
    pixels = [pixels_of(data).tolist() for data in pictures]
    in_rows = [
        {"instances": wrapped},
        {"instances": [{"image_bytes": each} for each in wrapped], "signature_name": "serving_default"},
        {"instances": pixels, "signature_name": "pixels"},
        {"instances": [{"pixels": each} for each in pixels], "signature_name": "pixels"},
    ]
    in_columns = [
        {"inputs": wrapped},
        {"inputs": {"image_bytes": wrapped}},
        {"inputs": {"pixels": pixels}, "signature_name": "pixels"},
    ]
    for body in in_rows:
        found = [row["scores"] for row in server.post(json=body).json()["predictions"]]
        assert found == pytest.approx(expected, abs=1e-6)
    for body in in_columns:
        outputs = server.post(json=body).json()["outputs"]
        assert outputs["scores"] == pytest.approx(expected, abs=1e-6)
        assert outputs["label"] == [CLASSES[index] for index in expected.argmax(axis=1)]


def test_classify_answers_each_example_with_every_label_and_its_score(server: Running) -> None:
    expected = scores(server.folder / "2", encoded(0), encoded(1))
    examples = [{"image_bytes": b64(encoded(0))}, {"image_bytes": [b64(encoded(1))]}]
    answer = server.post("/v1/models/tiny:classify", json={"examples": examples})
    assert answer.status_code == 200
    found = answer.json()["results"]
    assert [[name for name, _ in row] for row in found] == [list(CLASSES)] * 2
    assert [[score for _, score in row] for row in found] == pytest.approx(expected, abs=1e-6)


def test_versions_and_labels_answer_by_their_own_weights(server: Running) -> None:
    one, two = (scores(server.folder / version, encoded())[0] for version in ("1", "2"))
    assert np.abs(one - two).max() > 1e-3
    for path, expected in (
        ("tiny:predict", two),
        ("tiny/versions/1:predict", one),
        ("tiny/versions/2:predict", two),
        ("tiny/labels/stable:predict", one),
    ):
        (row,) = server.post(f"/v1/models/{path}", json=rows(encoded())).json()["predictions"]
        assert row["scores"] == pytest.approx(expected, abs=1e-6), path


def test_status_metadata_and_the_other_pages_say_what_is_served(server: Running) -> None:
    states = server.get("/v1/models/tiny").json()["model_version_status"]
    fine = {"error_code": "OK", "error_message": ""}
    assert states == [{"version": version, "state": "AVAILABLE", "status": fine} for version in ("2", "1")]
    assert len(server.get("/v1/models/tiny/versions/1").json()["model_version_status"]) == 1
    assert server.get("/v1/models/tiny/labels/stable").json()["model_version_status"][0]["version"] == "1"
    told = server.get("/v1/models/tiny/labels/stable/metadata").json()
    assert told["model_spec"] == {"name": "tiny", "signature_name": "", "version": "1"}
    given = told["metadata"]["signature_def"]["signature_def"]["pixels"]["inputs"]["pixels"]
    assert given["dtype"] == "DT_UINT8"
    assert [side["size"] for side in given["tensor_shape"]["dim"]] == ["-1", "24", "32", "3"]
    assert server.get("/healthz").json() == {"status": "ok"}
    (about,) = server.get("/about.json").json()["models"]
    assert about == {
        "name": "tiny",
        "version": 2,
        "versions": [1, 2],
        "labels": {"stable": 1},
        "description": "Tiny.",
        "classes": list(CLASSES),
        "image_size": list(SIZE),
        "rendered": False,
        "says_unfamiliar": False,
        "decides": {"thresholds": [], "abstain_below": 0.0, "sets": None},
        "explains": True,
        "test": {"images": 7},
    }
    server.post(json=rows(encoded()))
    metrics = server.get("/metrics").text
    assert 'kt_model_version{model="tiny"} 2.0' in metrics
    assert 'kt_requests_total{interface="rest",kind="predict",status="200"}' in metrics
    assert 'kt_pictures_total{model="tiny",version="2"}' in metrics


REFUSED = [
    ("POST", PREDICT, b"", 400, "The document is empty"),
    ("POST", PREDICT, b"{", 400, "JSON Parse error"),
    ("POST", PREDICT, b"\xff\xfe", 400, "JSON Parse error"),
    ("POST", PREDICT, b"[" * 100_000, 400, "JSON Parse error"),
    ("POST", PREDICT, b'{"instances": [' + b"9" * 5000 + b"]}", 400, "JSON Parse error"),
    ("POST", PREDICT, b"[1]", 400, "Is not object"),
    ("POST", PREDICT, b"{}", 400, "Missing 'inputs' or 'instances' key"),
    ("POST", PREDICT, b'{"inputs": [], "instances": []}', 400, "expecting only one of"),
    ("POST", PREDICT, b'{"instances": 3}', 400, "to be an list/array"),
    ("POST", PREDICT, b'{"instances": []}', 400, "No values in 'instances' array"),
    ("POST", PREDICT, b'{"inputs": []}', 400, "holds no picture"),
    ("POST", PREDICT, b'{"inputs": {"image_bytes": {"b64": ""}}}', 400, "batch dimension"),
    ("POST", PREDICT, b'{"inputs": {"picture": []}}', 400, "Missing named input: image_bytes"),
    ("POST", PREDICT, b'{"instances": [{"picture": 1}]}', 400, "keys must be equal to: image_bytes"),
    ("POST", PREDICT, b'{"instances": ["a", {"image_bytes": "a"}]}', 400, "got object at item 1"),
    ("POST", PREDICT, b'{"instances": [{"image_bytes": "a"}, "a"]}', 400, "got list at item 1"),
    ("POST", PREDICT, b'{"instances": [{"b64": "!"}]}', 400, "Unable to base64 decode"),
    ("POST", PREDICT, b'{"instances": [{"b64": "aGFsbG8="}]}', 400, "picture 0 cannot be read"),
    ("POST", PREDICT, b'{"instances": [17]}', 400, "not of expected type"),
    ("POST", PREDICT, b'{"instances": [1], "signature_name": 5}', 400, "must be a string"),
    ("POST", PREDICT, b'{"instances": [1], "signature_name": "x"}', 400, 'name: "x" not found in signature def'),
    ("POST", PREDICT, b'{"instances": [1], "signature_name": "pixels"}', 400, "expected uint8 [-1, 24, 32, 3]"),
    ("POST", PREDICT, b'{"instances": [[1], [2, 3]], "signature_name": "pixels"}', 400, "pixels"),
    ("POST", PREDICT, b'{"instances": [[1.5]], "signature_name": "pixels"}', 400, "whole numbers"),
    ("POST", PREDICT, b'{"instances": [[256]], "signature_name": "pixels"}', 400, "0 to 255"),
    ("POST", PREDICT, b'{"instances": [1,1,1,1,1,1,1,1,1]}', 400, "not of expected type"),
    ("POST", "/v1/models/tiny:classify", b"{}", 400, "'examples' is expected"),
    ("POST", "/v1/models/tiny:classify", b'{"examples": [3]}', 400, "must be JSON object"),
    ("POST", "/v1/models/tiny:classify", b'{"examples": [{}]}', 400, "image_bytes is missing"),
    ("POST", "/v1/models/tiny:regress", b"{}", 400, "Expected regression signature method_name"),
    ("POST", "/v1/models/none:predict", b"{}", 404, "Servable not found for request: Latest(none)"),
    ("POST", "/v1/models/tiny/versions/9:predict", b"{}", 404, "not found for request: Specific(tiny, 9)"),
    ("POST", "/v1/models/tiny/labels/new:predict", b"{}", 400, "Unrecognized servable version label: new"),
    ("POST", "/v1/models/tiny", b"{}", 400, "Malformed request: POST /v1/models/tiny"),
    ("PUT", "/v1/models/tiny", b"{}", 400, "Malformed request: PUT"),
    ("GET", "/v1/models/none", b"", 404, "Could not find any versions of model none"),
    ("GET", "/v1/models/tiny/versions/9", b"", 404, "Could not find version 9 of model tiny"),
    ("GET", f"/v1/models/tiny/versions/{'9' * 30}", b"", 400, "Failed to convert version"),
    ("GET", "/v1/models", b"", 400, "Missing model name in request."),
    ("GET", "/nowhere", b"", 404, "There is nothing at /nowhere"),
    ("DELETE", "/healthz", b"", 405, "Method Not Allowed"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "message"), REFUSED)
def test_what_is_wrong_is_told_as_tensorflow_serving_tells_it(
    server: Running, method: str, path: str, body: bytes, status: int, message: str
) -> None:
    answer = httpx.request(method, server.url + path, content=body, timeout=60, verify=False)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert message in answer.json()["error"]
    assert len(answer.json()["error"]) < 400


def test_too_many_pictures_truncated_ones_and_bombs_are_refused(server: Running) -> None:
    bomb = io.BytesIO()
    Image.new("1", (600, 600)).save(bomb, "PNG")
    for body, message in (
        (rows(*[encoded()] * 9), "at most 8 are answered at once"),
        (rows(encoded(0, format="JPEG", size=400)[:-5000]), "picture 0 cannot be read"),
        (rows(encoded(), bomb.getvalue()), "picture 1 cannot be read: claims 600 x 600 pixels"),
    ):
        answer = server.post(json=body)
        assert answer.status_code == 400
        assert message in answer.json()["error"]
    assert server.post(json=rows(encoded())).status_code == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_answered_413(server: Running, chunked: bool) -> None:
    body = b" " * (3 * 2**20)
    answer = server.post(content=iter([body[:1000], body[1000:]]) if chunked else body)
    assert answer.status_code == 413
    assert "more than 1,048,576 bytes" in answer.json()["error"]
    assert server.get("/healthz").status_code == 200


def exchanged(server: Running, *parts: bytes, pause: float = 0.0) -> bytes:
    """What comes back on a bare connection for parts sent with pauses, until it is closed."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=120) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        came = b""
        while more := connection.recv(65536):
            came += more
        return came


def test_clients_that_dawdle_get_408_and_others_do_not_wait_for_them(exports: list[Path], tmp_path: Path) -> None:
    release(exports[0], tmp_path / "tiny", 1)
    head = b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n"
    with (
        running(tmp_path / "tiny", limits=Limits(header_seconds=3, body_seconds=3)) as server,
        concurrent.futures.ThreadPoolExecutor(3) as pool,
    ):
        slow = [pool.submit(exchanged, server, *parts) for parts in ((), (head[:20],), (head, b"{"))]
        assert server.post(json=rows(encoded())).status_code == 200
        for answer in slow:
            assert answer.result().startswith(b"HTTP/1.1 408")
            assert b'{"error": "The request' in answer.result()


def test_clients_without_the_key_get_401_and_health_needs_none(exports: list[Path], tmp_path: Path) -> None:
    release(exports[0], tmp_path / "tiny", 1)
    with running(tmp_path / "tiny", api_key="s3cret-ß") as server:
        key = "s3cret-ß".encode()
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": b"Basic " + key}, {"x-api-key": "s"}):
            for path in (PREDICT, "/about.json", "/metrics", "/V1/models/tiny"):
                method = "POST" if path == PREDICT else "GET"
                answer = httpx.request(method, server.url + path, headers=headers, verify=False)
                assert answer.status_code == 401, path
                assert "API key" in answer.json()["error"]
        for headers in ({"authorization": b"Bearer " + key}, {"x-api-key": key}):
            assert server.post(json=rows(encoded()), headers=headers).status_code == 200
        assert server.get("/healthz").status_code == 200


def test_a_client_that_asks_too_often_gets_429(exports: list[Path], tmp_path: Path) -> None:
    release(exports[0], tmp_path / "tiny", 1)
    with running(tmp_path / "tiny", limits=Limits(rate=5)) as server:
        with httpx.Client(base_url=server.url, timeout=60, verify=False) as client:
            # So many that most come within a second of five others on the slowest machine.
            answers = [client.get("/v1/models/tiny") for _ in range(60)]
        codes = [answer.status_code for answer in answers]
        assert codes[:5] == [200] * 5
        assert 429 in codes
        assert "5 requests a second" in answers[codes.index(429)].json()["error"]
        assert answers[codes.index(429)].headers["retry-after"] == "1"
        eventually(lambda: server.get("/v1/models/tiny").status_code == 200)


def in_parallel(server: Running, bodies: Sequence[dict[str, object]]) -> list["httpx.Response"]:
    """The answers to requests that are sent at the same moment, from connections that are there already."""
    together = threading.Barrier(len(bodies))

    def sent(body: dict[str, object]) -> "httpx.Response":
        with httpx.Client(base_url=server.url, timeout=60, verify=False) as client:
            client.get("/healthz")
            together.wait(60)
            return client.post(PREDICT, json=body)

    with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(sent, bodies))


def test_under_load_pictures_share_batches_and_get_their_own_answers(exports: list[Path], tmp_path: Path) -> None:
    release(exports[0], tmp_path / "tiny", 1)
    pictures = [encoded(index) for index in range(24)]
    expected = scores(exports[0], *pictures)
    # A batch that is full does not wait, and 24 pictures fill three; on a busy machine they may take long to come.
    batching = Batching(max_batch_size=8, batch_timeout_micros=20_000_000)
    with running(tmp_path / "tiny", batching=batching) as server:
        answers = [each.json()["predictions"][0] for each in in_parallel(server, [rows(data) for data in pictures])]
        assert [row["scores"] for row in answers] == pytest.approx(expected, abs=1e-6)
        lines = server.get("/metrics").text.splitlines()
        batches = int(float(next(line for line in lines if line.startswith("kt_batch_pictures_count")).split()[1]))
        assert batches == 3


def test_a_full_queue_answers_503_and_what_was_taken_is_answered(exports: list[Path], tmp_path: Path) -> None:
    release(exports[0], tmp_path / "tiny", 1)
    batching = Batching(max_batch_size=4, max_enqueued_batches=1, batch_timeout_micros=1_000_000)
    with running(tmp_path / "tiny", batching=batching) as server:
        answers = in_parallel(server, [rows(encoded(), encoded(), encoded())] * 12)
        codes = sorted(answer.status_code for answer in answers)
        assert set(codes) == {200, 503}
        errors = {answer.json()["error"] for answer in answers if answer.status_code == 503}
        assert errors == {"The batch scheduling queue to which this task was submitted is full"}
        too_many = server.post(json=rows(*[encoded()] * 5))
        assert too_many.status_code == 400
        assert "Task size 5 is larger than" in too_many.json()["error"]


def test_more_requests_at_once_than_allowed_get_503(exports: list[Path], tmp_path: Path) -> None:
    release(exports[0], tmp_path / "tiny", 1)
    batching = Batching(max_batch_size=64, batch_timeout_micros=2_000_000)
    with running(tmp_path / "tiny", batching=batching, limits=Limits(requests=2)) as server:
        codes = [answer.status_code for answer in in_parallel(server, [rows(encoded())] * 6)]
        assert codes.count(200) >= 2
        assert 503 in codes
        assert server.get("/healthz").status_code == 200


def test_new_versions_take_over_under_a_stream_of_requests_and_none_is_dropped(
    exports: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "tiny"
    release(exports[0], folder, 1)
    expected = [scores(version, encoded())[0] for version in exports]
    seen: list[list[float]] = []
    done = threading.Event()
    with running(folder) as server:

        def stream() -> None:
            with httpx.Client(timeout=60, verify=False) as client:
                while not done.is_set():
                    answer = client.post(server.url + PREDICT, json=rows(encoded()))
                    assert answer.status_code == 200, answer.text
                    seen.append(answer.json()["predictions"][0]["scores"])

        def newest() -> int:
            return int(server.get("/about.json").json()["models"][0]["version"])

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            streams = [pool.submit(stream) for _ in range(4)]
            try:
                for number in (2, 3):
                    release(exports[number - 1], folder, number)
                    eventually(lambda number=number: newest() == number)
                    time.sleep(0.2)
            finally:
                done.set()
            for each in streams:
                each.result()
        by = [[np.allclose(row, scores, atol=1e-6) for scores in expected].index(True) for row in seen]
        assert set(by) == {0, 1, 2}
        status = "/v1/models/tiny"

        def states() -> list[str]:
            return [each["state"] for each in server.get(status).json()["model_version_status"]]

        eventually(lambda: states() == ["AVAILABLE", "END", "END"])
        assert server.post("/v1/models/tiny/versions/1:predict", json=rows(encoded())).status_code == 404


def test_a_damaged_version_is_told_and_the_old_one_goes_on_until_it_is_mended(
    exports: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "tiny"
    release(exports[0], folder, 1)
    with running(folder) as server:
        broken = tmp_path / "broken"
        shutil.copytree(exports[1], broken)
        (broken / "saved_model.pb").write_bytes((broken / "saved_model.pb").read_bytes()[:500])
        release(broken, folder, 2)

        def status() -> dict[str, object]:
            return server.get("/v1/models/tiny").json()["model_version_status"][0]

        eventually(lambda: status()["version"] == "2" and status()["state"] == "END")
        assert "cannot be opened" in status()["status"]["error_message"]
        assert status()["status"]["error_code"] == "UNKNOWN"
        (row,) = server.post(json=rows(encoded())).json()["predictions"]
        assert row["scores"] == pytest.approx(scores(exports[0], encoded())[0], abs=1e-6)
        assert server.get("/healthz").status_code == 200
        shutil.copy(exports[1] / "saved_model.pb", folder / "2")
        eventually(lambda: status()["state"] == "AVAILABLE")
        (row,) = server.post(json=rows(encoded())).json()["predictions"]
        assert row["scores"] == pytest.approx(scores(exports[1], encoded())[0], abs=1e-6)


def test_a_label_that_moves_is_followed_and_damaged_labels_stay_as_they_were(
    exports: list[Path], tmp_path: Path
) -> None:
    folder = tmp_path / "tiny"
    for number, version in enumerate(exports, start=1):
        release(version, folder, number)
    labels = folder / "labels.json"
    labels.write_text('{"stable": 1}', encoding="utf-8")
    with running(folder) as server:

        def stable() -> str:
            return server.get("/v1/models/tiny/labels/stable").json()["model_version_status"][0]["version"]

        assert stable() == "1"
        assert server.get("/about.json").json()["models"][0]["versions"] == [1, 3]
        labels.write_text('{"stable": 2}', encoding="utf-8")
        eventually(lambda: stable() == "2")
        labels.write_text("{", encoding="utf-8")
        time.sleep(0.5)
        assert stable() == "2"
        (row,) = server.post("/v1/models/tiny/labels/stable:predict", json=rows(encoded())).json()["predictions"]
        assert row["scores"] == pytest.approx(scores(exports[1], encoded())[0], abs=1e-6)


@pytest.fixture
def command(exports: list[Path], tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`kt serve` as a process, with its address."""
    release(exports[0], tmp_path / "saved_models" / "tiny", 1)
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", "from kt.cli import main; main()", "serve", "saved_models", "--port", str(port),
         "--grpc-port", "0", "--batch-timeout-micros", "15000000"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("how", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_lets_requests_in_work_finish_and_ends_with_0(
    command: tuple[subprocess.Popen[str], str], how: signal.Signals
) -> None:
    process, url = command
    lines = [json.loads(process.stderr.readline()) for _ in range(3)]
    assert [line["message"] for line in lines] == ["no drift is looked for", "version serves", "ready"]
    assert lines[2]["models"] == {"tiny": [1]}
    assert httpx.get(url).headers["content-type"].startswith("text/html")  # the page
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        sent = threading.Event()
        trace = {"trace": lambda event, _: sent.set() if event == "http11.send_request_body.complete" else None}
        answer = pool.submit(httpx.Client().post, url + PREDICT, json=rows(encoded()), timeout=60, extensions=trace)
        assert sent.wait(60)
        # What is answered after it was sent shows that it has been taken, on a busy machine too.
        assert httpx.get(f"{url}/healthz", timeout=60).status_code == 200
        time.sleep(1)  # it waits for company in its batch now, and would for 15 s
        process.send_signal(how)
        assert answer.result().status_code == 200
    assert process.wait(600) == 0
    rest = [json.loads(line) for line in process.stderr.read().splitlines()]
    assert [line["message"] for line in rest if line["message"] != "request"][-1] == "stopped"
    (request,) = [line for line in rest if line["message"] == "request" and line["path"] == PREDICT]
    kept = {name: request[name] for name in ("method", "path", "status", "pictures", "client")}
    assert kept == {"method": "POST", "path": PREDICT, "status": 200, "pictures": 1, "client": "127.0.0.1"}
    assert request["ms"] > 500


def test_what_cannot_be_served_is_told_before_anything_listens(exports: list[Path], tmp_path: Path) -> None:
    release(exports[0], tmp_path / "tiny", 1)
    release(exports[0], tmp_path / "other" / "tiny", 1)
    (tmp_path / "broken" / "1").mkdir(parents=True)
    (tmp_path / "broken" / "1" / "saved_model.pb").write_bytes(b"nonsense")
    settings = Settings(port=free_port(), grpc_port=0)
    for folders, message in (
        (["nowhere"], "nowhere holds no version of a model; name a folder such as saved_models/apples"),
        (["broken"], "No version of broken can be served; version 1: .* cannot be opened"),
        (["tiny", "other/tiny"], "have one name; rename one of the folders"),
    ):
        with pytest.raises(ReleaseError, match=message):
            serve([tmp_path / folder for folder in folders], settings)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match=f"Cannot listen on 127.0.0.1 port {port}"):
            serve([tmp_path / "tiny"], dataclasses.replace(settings, port=port))


def test_a_folder_of_models_serves_each_of_them(exports: list[Path], tmp_path: Path) -> None:
    release(exports[0], tmp_path / "one", 7)
    release(exports[1], tmp_path / "two", 1)
    (tmp_path / "README.md").touch()
    (tmp_path / "no_model").mkdir()
    with running(tmp_path) as server:
        for name, version in (("one", exports[0]), ("two", exports[1])):
            (row,) = server.post(f"/v1/models/{name}:predict", json=rows(encoded())).json()["predictions"]
            assert row["scores"] == pytest.approx(scores(version, encoded())[0], abs=1e-6)


def test_a_version_with_tflite_alone_answers_as_a_saved_model_would(tmp_path: Path) -> None:
    details = Details("tiny", CLASSES)
    TFLite("float32").make(tiny(seed=1), tmp_path / "tiny" / "1", details=details)
    expected = scores(tmp_path / "tiny" / "1", encoded())[0]
    with running(tmp_path / "tiny") as server:
        (row,) = server.post(json=rows(encoded())).json()["predictions"]
        assert row["scores"] == pytest.approx(expected, abs=1e-6)
        signatures = server.get("/v1/models/tiny/metadata").json()["metadata"]["signature_def"]["signature_def"]
        assert signatures["serving_default"]["inputs"]["image_bytes"]["dtype"] == "DT_STRING"
        assert [side["size"] for side in signatures["pixels"]["outputs"]["scores"]["tensor_shape"]["dim"]] == [
            "-1",
            "3",
        ]


def test_litert_answers_within_what_the_gate_allows_and_refuses_what_it_did_not_pass(
    ran: Ran, exports: list[Path], tmp_path: Path
) -> None:
    shutil.copytree(ran.folder / "saved_models" / "tiny", tmp_path / "tiny")
    version = next(path for path in (tmp_path / "tiny").iterdir() if path.is_dir() and path.name.isdecimal())
    artifact = open_artifact(version)
    expected = artifact.scores(np.stack([resize(read_rgb(encoded()), artifact.kind.image_size)]))[0]
    with running(tmp_path / "tiny", engine="litert") as server:
        (row,) = server.post(json=rows(encoded())).json()["predictions"]
        assert row["scores"] == pytest.approx(expected, abs=1e-4)
    release(exports[0], tmp_path / "plain", 1)
    with pytest.raises(ReleaseError, match=r"has no float32 \.tflite file that passed the release gate"):
        serve([tmp_path / "plain"], Settings(port=free_port(), grpc_port=0, engine="litert"))


def test_mistakes_on_the_command_line_are_one_line(tmp_path: Path, kt_here) -> None:
    (tmp_path / "empty.key").touch()
    for arguments, code, message in (
        (["--port", "0", "--grpc-port", "0"], 2, "Nothing to listen on"),
        (["--api-key-file", "empty.key"], 7, "empty.key holds no API key; write it into the first line."),
        (["--api-key-file", "no.key"], 7, "The API key cannot be read from no.key"),
    ):
        done = kt_here("serve", "tiny", *arguments, cwd=tmp_path)
        assert (done.returncode, len(done.stderr.splitlines())) == (code, 1)
        assert message in done.stderr
    assert "KT_API_KEY is empty" in kt_here("serve", "tiny", cwd=tmp_path, KT_API_KEY=" ").stderr


def malformed(server: Running, index: int) -> int:
    """One of many ways of asking wrongly; gives the status of the answer."""
    random = np.random.default_rng(index)
    photo = encoded(index % 7, format="JPEG", size=200)
    bomb = io.BytesIO()
    Image.new("1", (4000, 4000)).save(bomb, "PNG")
    ways = [
        lambda: server.post(content=random.bytes(5000)),
        lambda: server.post(
            json={"instances": random.integers(0, 256, (2, 9, 9, 3)).tolist(), "signature_name": "pixels"}
        ),
        lambda: server.post(content=b"x" * 2**21),
        lambda: server.post(json=rows(photo[: int(random.integers(1, len(photo) // 2))])),
        lambda: server.post(json=rows(bomb.getvalue())),
        lambda: server.post(json={"instances": [b64(photo)], "signature_name": "nothing"}),
        lambda: server.post(content=b"[" * 2**19),
        lambda: server.post(json=rows(bytes([0xFF, 0xD8, 0xFF]) + random.bytes(20_000))),
        lambda: server.post(content=b'{"instances": [' + b"[]," * 2**18 + b"[]]}"),
        lambda: server.post("/v1/models/tiny:guess", json=rows(photo)),
    ]
    return int(ways[index % len(ways)]().status_code)


@pytest.mark.slow
def test_a_thousand_malformed_requests_leave_no_trace(exports: list[Path], tmp_path: Path) -> None:
    release(exports[0], tmp_path / "saved_models" / "tiny", 1)
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", "from kt.cli import main; main()", "serve", "saved_models", "--port", str(port),
         "--grpc-port", "0", "--max-body-mb", "1", "--max-pixels", "1000000", "--request-timeout", "5"],
        cwd=tmp_path, stderr=(tmp_path / "log").open("w"), env=os.environ,
    )  # fmt: skip
    server = Running(tmp_path, f"http://127.0.0.1:{port}", "", None)

    def memory() -> int:
        """Resident kilobytes of the server."""
        lines = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])

    try:
        eventually(lambda: answers(server), seconds=120)
        expected = server.post(json=rows(encoded())).json()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            codes = list(pool.map(lambda index: malformed(server, index), range(200)))
            before = memory()
            slow = [pool.submit(exchanged, server, b"POST / HTTP/1.1") for _ in range(4)]
            codes += list(pool.map(lambda index: malformed(server, index), range(200, 1000)))
            assert all(each.result().startswith(b"HTTP/1.1 408") for each in slow)
        assert set(codes) <= {400, 408, 413}  # 408 where the machine is so busy that a body takes long
        assert codes.count(400) >= 800
        assert codes.count(413) >= 90
        assert memory() < before * 1.1 + 50_000
        assert server.post(json=rows(encoded())).json() == expected
    finally:
        process.kill()
        process.wait()


def answers(server: Running) -> bool:
    try:
        return bool(server.get("/healthz").status_code == 200)
    except httpx.TransportError:
        return False


def test_an_answer_says_whether_the_picture_is_unlike_anything_the_model_learned_from(ran) -> None:
    folder = ran.folder / "saved_models" / "tiny"
    pictures = [encoded(0), encoded(1), png(np.zeros((40, 40, 3), np.uint8)), png(np.full((40, 40, 3), 255, np.uint8))]
    expected = open_artifact(folder).answers_to(pictures)
    assert expected.unfamiliar is not None and 0 < expected.unfamiliar.sum() < 4
    for window in (0, 10):
        with running(folder, drift_window=window) as server:
            answers = server.post("/v1/models/tiny:predict", json=rows(*pictures)).json()["predictions"]
            assert [answer["unfamiliar"] for answer in answers] == expected.unfamiliar.tolist()
            distances = [answer["unfamiliarity"] for answer in answers]
            np.testing.assert_allclose(distances, expected.unfamiliarity, atol=1e-5)
            columns = server.post("/v1/models/tiny:predict", json={"inputs": [b64(data) for data in pictures]}).json()
            assert columns["outputs"]["unfamiliar"] == expected.unfamiliar.tolist()
            told = f'kt_unfamiliar_pictures_total{{model="tiny",version="1"}} {2.0 * expected.unfamiliar.sum()}'
            assert told in server.get("/metrics").text
            assert server.get("/about.json").json()["models"][0]["says_unfamiliar"] is True
            outputs = server.get("/v1/models/tiny/metadata").json()["metadata"]["signature_def"]["signature_def"]
            assert outputs["serving_default"]["outputs"]["unfamiliar"]["dtype"] == "DT_BOOL"
    with running(folder, engine="litert") as server:
        answers = server.post("/v1/models/tiny:predict", json=rows(*pictures)).json()["predictions"]
        assert [answer["unfamiliar"] for answer in answers] == expected.unfamiliar.tolist()
        np.testing.assert_allclose([answer["unfamiliarity"] for answer in answers], expected.unfamiliarity, atol=1e-3)
        assert server.get("/about.json").json()["models"][0]["says_unfamiliar"] is True


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
