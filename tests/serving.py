"""A tiny released model and a server for it, for the tests of `kt serve`."""

import asyncio
import base64
import contextlib
import dataclasses
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import keras
import numpy as np
from conftest import draw
from PIL import Image
from starlette.routing import BaseRoute

from kt.export.artifact import open_artifact
from kt.export.formats.format import Details
from kt.export.formats.saved_model import SavedModel
from kt.kinds.pictures.images import read_rgb, resize
from kt.serve.server import answer_until, grpc_is_installed, listening, opened
from kt.serve.settings import Settings

CLASSES = ("blue", "green", "größer")
SIZE = (24, 32)
PREDICT = "/v1/models/tiny:predict"


def export(folder: Path, *, seed: int) -> Path:
    """A version of a tiny model, with other weights for each seed."""
    partial = folder.with_name(f".partial-{seed}")
    path = SavedModel().make(tiny(seed), partial, details=Details("model", CLASSES))
    (path / "kt.json").write_text(json.dumps({"description": "Tiny.", "test": {"images": 7}}), encoding="utf-8")
    folder.parent.mkdir(parents=True, exist_ok=True)
    path.rename(folder)
    partial.rmdir()
    return folder


def tiny(seed: int) -> keras.Model:
    """Pixels to three scores."""
    keras.utils.set_random_seed(seed)
    pixels = keras.Input((*SIZE, 3), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, keras.layers.Dense(3, activation="softmax", kernel_initializer="normal")(x))


def release(version: Path, folder: Path, number: int) -> None:
    """Copy beside and rename, as kt releases."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(version, folder / f".partial-{number}")
    (folder / f".partial-{number}").rename(folder / str(number))


def two_versions(exports: Sequence[Path], folder: Path) -> Path:
    """Versions 1 and 2 in a model's folder, where 1 is stable."""
    release(exports[0], folder, 1)
    release(exports[1], folder, 2)
    (folder / "labels.json").write_text('{"stable": 1}', encoding="utf-8")
    return folder


@dataclasses.dataclass(frozen=True)
class Running:
    """A server in a thread of its own."""

    folder: Path
    url: str
    grpc: str
    service: object

    # Without certificates, which nothing here has, and which would be read again for each request.
    def post(self, path: str = PREDICT, **arguments: object) -> httpx.Response:
        return httpx.post(self.url + path, **{"timeout": 120, "verify": False, **arguments})

    def get(self, path: str, **arguments: object) -> httpx.Response:
        return httpx.get(self.url + path, timeout=120, verify=False, **arguments)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(folder: Path, *, pages: Sequence[BaseRoute] = (), **changes: object) -> Iterator[Running]:
    settings = Settings(port=free_port(), grpc_port=free_port() if grpc_is_installed() else 0, poll_seconds=0.1)
    settings = dataclasses.replace(settings, **changes)
    ready, stop, loop = threading.Event(), [], []

    async def main(service: object, listener: socket.socket) -> None:
        stop.append(asyncio.Event())
        loop.append(asyncio.get_running_loop())
        loop[0].call_later(0.05, ready.set)
        await answer_until(stop[0], service, listener=listener, pages=pages)

    with listening(settings) as listener, opened([folder], settings) as service:
        thread = threading.Thread(target=lambda: asyncio.run(main(service, listener)))
        thread.start()
        assert ready.wait(120)
        try:
            yield Running(folder, f"http://127.0.0.1:{settings.port}", f"127.0.0.1:{settings.grpc_port}", service)
        finally:
            loop[0].call_soon_threadsafe(stop[0].set)
            thread.join(120)
            assert not thread.is_alive()


def encoded(index: int = 0, *, format: str = "PNG", exif: int = 1, size: int = 40) -> bytes:  # noqa: A002
    buffer = io.BytesIO()
    orientation = Image.Exif()
    orientation[0x0112] = exif
    draw("red", index, size).save(buffer, format, exif=orientation)
    return buffer.getvalue()


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


def rows(*pictures: bytes) -> dict[str, object]:
    return {"instances": [{"image_bytes": b64(data)} for data in pictures]}


def pixels_of(data: bytes, **limits: int) -> np.ndarray:
    return resize(read_rgb(data, **limits), SIZE)


def scores(version: Path, *pictures: bytes) -> np.ndarray:
    return open_artifact(version).scores(np.stack([pixels_of(data) for data in pictures]))


def eventually(check: Callable[[], bool], *, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.05)


class Process:
    """`kt serve` as a process of its own."""

    def __init__(self, folder: Path, *options: str, before: str = "", **environment: str) -> None:
        self.port, self.grpc_port = free_port(), free_port()
        self.log = folder / f"{self.port}.log"
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", f"{before}\nfrom kt.cli import main\nmain()", "serve", "saved_models",
                 "--port", str(self.port), "--grpc-port", str(self.grpc_port), *options],
                cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **environment},
            )  # fmt: skip
        self.server = Running(folder, f"http://127.0.0.1:{self.port}", f"127.0.0.1:{self.grpc_port}", None)
        eventually(self._answers, seconds=180)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text(encoding="utf-8")
        try:
            return bool(self.server.get("/healthz").status_code == 200)
        except httpx.TransportError:
            return False

    def memory(self) -> int:
        """Resident megabytes."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]


@contextlib.contextmanager
def process(folder: Path, *options: str, **more: str) -> Iterator[Process]:
    made = Process(folder, *options, **more)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.wait()
