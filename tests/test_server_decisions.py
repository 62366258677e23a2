"""`kt serve` leaves unsure pictures without a label, and gives sets of classes, as `kt predict` does."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("uvicorn", reason="needs the extra 'serve'")
pytest.importorskip("httpx")

from serving import CLASSES, PREDICT, Running, b64, eventually, release, rows, running

from kt.errors import ReleaseError
from kt.export.artifact import open_artifact
from kt.predict import predict_files
from kt.predict.decide import Wanted, decided


def coloured(seed: int) -> bytes:
    """A picture of a few colours."""
    random, buffer = np.random.default_rng(seed), io.BytesIO()
    Image.fromarray(random.integers(0, 256, (4, 4, 3)).astype(np.uint8)).resize((48, 40)).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = [coloured(seed) for seed in range(8)]


def between(values: np.ndarray) -> float:
    """A number in the widest gap of the middle half of some numbers."""
    middle = np.sort(values.ravel())[values.size // 4 : -(values.size // 4)]
    place = int(np.diff(middle).argmax())
    return float(middle[place : place + 2].mean())


def with_sets(folder: Path) -> None:
    """Let the card of version 1 say from which score on a class is in a set."""
    card = json.loads((folder / "1" / "kt.json").read_text(encoding="utf-8"))
    sets = {"0.9": between(all_scores(folder))}
    (folder / "1" / "kt.json").write_text(json.dumps({**card, "sets": sets}), encoding="utf-8")


@pytest.fixture(scope="module")
def folder(exports: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("decided") / "tiny"
    release(exports[0], made, 1)
    with_sets(made)
    return made


@pytest.fixture(scope="module")
def wanted(folder: Path) -> Wanted:
    """A decision by which some pictures are unsure, and others are not."""
    return Wanted((("blue", 0.99),), below=between(all_scores(folder).max(axis=1)), sets=0.9)


@pytest.fixture(scope="module")
def server(folder: Path, wanted: Wanted) -> Iterator[Running]:
    with running(folder, wanted=wanted) as made:
        yield made


def all_scores(folder: Path) -> np.ndarray:
    return np.asarray(open_artifact(folder).answers_to(PICTURES).scores)


def count(server: Running, line: str) -> float:
    return sum(float(text.split()[-1]) for text in server.get("/metrics").text.splitlines() if text.startswith(line))


def test_answers_are_those_of_kt_predict_with_the_same_options(
    server: Running, folder: Path, wanted: Wanted, tmp_path: Path
) -> None:
    for index, data in enumerate(PICTURES):
        (tmp_path / f"{index}.png").write_bytes(data)
    artifact = open_artifact(folder)
    decision = wanted.of(folder, artifact.classes)
    expected = [decided(each, decision) for each in predict_files(artifact, [tmp_path])]
    unsure, classes = count(server, "kt_unsure_pictures_total"), count(server, "kt_set_classes_sum")
    answers = server.post(json=rows(*PICTURES)).json()["predictions"]
    assert {None} < {answer["label"] for answer in answers}
    assert [answer["label"] for answer in answers] == [each.label for each in expected]
    sets = [[name for name, inside in zip(CLASSES, answer["in_set"], strict=True) if inside] for answer in answers]
    assert sets == [[*each.one_of] for each in expected]
    assert len({len(each) for each in sets}) > 1
    assert count(server, "kt_unsure_pictures_total") - unsure == [each.label for each in expected].count(None)
    assert count(server, "kt_set_classes_sum") - classes == sum(map(len, sets))
    columns = server.post(json={"inputs": [b64(data) for data in PICTURES]}).json()["outputs"]
    assert (columns["label"], columns["in_set"]) == tuple([row[key] for row in answers] for key in ("label", "in_set"))


def test_it_is_said_what_is_decided_and_classify_has_all_scores_as_before(server: Running, wanted: Wanted) -> None:
    (about,) = server.get("/about.json").json()["models"]
    assert about["decides"] == {
        "thresholds": [{"label": "blue", "score": 0.99}], "abstain_below": wanted.below, "sets": 0.9,
    }  # fmt: skip
    signatures = server.get("/v1/models/tiny/metadata").json()["metadata"]["signature_def"]["signature_def"]
    output = signatures["pixels"]["outputs"]["in_set"]
    assert (output["dtype"], [side["size"] for side in output["tensor_shape"]["dim"]]) == ("DT_BOOL", ["-1", "3"])
    (row,) = server.post("/v1/models/tiny:classify", json={"examples": [{"image_bytes": b64(PICTURES[0])}]}).json()[
        "results"
    ]
    assert [label for label, _ in row] == list(CLASSES)


def test_by_grpc_an_unsure_picture_has_an_empty_label(server: Running) -> None:
    grpc = pytest.importorskip("grpc", reason="needs the extra 'grpc'")
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    stub = prediction_service_pb2_grpc.PredictionServiceStub(grpc.insecure_channel(server.grpc))
    request = predict_pb2.PredictRequest(model_spec={"name": "tiny"})
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(PICTURES))
    outputs = {name: tf.make_ndarray(each) for name, each in stub.Predict(request, timeout=120).outputs.items()}
    answers = server.post(json=rows(*PICTURES)).json()["predictions"]
    assert [label.decode() for label in outputs["label"]] == [answer["label"] or "" for answer in answers]
    assert outputs["in_set"].tolist() == [answer["in_set"] for answer in answers]
    request.output_filter.append("in_set")
    assert [*stub.Predict(request, timeout=120).outputs] == ["in_set"]


def test_unless_asked_answers_hold_what_they_always_did(folder: Path) -> None:
    with running(folder) as server:
        answers = server.post(json=rows(*PICTURES)).json()["predictions"]
        expected = [CLASSES[place] for place in all_scores(folder).argmax(axis=1)]
        assert [answer["label"] for answer in answers] == expected
        assert {tuple(answer) for answer in answers} == {("label", "scores", "classes")}
        metrics = server.get("/metrics").text
        assert "kt_unsure_pictures_total{" not in metrics and "kt_set_classes_sum{" not in metrics


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            Wanted((("red", 0.5),)),
            "No version of tiny can be served; version 1: --threshold: the model has no class 'red'",
        ),
        (Wanted(sets=0.99), "There are no sets for 0.99: .* has sets for 0.9"),
    ],
)
def test_a_model_that_cannot_do_what_is_asked_is_not_served(folder: Path, wanted: Wanted, message: str) -> None:
    with pytest.raises(ReleaseError, match=message), running(folder, wanted=wanted):
        pass


def test_a_new_version_without_sets_does_not_take_over(exports: list[Path], folder: Path, tmp_path: Path) -> None:
    release(folder / "1", tmp_path / "tiny", 1)
    with running(tmp_path / "tiny", wanted=Wanted(sets=0.9)) as server:
        release(exports[1], tmp_path / "tiny", 2)

        def refused() -> bool:
            newest = server.get("/v1/models/tiny").json()["model_version_status"][0]
            return newest["version"] == "2" and "There are no sets for 0.9" in newest["status"]["error_message"]

        eventually(refused)
        answer = server.post(PREDICT, json=rows(PICTURES[0]))
        assert answer.status_code == 200 and len(answer.json()["predictions"][0]["in_set"]) == len(CLASSES)
