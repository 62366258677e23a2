"""`kt serve` fuzzed: whatever comes is refused as a mistake or answered rightly, memory stays, and it goes on."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
httpx = pytest.importorskip("httpx")
grpc = pytest.importorskip("grpc", reason="needs the extra 'grpc'")
pytest.importorskip("hypothesis")

from conftest import draw  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from serving import CLASSES, PREDICT, SIZE, Process, b64, encoded, pixels_of, process, release, rows  # noqa: E402
from tensorflow_serving.apis import classification_pb2, get_model_status_pb2, predict_pb2  # noqa: E402

from kt.errors import DataError  # noqa: E402
from kt.export.artifact import open_artifact  # noqa: E402

REFUSED = {"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "OUT_OF_RANGE", "RESOURCE_EXHAUSTED"}
LIMITS = ("--max-body-mb", "1", "--max-pixels", "1000000", "--max-instances", "8", "--decode-timeout", "60")


class Fuzzed:
    """The server, what its model answers, and what it held when it was warm."""

    def __init__(self, process: Process) -> None:
        self.process, self.server = process, process.server
        self.client = httpx.Client(base_url=self.server.url, timeout=120)
        self.artifact = open_artifact(self.server.folder / "saved_models" / "tiny" / "1")
        self.channel = grpc.insecure_channel(self.server.grpc)
        for index in range(30):
            self.client.post(PREDICT, content=b"[" * 1000 * index)
            self.check_picture(encoded(index))
        self.memory = process.memory()

    def check_rest(self, path: str, body: bytes) -> None:
        answer = self.client.post(path, content=body)
        told = answer.json()
        assert answer.status_code == 200 or 400 <= answer.status_code < 500, answer.text
        if answer.status_code != 200:
            assert list(told) == ["error"]
            assert len(answer.content) < 4000
        elif "predictions" in told:
            for row in told["predictions"]:
                assert sum(row["scores"]) == pytest.approx(1, abs=1e-4)

    def check_picture(self, data: bytes) -> None:
        """Answered as it is answered here, or refused where it can't be read here."""
        answer = self.client.post(PREDICT, json=rows(data))
        try:
            pixels = pixels_of(data, max_pixels=1_000_000)
        except DataError:
            assert answer.status_code == 400, answer.text
            return
        assert answer.status_code == 200, answer.text
        (row,) = answer.json()["predictions"]
        assert row["scores"] == pytest.approx(self.artifact.scores(pixels[None])[0], abs=1e-5)

    def check_grpc(self, method: str, message: bytes) -> None:
        try:
            self.channel.unary_unary(f"/tensorflow.serving.{method}")(message, timeout=120)
        except grpc.RpcError as error:
            assert error.code().name in REFUSED, error.details()
            assert len(error.details()) < 1000

    def check_well(self) -> None:
        """The next good request is served, and memory has stayed."""
        self.check_picture(encoded(3))
        assert self.process.memory() < self.memory + 100
        assert not [line for line in self.process.told() if "traceback" in line]


@pytest.fixture(scope="module")
def fuzzed(exports: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    folder = tmp_path_factory.mktemp("fuzzed")
    release(exports[0], folder / "saved_models" / "tiny", 1)
    with process(folder, *LIMITS) as made:
        yield Fuzzed(made)


def some(examples: int) -> Any:
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))


FEW = some(40)
MANY = some(700)  # of each of three kinds

# ----------------------------------------------------------------------------------------------------- what is sent

PICTURE = encoded(1)
texts = st.text(max_size=8) | st.sampled_from(["pixels", "serving_default", "image_bytes", "b64", "\ud800", "a\x1b[m"])
numbers = st.integers() | st.floats() | st.integers(0, 255)
pictures = st.sampled_from([b64(PICTURE), {"image_bytes": b64(PICTURE)}, {"b64": "AAAA"}, {"b64": "!"}])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts | pictures,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)
keys = st.sampled_from(["instances", "inputs", "signature_name", "examples", "context"]) | texts
documents = st.dictionaries(keys, values | st.lists(pictures, max_size=9), max_size=4) | values
pixels = st.lists(st.integers(-1, 257), min_size=1, max_size=3).map(
    lambda few: {"signature_name": "pixels", "instances": [np.resize(few, (*SIZE, 3)).tolist()]}
)
paths = st.sampled_from([PREDICT, "/v1/models/tiny:classify", "/v1/models/tiny/versions/1:predict"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=20
).map(lambda text: "/v1/models/" + "".join(f"%{byte:02x}" for byte in text.encode()) + ":predict")


@st.composite
def mutated(draw_from: Any, sources: list[bytes]) -> bytes:
    """Bytes that were good, with some of them changed, doubled, taken out, or cut off."""
    data = bytearray(draw_from(st.sampled_from(sources)))
    for _ in range(draw_from(st.integers(0, 4))):
        at = draw_from(st.integers(0, max(0, len(data) - 1)))
        size = draw_from(st.integers(0, 40))
        match draw_from(st.integers(0, 3)):
            case 0:
                data[at : at + 1] = bytes([draw_from(st.integers(0, 255))])
            case 1:
                data[at:at] = data[at : at + size]
            case 2:
                del data[at : at + size]
            case _:
                data[at : at + size] = draw_from(st.binary(max_size=20))
    return bytes(data[: draw_from(st.integers(0, len(data)))] if draw_from(st.booleans()) else data)


def files() -> list[bytes]:
    """One picture in each of many kinds of file."""
    made = []
    picture = draw("green", 5)
    for format, mode, more in (  # noqa: A001
        ("PNG", "RGB", {}), ("PNG", "RGBA", {}), ("PNG", "P", {}), ("PNG", "I;16", {}), ("JPEG", "RGB", {}),
        ("JPEG", "RGB", {"progressive": True}), ("JPEG", "CMYK", {}), ("GIF", "P", {}), ("BMP", "RGB", {}),
        ("WEBP", "RGB", {}), ("WEBP", "RGBA", {"lossless": True}), ("TIFF", "RGB", {}),
        ("TIFF", "L", {"compression": "tiff_lzw"}), ("TIFF", "RGB", {"compression": "tiff_adobe_deflate"}),
    ):  # fmt: skip
        buffer = io.BytesIO()
        made_of = picture.convert("L").convert("I;16") if mode == "I;16" else picture.convert(mode)
        assert isinstance(made_of, Image.Image)
        made_of.save(buffer, format, **more)
        made.append(buffer.getvalue())
    return made


def messages() -> list[bytes]:
    """Requests of each kind, as they go over the wire."""
    predict = predict_pb2.PredictRequest(model_spec={"name": "tiny"})
    predict.inputs["image_bytes"].dtype = 7
    predict.inputs["image_bytes"].tensor_shape.dim.add().size = 1
    predict.inputs["image_bytes"].string_val.append(PICTURE)
    whole = predict_pb2.PredictRequest(model_spec={"name": "tiny", "signature_name": "pixels"})
    whole.inputs["pixels"].dtype = 4
    for side in (1, *SIZE, 3):
        whole.inputs["pixels"].tensor_shape.dim.add().size = side
    whole.inputs["pixels"].tensor_content = bytes(SIZE[0] * SIZE[1] * 3)
    values = predict_pb2.PredictRequest()
    values.CopyFrom(whole)
    values.inputs["pixels"].ClearField("tensor_content")
    values.inputs["pixels"].int_val.extend([7] * (SIZE[0] * SIZE[1] * 3))
    classify = classification_pb2.ClassificationRequest(model_spec={"name": "tiny"})
    given = classify.input.example_list_with_context
    given.context.features.feature["image_bytes"].bytes_list.value.append(PICTURE)
    given.examples.add().features.feature["other"].int64_list.value.extend([1, 2])
    status = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "tiny", "version": {"value": 1}})
    return [message.SerializeToString() for message in (predict, whole, values, classify, status)]


methods = st.sampled_from(
    [f"PredictionService/{name}" for name in ("Predict", "Classify", "Regress", "GetModelMetadata")]
    + ["ModelService/GetModelStatus"]
)


@st.composite
def tensors(draw_from: Any) -> bytes:
    """A request with a tensor of any type, shape and values."""
    request = predict_pb2.PredictRequest(model_spec={"name": "tiny"})
    name = draw_from(st.sampled_from(["image_bytes", "pixels", "x"]))
    request.model_spec.signature_name = draw_from(st.sampled_from(["", "pixels", "serving_default"]))
    tensor = request.inputs[name]
    tensor.dtype = draw_from(st.sampled_from([4, 7]) | st.integers(-(2**31), 2**31 - 1))
    sides = st.sampled_from([1, *SIZE, 3]) | st.integers(-(2**63), 2**63 - 1)
    for side in draw_from(st.sampled_from([[1], [1, *SIZE, 3], [2, *SIZE, 3]]) | st.lists(sides, max_size=5)):
        tensor.tensor_shape.dim.add().size = side
    tensor.tensor_shape.unknown_rank = draw_from(st.booleans())
    tensor.tensor_content = draw_from(st.binary(max_size=9) | st.just(bytes(SIZE[0] * SIZE[1] * 3)))
    tensor.string_val.extend(draw_from(st.lists(st.binary(max_size=9) | st.just(PICTURE), max_size=3)))
    tensor.int_val.extend(draw_from(st.lists(st.integers(-2, 300), max_size=3)))
    tensor.half_val.extend(draw_from(st.lists(st.integers(0, 9), max_size=3)))
    request.output_filter.extend(draw_from(st.lists(st.sampled_from(["label", "scores", "x"]), max_size=3)))
    return bytes(request.SerializeToString())


# ------------------------------------------------------------------------------------------------------- the tests


def sent(value: Any) -> bytes:
    return json.dumps(value).encode()


bodies = documents.map(sent) | pixels.map(sent) | st.binary(max_size=60)
near = mutated([sent(rows(PICTURE)), sent({"examples": [{"image_bytes": b64(PICTURE)}]}), sent({"inputs": [[[[1]]]]})])
asked = methods.flatmap(lambda method: st.tuples(st.just(method), mutated(messages()) | tensors()))


def fuzz(fuzzed: Fuzzed, much: Any) -> None:
    @much
    @given(paths, bodies | near)
    def rest(path: str, body: bytes) -> None:
        fuzzed.check_rest(path, body)

    @much
    @given(asked)
    def remote(call: tuple[str, bytes]) -> None:
        fuzzed.check_grpc(*call)

    @much
    @given(mutated(files()))
    def picture(data: bytes) -> None:
        fuzzed.check_picture(data)

    for each in (rest, remote, picture):
        each()
        fuzzed.check_well()


def test_what_hypothesis_thinks_of_is_refused_or_answered_rightly(fuzzed: Fuzzed) -> None:
    assert len(CLASSES) == 3
    for data in files():
        fuzzed.check_picture(data)
    fuzz(fuzzed, FEW)


@pytest.mark.slow
def test_thousands_of_what_hypothesis_thinks_of_are_too(fuzzed: Fuzzed) -> None:
    fuzz(fuzzed, MANY)
