"""Published clients of TensorFlow Serving, made by others, get the scores of `kt predict` from `kt serve`.

A client that is not beside kt is looked for in the environment of KT_CLIENTS_PYTHON, a Python interpreter:
`min-tfs-client` brings files of its own into the packages tensorflow and tensorflow_serving, generated for protobuf 3,
so it can't share an environment with TensorFlow.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
pytest.importorskip("tensorflow_serving", reason="needs the extra 'grpc'")
pytest.importorskip("httpx")

from conftest import REPOSITORY
from serving import CLASSES, Running, encoded, running, two_versions

from kt.export.artifact import open_artifact
from kt.predict import predict_files


@pytest.fixture(scope="module")
def server(exports: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = two_versions(exports, tmp_path_factory.mktemp("served") / "tiny")
    with running(folder) as made:
        yield made


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    (tmp_path / "a.png").write_bytes(encoded(0))
    (tmp_path / "b.jpg").write_bytes(encoded(1, format="JPEG"))
    (tmp_path / "sideways.jpg").write_bytes(encoded(2, format="JPEG", exif=8))
    return sorted(tmp_path.iterdir())


def interpreter(client: str) -> str:
    if importlib.util.find_spec(client) is not None:
        return sys.executable
    if elsewhere := os.environ.get("KT_CLIENTS_PYTHON"):
        return elsewhere
    pytest.skip(f"{client} is not installed, and KT_CLIENTS_PYTHON names no environment that has it")


def asked(client: str, server: Running, pictures: list[Path]) -> dict[str, object]:
    script = REPOSITORY / "tests" / "facts" / "other_clients.py"
    rest = server.url.removeprefix("http://")
    command = [interpreter(client), str(script), client, rest, server.grpc, *map(str, pictures)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def predicted(version: Path, pictures: list[Path]) -> list[list[float]]:
    answers = predict_files(open_artifact(version), pictures)
    return [[answer.scores[name] for name in CLASSES] for answer in answers]


def test_min_tfs_client_gets_the_scores_of_kt_predict(server: Running, tmp_path: Path) -> None:
    pictures = [tmp_path / "a.bmp", tmp_path / "b.bmp"]
    for seed, file in enumerate(pictures):  # dark bitmaps of a size and density that has no byte above 127
        pixels = np.random.default_rng(seed).integers(1, 128, (24, 32, 3), np.uint8)
        Image.fromarray(pixels).save(file, dpi=(72, 72))
    found = asked("min_tfs_client", server, pictures)
    for rows, version in zip(
        (found["grpc None"], found["grpc 1"]), (server.folder / "2", server.folder / "1"), strict=True
    ):
        for row, expected in zip(rows, predicted(version, pictures), strict=True):
            assert row == pytest.approx(expected, abs=1e-6)


def test_ovmsclient_gets_the_scores_of_kt_predict_over_rest_and_grpc(server: Running, pictures: list[Path]) -> None:
    found = asked("ovmsclient", server, pictures)
    for interface in ("rest", "grpc"):
        for asked_for, version in ((None, "2"), (1, "1")):
            rows = found[f"{interface} {asked_for}"]
            for row, expected in zip(rows, predicted(server.folder / version, pictures), strict=True):
                assert row == pytest.approx(expected, abs=1e-6)
        assert found[f"{interface} status"] == {"1": "AVAILABLE"}
