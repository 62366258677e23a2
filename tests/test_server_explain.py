"""`kt serve` says where a model looks in a picture, by occlusion, one picture at a time."""

import base64
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
pytest.importorskip("httpx")

from serving import CLASSES, SIZE, Running, b64, encoded, pixels_of, release, rows, running

from kt.explain.files import explain_files
from kt.explain.models import open_model
from kt.serve import explaining
from kt.serve.settings import Batching

EXPLAIN = "/v1/models/tiny:explain"


@pytest.fixture(scope="module")
def folder(exports: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("explained") / "tiny"
    release(exports[0], made, 1)
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Running]:
    with running(folder) as made:
        yield made


def explained(server: Running, body: dict[str, Any]) -> dict[str, Any]:
    answer = server.post(EXPLAIN, json=body)
    assert answer.status_code == 200, answer.text
    (explanation,) = answer.json()["explanations"]
    return explanation


def overlay_of(explanation: dict[str, Any]) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(explanation["overlay"]["b64"]))) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def count(server: Running, line: str) -> float:
    return sum(float(text.split()[-1]) for text in server.get("/metrics").text.splitlines() if text.startswith(line))


@pytest.mark.parametrize("label", [None, *CLASSES])
def test_the_explanation_is_that_of_kt_explain_for_the_released_model(
    server: Running, folder: Path, tmp_path: Path, label: str | None
) -> None:
    data = encoded(3, size=90, exif=6, format="JPEG")
    (tmp_path / "a.jpg").write_bytes(data)
    done = explain_files(open_model(folder / "1"), [tmp_path / "a.jpg"], out=tmp_path / "out", label=label)
    expected = {**done.pictures[0].as_json(), "method": done.method}
    answer = explained(server, rows(data) if label is None else {**rows(data), "class": label})
    overlay = overlay_of(answer)
    del expected["path"], expected["truth"], expected["depths"], expected["overlay"], answer["overlay"]
    assert answer.keys() == expected.keys()
    for key, value in expected.items():
        told = answer[key]
        assert told == (value if isinstance(value, str) or value is None else pytest.approx(np.array(value), abs=2e-3))
    with Image.open(tmp_path / "out" / "001-a.png") as image:
        assert np.abs(np.asarray(image).astype(int) - overlay).mean() < 1


def test_a_large_photo_has_a_small_overlay_and_pixels_have_one_of_their_own_size(server: Running) -> None:
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (500, 1500, 3)).astype(np.uint8))
    buffer = io.BytesIO()
    wide.save(buffer, "JPEG")
    assert overlay_of(explained(server, rows(buffer.getvalue()))).shape == (213, 640, 3)
    pixels = pixels_of(encoded())
    body = {"signature_name": "pixels", "instances": [pixels.tolist()]}
    assert overlay_of(explained(server, body)).shape == (*SIZE, 3)
    columns = explained(server, {"inputs": [b64(encoded())]})
    assert columns["score"] == pytest.approx(explained(server, body)["score"], abs=1e-5)


def test_it_is_counted_as_an_explanation_and_leaves_no_trace_in_what_is_answered(server: Running) -> None:
    before = [count(server, f"kt_{name}_total{{") for name in ("explanations", "pictures")]
    explained(server, rows(encoded()))
    assert [count(server, f"kt_{name}_total{{") for name in ("explanations", "pictures")] == [before[0] + 1, before[1]]
    assert count(server, 'kt_requests_total{interface="rest",kind="explain",status="200"}') >= 1


REFUSED = [
    (b"", 400, "The document is empty"),
    (b"{}", 400, "Missing 'inputs' or 'instances' key"),
    (b'{"instances": [{"b64": "aGFsbG8="}]}', 400, "image_bytes of picture 0 cannot be read"),
    (b'{"instances": [{"b64": ""}, {"b64": ""}]}', 400, "The request holds 2 pictures; one at a time is explained"),
    (b'{"inputs": []}', 400, "The request holds 0 pictures"),
    (b'{"instances": [{"b64": "aGFsbG8="}], "class": 3}', 400, "'class' must be the name of a class"),
    (b'{"instances": [[[1]]], "signature_name": "pixels"}', 400, "expected uint8"),
]


@pytest.mark.parametrize(("body", "status", "message"), REFUSED)
def test_what_cannot_be_explained_is_told_in_one_line(server: Running, body: bytes, status: int, message: str) -> None:
    answer = server.post(EXPLAIN, content=body)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert message in answer.json()["error"]


def test_a_class_or_a_version_that_does_not_exist_is_told(server: Running) -> None:
    answer = server.post(EXPLAIN, json={**rows(encoded()), "class": "red"})
    assert (answer.status_code, answer.json()["error"]) == (
        400, "The model has no class 'red'; it has: blue, green, größer.",
    )  # fmt: skip
    assert server.post("/v1/models/tiny/versions/9:explain", json=rows(encoded())).status_code == 404
    assert server.get(EXPLAIN).status_code == 400


def test_the_key_is_needed_as_for_an_answer(folder: Path) -> None:
    with running(folder, api_key="open sesame") as server:
        assert server.post(EXPLAIN, json=rows(encoded())).status_code == 401
        assert server.post(EXPLAIN, json=rows(encoded()), headers={"X-API-Key": "open sesame"}).status_code == 200


def test_it_can_be_turned_off(folder: Path) -> None:
    with running(folder, explains=False) as server:
        answer = server.post(EXPLAIN, json=rows(encoded()))
        assert (answer.status_code, list(answer.json())) == (404, ["error"])
        assert "it was started with --no-explain" in answer.json()["error"]
        assert server.get("/about.json").json()["models"][0]["explains"] is False


def test_one_is_computed_at_a_time_a_few_wait_and_more_get_503_while_answers_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, begun, at_once = threading.Event(), threading.Semaphore(0), []
    real = explaining.occlusion

    def slow(*arguments: Any) -> Any:
        at_once.append(1)
        assert len(at_once) == 1
        begun.release()
        assert go.wait(600)
        try:
            return real(*arguments)
        finally:
            at_once.pop()

    monkeypatch.setattr(explaining, "occlusion", slow)
    with running(folder, batching=Batching(max_batch_size=1)) as server:
        statuses: list[int] = []

        def ask() -> None:
            statuses.append(server.post(EXPLAIN, json=rows(encoded()), timeout=600).status_code)

        threads = [threading.Thread(target=ask) for _ in range(explaining.MOST_WAITING + 4)]
        for thread in threads:
            thread.start()
        assert begun.acquire(timeout=600)
        while len(statuses) < 3:
            assert server.post(json=rows(encoded())).status_code == 200
        assert statuses == [503] * 3
        go.set()
        for thread in threads:
            thread.join(600)
    assert sorted(statuses) == [200] * (explaining.MOST_WAITING + 1) + [503] * 3


def test_one_that_takes_too_long_is_given_up_and_the_server_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explaining, "_MOST_SECONDS", 0.0)
    with running(folder) as server:
        answer = server.post(EXPLAIN, json=rows(encoded()))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"].startswith("The explanation takes ")
        assert server.post(json=rows(encoded())).status_code == 200
