"""What is documented of `kt serve` works as it stands, on a release that has no label yet; so does its container."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
httpx = pytest.importorskip("httpx")
pytest.importorskip("grpc", reason="needs the extra 'grpc'")

from conftest import REPOSITORY  # noqa: E402
from serving import CLASSES, Running, encoded, release, running, scores  # noqa: E402

from kt.cli.serve import command  # noqa: E402

PAGES = ("docs/serving.md", "docs/tensorflow-serving.md", "README.md")
CLIENT = re.compile(r"localhost:850[01]")


@pytest.fixture(scope="module")
def server(exports: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("documented") / "apples"
    release(exports[0], folder, 1)
    (folder.parent / "photo.jpg").write_bytes(encoded(1, format="JPEG"))
    with running(folder) as made:
        yield made


def page(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def for_server(text: str, server: Running) -> str:
    return text.replace("localhost:8501", server.url.removeprefix("http://")).replace("localhost:8500", server.grpc)


PYTHON = [
    pytest.param(block, id=f"{name}-{index}")
    for name in PAGES
    for index, block in enumerate(re.findall(r"```python\n(.*?)```", page(name), re.DOTALL))
    if CLIENT.search(block)
]
FENCED, INDENTED = re.compile(r"```bash\n(.*?)```", re.DOTALL), re.compile(r"(?:^ {4}.*\n)+", re.MULTILINE)
SHELL = [
    pytest.param(block, id=f"{name}-{index}")
    for name in PAGES
    for index, block in enumerate(FENCED.findall(page(name)) + INDENTED.findall(FENCED.sub("", page(name))))
    if CLIENT.search(block) and ":predict" in block
]


def test_there_are_clients_in_the_documentation() -> None:
    assert (len(PYTHON), len(SHELL)) == (3, 2)


@pytest.mark.parametrize("block", PYTHON)
def test_the_clients_in_python_get_the_answer_before_any_promote(block: str, server: Running) -> None:
    photo = server.folder.parent / "photo.jpg"
    done = subprocess.run(
        [sys.executable, "-c", for_server(block, server), str(photo)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = scores(server.folder / "1", photo.read_bytes())[0]
    assert CLASSES[expected.argmax()] in done.stdout or f"{expected[0]:.4f}"[:-1] in done.stdout, done.stdout


@pytest.mark.skipif(shutil.which("curl") is None or sys.platform != "linux", reason="needs curl and GNU base64")
@pytest.mark.parametrize("block", SHELL)
def test_the_clients_in_the_shell_get_the_answer_before_any_promote(block: str, server: Running) -> None:
    script = for_server("".join(line.strip() + "\n" for line in block.splitlines()), server)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=server.folder.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["predictions"]
    expected = scores(server.folder / "1", (server.folder.parent / "photo.jpg").read_bytes())[0]
    assert row["scores"] == pytest.approx(expected, abs=1e-6)


def test_what_the_container_names_exists(server: Running) -> None:
    text = page("docker/serve.Dockerfile").replace("\\\n", " ")
    said = dict(re.findall(r"^(FROM|USER|EXPOSE|ENTRYPOINT|HEALTHCHECK) (.*)$", text, re.MULTILINE))
    project = tomllib.loads(page("pyproject.toml"))["project"]
    minor = int(re.fullmatch(r"python:3\.(\d+)-slim", said["FROM"])[1])
    assert minor >= int(re.fullmatch(r">=3\.(\d+)", project["requires-python"])[1])
    (extra,) = re.findall(r"pip install --no-cache-dir '\.\[(\w+)\]'", text)
    assert extra in project["optional-dependencies"]
    for names in re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE):
        assert all((REPOSITORY / name).exists() for name in names.split())
    ignored = page("docker/serve.Dockerfile.dockerignore").split()
    assert {line[1:] for line in ignored if line.startswith("!")} == set(
        " ".join(re.findall(r"^COPY (.*) \S+$", text, re.MULTILINE)).split()
    )
    assert said["USER"] not in ("root", "0")
    kt, verb, *arguments = json.loads(said["ENTRYPOINT"])
    assert (kt, verb) == ("kt", "serve")
    options = command.make_context("serve", arguments).params
    assert options["host"] == "0.0.0.0"
    assert said["EXPOSE"].split() == [str(options["port"]), str(options["grpc_port"])]
    _, *check = json.loads(said["HEALTHCHECK"].partition("CMD")[2])
    here = for_server(check[-1], server)
    assert here != check[-1]
    assert subprocess.run([sys.executable, "-c", here], check=False).returncode == 0
    elsewhere = here.replace("/healthz", "/nowhere")
    assert subprocess.run([sys.executable, "-c", elsewhere], capture_output=True, check=False).returncode == 1
    for name in ("docker/serve.Dockerfile", "docs/serving.md"):
        assert "docker build -f docker/serve.Dockerfile -t kt-serve ." in page(name)
        assert '-v "$PWD/saved_models:/saved_models:ro" kt-serve' in page(name)
