"""`kt serve` looks for drift in the latest pictures that it answered, in bounded memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
pytest.importorskip("httpx")

from serving import SIZE, Running, encoded, export, release, rows, running

from kt.drift import TOO_FEW, Observed, Reference
from kt.export.artifact import open_artifact
from kt.export.formats.format import HeldOut
from kt.export.formats.saved_model import SavedModel
from kt.serve import drift as answers
from kt.serve.window import Window

DRIFT = "/v1/models/tiny/drift"


def some_pixels(count: int, *, seed: int) -> np.ndarray:
    """Pictures in many colours."""
    random = np.random.default_rng(seed)
    colours = random.integers(0, 256, (count, 1, 1, 3))
    return np.clip(colours + random.normal(0, 20, (count, *SIZE, 3)), 0, 255).astype(np.uint8)


def ask(server: Running, pixels: np.ndarray) -> None:
    answer = server.post(json={"signature_name": "pixels", "instances": pixels.tolist()})
    assert answer.status_code == 200, answer.text


def metric(server: Running, line: str) -> float:
    (value,) = [text.split()[-1] for text in server.get("/metrics").text.splitlines() if text.startswith(line)]
    return float(value)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version that carries held-out examples."""
    version = export(tmp_path_factory.mktemp("watched") / "1", seed=3)
    artifact = open_artifact(version)
    pixels = some_pixels(120, seed=0)
    labels = artifact.scores(pixels).argmax(axis=1)
    SavedModel().remember(version, artifact, HeldOut(pixels, labels, tuple(map(str, range(120)))))
    return version


@pytest.fixture
def server(watched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(answers, "FRESH_SECONDS", -1.0)
    release(watched, tmp_path / "tiny", 1)
    with running(tmp_path / "tiny", drift_window=64) as made:
        yield made


def test_before_any_picture_there_are_too_few_to_tell(server: Running) -> None:
    answer = server.get(DRIFT).json()
    assert (answer["verdict"], answer["examples"], answer["answered"]) == (TOO_FEW, 0, 0)
    assert metric(server, 'kt_drift_pictures{model="tiny",version="1"}') == 0


def test_pictures_like_the_held_out_ones_have_no_drift_and_dark_ones_have(server: Running) -> None:
    ask(server, some_pixels(64, seed=1))
    answer = server.get(DRIFT).json()
    assert (answer["verdict"], answer["examples"], answer["held_out"]) == ("none", 64, 120)
    assert answer["model_spec"] == {"name": "tiny", "version": "1"}
    ask(server, some_pixels(64, seed=2) // 6)
    answer = server.get(f"{DRIFT.replace('/drift', '')}/versions/1/drift").json()
    assert (answer["verdict"], answer["examples"], answer["answered"]) == ("drift", 64, 128)
    assert answer["p"] <= answer["alarm"]
    assert metric(server, 'kt_drift_checks_total{model="tiny",verdict="drift",version="1"}') == 1
    assert metric(server, 'kt_drift_checks_total{model="tiny",verdict="none",version="1"}') == 1
    assert metric(server, 'kt_drift_p{model="tiny",version="1"}') == pytest.approx(answer["p"])
    assert metric(server, 'kt_drift_pictures{model="tiny",version="1"}') == 64
    assert metric(server, 'kt_drift_new_pictures{model="tiny",version="1"}') == answer["new"]["count"]


def test_encoded_pictures_are_watched_too_and_the_answers_are_those_of_the_model(
    server: Running, watched: Path
) -> None:
    answer = server.post(json=rows(encoded(1), encoded(2)))
    assert server.get(DRIFT).json()["examples"] == 2
    pixels = some_pixels(5, seed=9)
    got = server.post(json={"signature_name": "pixels", "inputs": pixels.tolist()}).json()["outputs"]["scores"]
    np.testing.assert_allclose(got, open_artifact(watched).scores(pixels), atol=1e-5)
    assert len(answer.json()["predictions"]) == 2


def test_the_signature_with_features_is_the_server_s_own(server: Running) -> None:
    listed = server.get("/v1/models/tiny/metadata").json()["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "pixels"} <= set(listed)
    assert "features" not in listed
    refused = server.post(json={"signature_name": "features", "instances": some_pixels(1, seed=1).tolist()})
    assert (refused.status_code, "not found in signature def" in refused.json()["error"]) == (400, True)


def test_a_judgement_is_kept_for_a_while(watched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = []
    real = answers.judge
    monkeypatch.setattr(answers, "judge", lambda *given: judged.append(1) or real(*given))
    release(watched, tmp_path / "tiny", 1)
    with running(tmp_path / "tiny") as server:
        first = server.get(DRIFT).json()
        ask(server, some_pixels(8, seed=1))
        again = server.get(DRIFT).json()
    assert (len(judged), first["answered"], again["answered"]) == (1, 0, 0)
    assert again["age_seconds"] >= first["age_seconds"]


def test_drift_needs_the_key_as_other_addresses_do(watched: Path, tmp_path: Path) -> None:
    release(watched, tmp_path / "tiny", 1)
    with running(tmp_path / "tiny", api_key="secret") as server:
        assert server.get(DRIFT).status_code == 401
        assert server.get(DRIFT, headers={"X-API-Key": "secret"}).status_code == 200
        assert server.get("/v1/models/nobody/drift", headers={"X-API-Key": "secret"}).status_code == 404
        assert server.post(DRIFT, headers={"X-API-Key": "secret"}).status_code == 400


def test_it_can_be_turned_off(watched: Path, tmp_path: Path) -> None:
    release(watched, tmp_path / "tiny", 1)
    with running(tmp_path / "tiny", drift_window=0) as server:
        ask(server, some_pixels(4, seed=1))
        answer = server.get(DRIFT)
        assert (answer.status_code, "--drift-window" in answer.json()["error"]) == (404, True)
        assert "kt_drift_pictures{" not in server.get("/metrics").text


def test_a_model_without_held_out_examples_says_how_to_get_them_and_answers_all_the_same(
    exports: list[Path], tmp_path: Path
) -> None:
    release(exports[0], tmp_path / "tiny", 1)
    with running(tmp_path / "tiny") as server:
        ask(server, some_pixels(4, seed=1))
        answer = server.get(DRIFT)
        assert answer.status_code == 404
        assert "kt export RUN" in answer.json()["error"]


def test_a_window_keeps_the_latest_and_no_more() -> None:
    window = Window(Reference.of(Observed.of(np.zeros((2, 3)), np.ones((2, 1))), [0, 0]), size=10)
    memory = window._features.nbytes + window._scores.nbytes
    for start in range(0, 95, 7):
        values = np.arange(start, start + 7, dtype=np.float32)
        window.add(np.repeat(values[:, None], 3, axis=1), np.ones((7, 1), np.float32))
    assert sorted(window.latest().features[:, 0].tolist()) == list(range(88, 98))
    assert (len(window), window.added) == (10, 98)
    window.add(np.arange(75, dtype=np.float32).reshape(25, 3), np.ones((25, 1), np.float32))
    assert sorted(window.latest().features[:, 0].tolist()) == list(range(45, 75, 3))
    assert window._features.nbytes + window._scores.nbytes == memory


def test_a_picture_whose_features_are_no_numbers_is_not_kept() -> None:
    window = Window(Reference.of(Observed.of(np.zeros((2, 3)), np.ones((2, 1))), [0, 0]), size=10)
    window.add(np.array([[1, 2, np.nan], [1, 2, 3]], np.float32), np.ones((2, 1), np.float32))
    assert window.latest().features.tolist() == [[1, 2, 3]]
