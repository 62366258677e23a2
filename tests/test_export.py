"""Exports made by the real child process from a tiny trained model, and what the version folder holds."""

import dataclasses
import errno
import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from flatbuffers.number_types import Uint8Flags
from flatbuffers.table import Table
from PIL import Image

from kt.cli.run import _may_export
from kt.data.splits import Split
from kt.errors import EnvironmentProblem, ReleaseError
from kt.export import ArtifactResult, ExportJob, child, export, gate, release
from kt.export.artifact import open_artifact
from kt.export.calibration import calibrated
from kt.export.formats.format import Details, EncodedTest
from kt.export.formats.keras_file import KerasFile
from kt.export.formats.saved_model import SavedModel, SavedModelArtifact
from kt.export.formats.tflite import TFLite
from kt.export.job import at_hand, check_packages, started_ahead, taken
from kt.export.labels import from_text, to_text
from kt.graph.traced import traced
from kt.kinds.pictures.images import read_rgb, resize
from kt.kinds.pictures.kind import Pictures
from kt.litert import converter, interpreter
from kt.runs import exports as from_run

CLASSES = ("brûlé, rare", "mûr", "日本 🍎")
SIZE = (32, 24)

RECIPE = '''
"""A recipe with exporters of its own."""
from kt import Classifier, Phase, Recipe


def breaks(model, directory):
    raise RuntimeError("no such converter\\nat all")


def as_text(model, directory):
    path = directory / "tiny.summary"
    path.write_text("layers: " + str(len(model.layers)))
    return path


def quantised_answers(model, directory):
    """int8 inside, and uint8 scores that have to be read with their scale."""
    import numpy as np
    import tensorflow as tf
    pixels = np.load(directory / "representative.npy")
    signature = [tf.TensorSpec([1, *model.input_shape[1:]], tf.uint8)]
    function = tf.function(lambda x: model(x, training=False), input_signature=signature).get_concrete_function()
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in pixels)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_output_type = tf.uint8
    path = directory / "own.tflite"
    path.write_bytes(converter.convert())
    print("an exporter may print; it is not taken for progress")
    return path


def no_op(backbone):
    backbone.trainable = False


recipe = Recipe(
    data=lambda: None,
    backbone=lambda include_top, weights, input_shape: None,
    head=Classifier(),
    phases=[Phase("train", trainable=no_op, epochs=1, lr=1e-3)],
    export=["saved_model", breaks, as_text, quantised_answers],
)
'''


def tiny_model() -> keras.Model:
    keras.utils.set_random_seed(7)
    wide = keras.initializers.RandomNormal(stddev=0.4)
    pixels = keras.Input((*SIZE, 3), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    x = keras.layers.Conv2D(8, 3, strides=2, kernel_initializer=wide)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU(max_value=6.0)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(0.5)(x)
    return keras.Model(pixels, keras.layers.Dense(len(CLASSES), activation="softmax", kernel_initializer=wide)(x))


def pictures(count: int) -> np.ndarray:
    """Noise around a different colour each, so that the scores differ."""
    random = np.random.default_rng(3)
    colour = random.integers(0, 256, (count, 1, 1, 3))
    return np.clip(colour + random.normal(0, 40, (count, *SIZE, 3)), 0, 255).astype(np.uint8)


def clear_cases(model: keras.Model, *, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures, with their scores, whose class is plain enough to survive int8: 1 in 60 lost would be refused."""
    pixels = pictures(3 * count)
    scores = np.asarray(model.predict(pixels, verbose=0))
    ranked = np.sort(scores, axis=1)
    clearest = np.argsort(ranked[:, -2] - ranked[:, -1])[:count]
    return pixels[clearest], scores[clearest]


def encode(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 70} if kind == "JPEG" else {}))
    return buffer.getvalue()


def photo(mode: str, size: tuple[int, int] = (83, 61)) -> Image.Image:
    """A smooth picture with noise, so that chroma subsampling and resizing have work to do."""
    random = np.random.default_rng(5)
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    values = np.stack([x * 3, y * 4, x + y, 255 - x * 2], axis=-1) + random.normal(0, 12, (size[1], size[0], 4))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8), "RGBA").convert(mode)


@dataclass(frozen=True)
class Made:
    """One finished export."""

    folder: Path
    job: ExportJob
    results: dict[str, ArtifactResult]
    pixels: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    def path(self, kind: str) -> Path:
        return self.results[kind].path


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Made:
    folder = tmp_path_factory.mktemp("export")
    directory = folder / "artifacts"
    directory.mkdir()
    model = tiny_model()
    model.save(folder / "model.keras")
    pixels, scores = clear_cases(model, count=60)
    labels = scores.argmax(axis=1)
    np.save(folder / "pixels.npy", pixels)
    np.save(folder / "scores.npy", scores)
    np.save(folder / "labels.npy", labels)
    np.save(directory / "representative.npy", pictures(20))
    (folder / "tiny.py").write_text(RECIPE, encoding="utf-8")
    (folder / "a.jpg").write_bytes(encode(photo("RGB"), "JPEG"))
    (folder / "b.png").write_bytes(encode(photo("RGBA"), "PNG"))
    job = ExportJob(
        model_file=folder / "model.keras",
        directory=directory,
        name="tiny",
        classes=CLASSES,
        test_pixels=folder / "pixels.npy",
        labels=folder / "labels.npy",
        reference_scores=folder / "scores.npy",
        representative=directory / "representative.npy",
        encoded=(folder / "a.jpg", folder / "b.png"),
        recipe_file=folder / "tiny.py",
        exporters=(1, 2, 3),
    )
    results = export(job)
    return Made(folder, job, {result.name: result for result in results}, pixels, scores, labels)


# ------------------------------------------------------------------------------------------------ the artefacts


def test_the_tiny_model_tells_pictures_apart(made):
    assert len(set(made.labels)) > 1, "else the comparisons below would show nothing"


@pytest.mark.parametrize(
    ("name", "limit"),
    [("saved_model", 1e-5), ("tiny_float32.tflite", 1e-4), ("tiny_float16.tflite", 5e-3), ("tiny_int8.tflite", 0.1)],
)
def test_every_export_answers_as_the_trained_model_does(made, name, limit):
    result = made.results[name]
    assert result.released, result.reason
    difference = np.abs(open_artifact(result.path).scores(made.pixels) - made.scores).max()
    assert difference <= limit
    assert result.largest_score_difference == pytest.approx(difference, abs=1e-6)
    assert result.images == 60 and result.seconds > 0


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("RGB", "JPEG"), ("L", "JPEG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("P", "PNG")],
)
def test_serving_default_decodes_and_resizes_a_picture_as_kt_does(made, mode, kind):
    artifact = open_artifact(made.path("saved_model"))
    data = encode(photo(mode), kind)
    from_pixels = artifact.scores(resize(read_rgb(data), SIZE)[None])
    np.testing.assert_allclose(artifact.answer([data]), from_pixels, atol=1e-6)


def test_serving_default_takes_pictures_of_different_kinds_and_sizes_at_once(made):
    artifact = open_artifact(made.path("saved_model"))
    batch = [encode(photo("RGB", (40, 90)), "JPEG"), encode(photo("RGBA"), "PNG"), encode(photo("RGB"), "BMP")]
    alone = np.concatenate([artifact.answer([data]) for data in batch])
    np.testing.assert_allclose(artifact.answer(batch), alone, atol=1e-6)


def test_both_signatures_answer_label_scores_and_all_classes_for_each_picture(made):
    signatures = (loaded := tf.saved_model.load(str(made.path("saved_model")))).signatures
    assert loaded is not None and set(signatures) == {"serving_default", "pixels", "features"}
    data = [encode(Image.fromarray(image), "PNG") for image in made.pixels[:5]]
    answers = [
        signatures["pixels"](pixels=tf.constant(made.pixels[:5])),
        signatures["serving_default"](image_bytes=tf.constant(data)),
    ]
    for answer in answers:
        assert [label.decode() for label in answer["label"].numpy()] == [CLASSES[i] for i in made.labels[:5]]
        assert [[name.decode() for name in row] for row in answer["classes"].numpy()] == [list(CLASSES)] * 5
        np.testing.assert_allclose(answer["scores"].numpy(), made.scores[:5], atol=1e-5)


def test_a_saved_model_loads_and_answers_where_neither_keras_nor_kt_is(made, tmp_path):
    np.save(tmp_path / "pixels.npy", made.pixels)
    client = f"""
import sys
sys.modules["keras"] = sys.modules["tf_keras"] = sys.modules["kt"] = None
import numpy as np, tensorflow as tf
model = tf.saved_model.load({str(made.path("saved_model"))!r})
scores = model.signatures["pixels"](pixels=tf.constant(np.load("pixels.npy")))["scores"]
np.save("scores.npy", scores.numpy())
"""
    subprocess.run([sys.executable, "-c", client], cwd=tmp_path, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), made.scores, atol=1e-5)


def test_labels_travel_inside_each_artefact(made):
    assert (made.path("saved_model") / "assets" / "labels.txt").read_text(encoding="utf-8").split("\n")[:-1] == list(
        CLASSES
    )
    for variant in ("float32", "float16", "int8"):
        path = made.path(f"tiny_{variant}.tflite")
        with zipfile.ZipFile(path) as archive:
            assert archive.read("labels.txt").decode() == "".join(f"{name}\n" for name in CLASSES)
        assert open_artifact(path).classes == CLASSES


@pytest.mark.parametrize("variant", ["float32", "float16", "int8"])
def test_a_tflite_file_describes_its_picture_and_labels_as_tflite_metadata(made, variant):
    model = flatbuffer_utils.convert_bytearray_to_object(made.path(f"tiny_{variant}.tflite").read_bytes())
    (buffer,) = [entry.buffer for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    data = bytes(model.buffers[buffer].data)
    assert data[4:8] == b"M001"
    root = Table(data, int.from_bytes(data[:4], "little"))
    graph = follow(root, 3, first=True)
    pixels, scores = follow(graph, 2, first=True), follow(graph, 3, first=True)
    assert [text(root, 0), text(pixels, 0), text(scores, 0)] == ["tiny", "pixels", "scores"]
    content, file = follow(pixels, 3), follow(scores, 6, first=True)
    assert (number(content, 0), number(follow(content, 1), 0)) == (2, 1), "a picture, in RGB"
    assert (text(file, 0), number(file, 2)) == ("labels.txt", 2), "the labels of the scores' last axis"


def follow(table: Table, field: int, *, first: bool = False) -> Table:
    """The table in a field of a FlatBuffers table, or the first of the list there."""
    place = table.Offset(4 + 2 * field)
    assert place, f"field {field} is missing"
    return Table(table.Bytes, table.Indirect(table.Vector(place) if first else table.Pos + place))


def text(table: Table, field: int) -> str:
    return table.String(table.Pos + table.Offset(4 + 2 * field)).decode()


def number(table: Table, field: int) -> int:
    return table.Get(Uint8Flags, table.Pos + table.Offset(4 + 2 * field))


@pytest.mark.parametrize("variant", ["float32", "float16", "int8"])
def test_a_tflite_file_takes_raw_pixels_and_gives_float_scores(made, variant):
    read = Interpreter(model_path=str(made.path(f"tiny_{variant}.tflite")))
    (given,), (answer,) = read.get_input_details(), read.get_output_details()
    assert (given["dtype"], list(given["shape"])) == (np.uint8, [1, *SIZE, 3])
    assert (answer["dtype"], list(answer["shape"])) == (np.float32, [1, len(CLASSES)])
    assert read.get_signature_list() == {"serving_default": {"inputs": ["pixels"], "outputs": ["scores"]}}


def test_weights_are_stored_in_the_precision_that_the_name_says(made):
    kernels = {}
    for variant in ("float32", "float16", "int8"):
        read = Interpreter(model_path=str(made.path(f"tiny_{variant}.tflite")))
        details = [item for item in read.get_tensor_details() if list(item["shape"]) == [8, 3, 3, 3]]
        kernels[variant] = {item["dtype"] for item in details}
        if variant == "int8":
            assert len(details[0]["quantization_parameters"]["scales"]) == 8, "one scale for each output channel"
    assert np.float16 in kernels["float16"]
    assert (kernels["float32"], kernels["int8"]) == ({np.float32}, {np.int8})


def test_float16_answers_as_the_file_that_tensorflow_s_own_converter_makes(made, tmp_path):
    model = keras.saving.load_model(made.job.model_file, compile=False)
    function, _ = traced(model, batch_size=1, takes="pixels", gives=["scores"])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], function)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    theirs = tmp_path / "theirs.tflite"
    theirs.write_bytes(converter.convert())
    ours = made.path("tiny_float16.tflite")
    pixels = np.load(made.job.test_pixels)
    np.testing.assert_array_equal(open_artifact(ours).scores(pixels), open_artifact(theirs).scores(pixels))
    assert theirs.stat().st_size - 2000 < ours.stat().st_size < theirs.stat().st_size + 4000, (
        "metadata and labels apart"
    )


def test_the_outputs_of_a_converted_model_keep_their_names_and_order():
    given = keras.Input((4,))
    model = keras.Model(given, [keras.layers.Dense(width)(given) for width in range(1, 13)])
    names = [f"output_{index}" for index in range(12)]  # in the order of text, 10 comes before 2
    content = converter.converted(model, batch_size=3, takes="rows", gives=names)
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    answers = interpreter.opened(content, threads=1).get_signature_runner()(rows=rows)
    for name, expected in zip(names, model(rows), strict=True):
        np.testing.assert_allclose(answers[name], expected, atol=1e-5)


def test_the_first_layers_of_int8_stay_in_float_where_asked(made, tmp_path):
    model = keras.saving.load_model(made.job.model_file, compile=False)
    details = Details("tiny", CLASSES, representative=made.job.representative)
    path = TFLite("int8", float_share=0.6).make(model, tmp_path, details=details)
    kernels = {
        name: {details["dtype"] for details in tensors_of(file) if details["shape"].tolist() == shape}
        for name, file in (("all", made.path("tiny_int8.tflite")), ("part", path))
        for shape in ([8, 3, 3, 3],)
    }
    assert kernels == {"all": {np.int8}, "part": {np.float32}}
    assert any(details["dtype"] == np.int8 for details in tensors_of(path)), "the last layers are still in int8"
    np.testing.assert_allclose(open_artifact(path).scores(made.pixels), made.scores, atol=0.1)
    assert open_artifact(path).classes == CLASSES


def test_a_head_in_float_saves_int8_where_its_features_differ_by_orders_of_magnitude(tmp_path):
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (60, *SIZE, 3), np.uint8)
    pixels = keras.Input((*SIZE, 3), dtype="uint8")
    large = keras.layers.Conv2D(16, 3, name="large")(keras.layers.Rescaling(1 / 255)(pixels))
    small = keras.layers.Conv2D(16, 3, name="small")(keras.layers.Rescaling(1 / 25500)(pixels))
    pooled = [keras.layers.GlobalAveragePooling2D()(one) for one in (large, small)]
    joined = keras.layers.Concatenate(name="joined")(pooled)
    model = keras.Model(pixels, keras.layers.Dense(2, activation="softmax", name="scores")(joined))
    features = keras.Model(pixels, joined).predict(pictures, verbose=0)[:, 16:]
    weights = random.normal(size=16) / features.std(axis=0)  # what is large tells nothing, what is small tells all
    logit = (features - features.mean(axis=0)) @ weights
    kernel = np.concatenate([np.zeros(16), weights])[:, None] * [[-1.0, 1.0]]
    bias = features.mean(axis=0) @ weights * np.array([1.0, -1.0])
    model.get_layer("scores").set_weights([kernel, bias])
    np.save(tmp_path / "some.npy", pictures)

    right = {}
    for float_head in (False, True):
        details = Details("tiny", ("a", "b"), representative=tmp_path / "some.npy")
        path = TFLite("int8", float_head=float_head).make(model, tmp_path / str(float_head), details=details)
        right[float_head] = np.mean(open_artifact(path).scores(pictures).argmax(axis=1) == (logit > 0))
        kernels = {item["dtype"] for item in tensors_of(path) if item["shape"].tolist() == [2, 32]}
        assert kernels == ({np.float32} if float_head else {np.int8})
    assert right[False] < 0.8
    assert right[True] > 0.8


def test_int8_may_quantise_weights_only_and_then_needs_no_pictures(tmp_path):
    pixels = keras.Input((*SIZE, 3), dtype="uint8")  # weights of fewer than 1,024 numbers stay as they are
    x = keras.layers.Conv2D(64, 5, strides=4)(keras.layers.Rescaling(1 / 255)(pixels))
    scores = keras.layers.Dense(len(CLASSES), activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(pixels, scores)
    path = TFLite("int8", dynamic=True).make(model, tmp_path, details=Details("tiny", CLASSES))
    shapes = {tuple(item["shape"]): item["dtype"] for item in tensors_of(path)}
    assert shapes[64, 5, 5, 3] == np.int8
    assert shapes[1, 7, 5, 64] == np.float32, "activations are not quantised"
    np.testing.assert_allclose(open_artifact(path).scores(pictures(4)), model.predict(pictures(4)), atol=0.02)


def test_int8_is_calibrated_with_as_many_pictures_as_asked(made, tmp_path):
    """Black pictures behind the first seven would widen no range; white ones behind them must not either."""
    model = keras.saving.load_model(made.job.model_file, compile=False)
    seven = pictures(20)[:7] // 4
    np.save(tmp_path / "seven.npy", seven)
    np.save(tmp_path / "more.npy", np.concatenate([seven, np.full((5, *SIZE, 3), 255, np.uint8)]))

    def content(file, count):
        folder = tmp_path / f"{file}{count}"
        details = Details("x", CLASSES, representative=tmp_path / f"{file}.npy", calibration=count)
        return TFLite("int8").make(model, folder, details=details).read_bytes()

    assert content("more", 7) == content("seven", 100)
    assert content("more", 12) != content("seven", 100)


def test_ranges_for_int8_are_those_that_tensorflow_s_own_calibrator_finds(made):
    model = keras.saving.load_model(made.job.model_file, compile=False)
    function, module = traced(model, batch_size=1, takes="pixels", gives=["scores"])
    concrete = function.get_concrete_function()
    plain = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert()
    theirs = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    theirs.optimizations = [tf.lite.Optimize.DEFAULT]
    theirs.representative_dataset = lambda: ([image[None]] for image in pictures(20))
    theirs._experimental_calibrate_only = True
    ours = calibrated(plain, (image[None] for image in pictures(20)))

    def ranges(content):
        tensors = flatbuffer_utils.convert_bytearray_to_object(content).subgraphs[0].tensors
        kept = [one for one in tensors if one.quantization is not None and one.quantization.max is not None]
        return {one.name: (float(one.quantization.min[0]), float(one.quantization.max[0])) for one in kept}

    expected, found = ranges(theirs.convert()), ranges(ours)
    assert expected.keys() <= found.keys() and len(expected) > 3
    for name, limits in expected.items():
        np.testing.assert_allclose(found[name], limits, rtol=1e-4, atol=1e-4, err_msg=name)


def test_the_first_calibration_pictures_hold_every_class_alike_however_uneven_the_classes():
    labels = np.repeat([0, 1, 2], [1500, 40, 10])
    names = tuple(map(str, range(len(labels))))
    pixels = np.zeros((len(labels), 2, 2, 3), np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 0, 1] = labels, np.arange(len(labels)) % 250
    chosen = from_run.representative(Split(pixels, labels, names, names)).examples
    assert len(chosen) == 500
    of_class = chosen[:, 0, 0, 0]
    assert np.bincount(of_class[:30]).tolist() == [10, 10, 10]
    assert np.bincount(of_class[:110]).tolist() == [60, 40, 10], "where a class has no more, the others go on"
    assert len(np.unique(chosen[of_class == 1, 0, 0, 1])) == 40, "none twice"


def tensors_of(file):
    return Interpreter(model_path=str(file)).get_tensor_details()


def test_int8_needs_representative_pictures(made, tmp_path):
    model = keras.saving.load_model(made.job.model_file, compile=False)
    with pytest.raises(ReleaseError, match="int8 needs representative training pictures"):
        TFLite("int8").make(model, tmp_path, details=Details("tiny", CLASSES))


def test_an_artefact_answers_the_same_from_several_threads(made):
    for name in ("saved_model", "tiny_float32.tflite"):
        artifact = open_artifact(made.path(name))
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(artifact.scores, np.split(made.pixels, 60)))
        np.testing.assert_allclose(np.concatenate(answers), made.scores, atol=1e-4)


def test_no_pictures_give_no_scores(made):
    for name in ("saved_model", "tiny_int8.tflite"):
        assert open_artifact(made.path(name)).scores(made.pixels[:0]).shape == (0, 3)


def test_pixels_of_another_size_are_refused_in_words(made):
    for name in ("saved_model", "tiny_float32.tflite"):
        with pytest.raises(ReleaseError, match=r"takes pixels uint8 \[N, 32, 24, 3\], not uint8 \[1, 24, 32, 3\]"):
            open_artifact(made.path(name)).scores(np.zeros((1, 24, 32, 3), np.uint8))


# ------------------------------------------------------------------------------------- exporters of a recipe's own


def test_an_exporter_that_fails_is_reported_and_loses_no_other_artefact(made):
    broken = made.results["breaks"]
    assert (broken.released, broken.format) == (False, "custom")
    assert broken.reason == "RuntimeError: no such converter at all"
    assert sum(result.released for result in made.results.values()) == 5


def test_a_format_that_kt_cannot_run_is_kept_but_not_released(made):
    result = made.results["tiny.summary"]
    assert result.path.read_text().startswith("layers: ")
    assert (result.released, result.reason) == (False, "kt cannot run a .summary to check it")


def test_a_tflite_file_with_quantised_scores_is_read_with_its_scale(made):
    result = made.results["own.tflite"]
    assert result.released and result.mobile, result.reason
    artifact = open_artifact(result.path)
    assert artifact.classes == ()
    np.testing.assert_allclose(artifact.scores(made.pixels), made.scores, atol=0.1)


def test_results_survive_json(made):
    for result in made.results.values():
        assert ArtifactResult.from_json(json.loads(json.dumps(result.as_json(), allow_nan=False))) == result


# -------------------------------------------------------------------------------------------------- gate and release


def judged(made: Made, name: str, *, exact: bool, reference: np.ndarray, labels: np.ndarray) -> ArtifactResult:
    verdict = gate.judge_artifact(
        open_artifact(made.path(name)), reference, labels=labels, pixels=made.pixels, classes=CLASSES, exact=exact,
        nouns=Pictures,
    )  # fmt: skip
    return ArtifactResult(name, "custom", made.path(name), verdict.released, verdict.reason)


def test_an_artefact_of_another_model_is_refused_and_stays_out_of_the_version(made, tmp_path):
    reference, labels = np.roll(made.scores, 1, axis=1), (made.labels + 1) % 3
    refused = [
        judged(made, "saved_model", exact=True, reference=reference, labels=labels),
        judged(made, "tiny_int8.tflite", exact=False, reference=reference, labels=labels),
    ]
    assert "a score differs by" in refused[0].reason
    assert refused[1].reason == "it loses 100.00 points of accuracy (tolerance 1)"
    assert release(refused, name="tiny", saved_models=tmp_path, card={}) is None
    assert list(tmp_path.iterdir()) == []
    version = release([*refused, made.results["tiny_float32.tflite"]], name="tiny", saved_models=tmp_path, card={})
    assert sorted(path.name for path in version.iterdir()) == ["kt.json", "tiny_float32.tflite"]


@dataclass(frozen=True, eq=False)
class InTurn(TFLite):
    """A file for phones whose ways to make it give these files, one after the other; `asked` says which were made."""

    files: tuple[Path, ...] = ()
    made: list[Path] = dataclasses.field(default_factory=list)

    def make(self, model, directory, *, details):
        self.made.append(self.files[0])
        return self.files[0]

    def attempts(self):
        for place, file in enumerate(self.files[1:], start=1):
            yield file.name, dataclasses.replace(self, files=self.files[place:])


def in_turn(made: Made, files: list[Path]) -> tuple[ArtifactResult, list[Path]]:
    """What the child makes of a format whose ways to make it give these files, one after the other."""
    ways = InTurn("int8", files=tuple(files))
    evidence = child._Evidence(made.pixels, made.labels, lambda: made.scores)
    said = []
    found = child._make_and_check(ways, made.job, model=None, evidence=evidence, tell=said.append)
    assert len(said) == (len(ways.made) if len(ways.made) > 1 else 0), "each try is told"
    assert len(found.tries) == len(said)
    return found, ways.made


def test_what_loses_too_much_is_made_more_gently_until_the_gate_lets_it_pass(made, tmp_path):
    model = keras.saving.load_model(made.job.model_file, compile=False)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([-kernel, -bias])
    bad = TFLite("float16").make(model, tmp_path, details=Details("bad", CLASSES))
    good = made.path("tiny_float16.tflite")
    result, asked = in_turn(made, [bad, good, bad])
    assert asked == [bad, good]
    assert result.released and result.path == good
    assert result.note.startswith(f"{good.name}, since otherwise it loses ")
    refused, asked = in_turn(made, [bad, bad])
    assert asked == [bad, bad] and not refused.released and refused.note == ""
    assert [one["changed"] for one in refused.tries] == [60, 60]
    passed, asked = in_turn(made, [good, bad])
    assert asked == [good] and passed.released and passed.note == ""


def test_what_another_format_tries_at_the_same_time_stays_there(made):
    """Formats are made beside each other; one that ends must not remove the files of one that still tries."""
    others = made.job.directory / f"{child._TRY}0_tflite_float16" / "half_written.tflite"
    others.parent.mkdir()
    others.write_bytes(b"half")
    try:
        in_turn(made, [made.path("tiny_float16.tflite")])
        assert others.read_bytes() == b"half"
    finally:
        shutil.rmtree(others.parent)


# ------------------------------------------------------------------------------------- formats for other runtimes


def others(made: Made, folder: Path, *formats: str) -> dict[str, ArtifactResult]:
    """The same model in other formats."""
    (folder / "artifacts").mkdir()
    job = dataclasses.replace(made.job, directory=folder / "artifacts", formats=formats, exporters=())
    return {result.format: result for result in export(job)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "library", "name"),
    [("keras", "keras", "tiny.keras"), ("onnx", "tf2onnx", "tiny.onnx"), ("openvino", "openvino", "tiny_openvino")],
)
def test_other_runtimes_answer_as_the_trained_model_does_and_know_its_labels(made, tmp_path, kind, library, name):
    if importlib.util.find_spec(library) is None:  # imported by kt alone, which keeps OpenVINO's telemetry out
        pytest.skip(f"{library} is not installed")
    result = others(made, tmp_path, kind)[kind]
    assert result.released and result.name == name, result.reason
    assert result.largest_score_difference < 1e-4
    version = release([result], name="tiny", saved_models=tmp_path / "released", card={})
    assert not (version / "artifacts").exists()
    artifact = open_artifact(tmp_path / "released" / "tiny")
    assert artifact.path == version / name
    assert artifact.classes == CLASSES and artifact.kind.image_size == SIZE
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda part: artifact.scores(made.pixels[part : part + 15]), range(0, 60, 15)))
    assert np.abs(np.concatenate(answers) - made.scores).max() < 1e-4
    assert artifact.scores(made.pixels[:0]).shape == (0, len(CLASSES))
    with pytest.raises(ReleaseError, match="takes pixels uint8"):
        artifact.scores(made.pixels[:, :8])
    assert sys.modules.get("openvino_telemetry") is None


def test_a_keras_file_is_opened_with_its_labels_and_a_damaged_one_is_said_to_be_damaged(made, tmp_path):
    model = keras.saving.load_model(made.job.model_file, compile=False)
    path = KerasFile().make(model, tmp_path, details=Details("tiny", CLASSES))
    artifact = open_artifact(path)
    assert artifact.classes == CLASSES
    assert np.abs(artifact.scores(made.pixels) - made.scores).max() < 1e-5
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ReleaseError, match=r"tiny\.keras cannot be opened; it may be damaged"):
        open_artifact(path)


@pytest.mark.parametrize(
    ("name", "packages", "said"),
    [
        ("onnx", {"tf2onnx", "onnxruntime"}, "Export to onnx needs tf2onnx and onnxruntime: pip install "),
        ("openvino", {"openvino"}, r"Export to openvino needs openvino: pip install .*\[openvino\]'"),
    ],
)
def test_a_format_whose_package_is_missing_is_told_before_any_work(monkeypatch, name, packages, said):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda asked: None if asked in packages else find(asked))
    with pytest.raises(EnvironmentProblem, match=said):
        check_packages(["saved_model", name, print])
    check_packages(["saved_model", "tflite", "keras", print])


def test_a_file_whose_runtime_is_missing_says_how_to_install_it(monkeypatch, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(EnvironmentProblem, match=r"onnxruntime can't be loaded .*pip install .*\[onnx\]'"):
        open_artifact(tmp_path / "model.onnx")


def test_a_decoder_that_drifts_from_pillow_is_refused(made):
    class Drifting(SavedModelArtifact):
        def answer(self, encoded):
            return super().answer(encoded) + np.float32(0.001)

    encoded = EncodedTest([encode(photo("RGB"), "JPEG")])
    for kind, refused in ((SavedModelArtifact, False), (Drifting, True)):
        artifact = kind(made.path("saved_model"))
        reason = SavedModel().also_checks(artifact, made.scores, pixels=made.pixels, encoded=encoded)
        assert reason.startswith("serving_default answers otherwise than pixels") is refused


def released(made: Made) -> list[ArtifactResult]:
    return list(made.results.values())


def test_a_version_holds_the_saved_model_at_its_root_and_the_phone_files_beside(made, tmp_path):
    version = release(released(made), name="tiny", saved_models=tmp_path, card={"classes": list(CLASSES)})
    assert version == tmp_path / "tiny" / "1"
    assert {path.name for path in version.iterdir()} == {
        *("saved_model.pb", "fingerprint.pb", "variables", "assets", "assets.extra", "kt.json", "own.tflite"),
        *(f"tiny_{variant}.tflite" for variant in ("float32", "float16", "int8")),
    }
    card = json.loads((version / "kt.json").read_text(encoding="utf-8"))
    assert card["classes"] == list(CLASSES)
    paths = {item["name"]: item["path"] for item in card["artifacts"]}
    assert paths["saved_model"] == "." and paths["tiny_int8.tflite"] == "tiny_int8.tflite"
    assert paths["breaks"] is None and paths["tiny.summary"] is None
    artifact = open_artifact(tmp_path / "tiny")
    assert isinstance(artifact, SavedModelArtifact) and artifact.kind.image_size == SIZE
    np.testing.assert_allclose(artifact.scores(made.pixels), made.scores, atol=1e-5)


def test_a_recipe_folder_opens_its_highest_version_by_number(made, tmp_path):
    for version in ("9", "10"):
        (tmp_path / version).mkdir()
        shutil.copy(made.path("tiny_int8.tflite"), tmp_path / version)
    shutil.copy(made.path("tiny_float16.tflite"), tmp_path / "10")
    assert open_artifact(tmp_path).path == tmp_path / "10" / "tiny_float16.tflite"
    assert release(released(made), name=tmp_path.name, saved_models=tmp_path.parent, card={}).name == "11"


def test_two_runs_at_once_get_different_versions(made, tmp_path):
    def one(index: int) -> Path:
        return release(released(made), name="tiny", saved_models=tmp_path, card={"run": index})

    with ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(one, range(8)))
    assert {version.name for version in versions} == {str(number) for number in range(1, 9)}
    for index, version in enumerate(versions):
        assert json.loads((version / "kt.json").read_text())["run"] == index
    assert len(list((tmp_path / "tiny").iterdir())) == 8


def killed_while_releasing(made, folder: Path) -> Path:
    """The model's folder after a process that was killed when all but the version's name was done."""
    (folder / "results.json").write_text(json.dumps([made.results["tiny_int8.tflite"].as_json()]))
    killed = """
import json, os
from pathlib import Path
from kt.export import ArtifactResult, release
results = [ArtifactResult.from_json(item) for item in json.loads(Path("results.json").read_text())]
release(results, name="tiny", saved_models=Path("saved"), card={}, before=lambda version: os._exit(9))
"""
    assert subprocess.run([sys.executable, "-c", killed], cwd=folder, check=False).returncode == 9
    return folder / "saved" / "tiny"


def test_a_kill_before_the_rename_leaves_no_version_and_the_next_release_clears_it(made, tmp_path):
    folder = killed_while_releasing(made, tmp_path)
    (left,) = (path for path in folder.iterdir() if path.is_dir())
    assert left.name.startswith(".partial-") and (left / "kt.json").is_file()
    with pytest.raises(ReleaseError, match="holds no exported model and no version of one"):
        open_artifact(folder)
    assert release(released(made), name="tiny", saved_models=tmp_path / "saved", card={}).name == "1"
    assert [path.name for path in folder.iterdir()] == ["1"]


def test_what_a_release_at_work_has_written_so_far_is_left_alone(made, tmp_path):
    asked = []

    def another_run_comes_first(version: Path) -> dict[str, str]:
        asked.append(version.name)
        if len(asked) == 1:
            assert release(released(made), name="tiny", saved_models=tmp_path, card={"run": 2}).name == "1"
        return {"MODEL_CARD.md": f"Version {version.name}.\n"}

    version = release(
        released(made), name="tiny", saved_models=tmp_path, card={"run": 1}, before=another_run_comes_first
    )
    assert asked == ["1", "2"] and version.name == "2"
    assert json.loads((version / "kt.json").read_text())["run"] == 1
    assert (version / "MODEL_CARD.md").read_text() == "Version 2.\n"
    assert sorted(path.name for path in (tmp_path / "tiny").iterdir()) == ["1", "2"]


def test_what_another_machine_has_written_is_left_alone_for_a_day(made, tmp_path):
    folder = killed_while_releasing(made, tmp_path)
    (mine,) = (path for path in folder.iterdir() if path.is_dir())
    kernel = mine.name.split("-")[1]
    other = mine.rename(folder / mine.name.replace(kernel, "0" * len(kernel)))
    mine.with_name(f"{mine.name}.lock").rename(other.with_name(f"{other.name}.lock"))
    release(released(made), name="tiny", saved_models=tmp_path / "saved", card={})
    assert other.is_dir(), "its lock may not be seen from here"
    for path in (*other.rglob("*"), other, other.with_name(f"{other.name}.lock")):
        os.utime(path, (time.time() - 2 * 86400,) * 2)
    release(released(made), name="tiny", saved_models=tmp_path / "saved", card={})
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]


def test_what_is_raised_before_the_rename_takes_the_release_back(made, tmp_path):
    def fails(version: Path) -> None:
        raise OSError(errno.EIO, "the report's disk is gone")

    with pytest.raises(OSError, match="the report's disk is gone"):
        release(released(made), name="tiny", saved_models=tmp_path, card={}, before=fails)
    assert list((tmp_path / "tiny").iterdir()) == []


def test_a_full_disk_is_said_in_one_line_and_leaves_nothing_half(made, tmp_path, monkeypatch):
    def full(source, target):
        Path(target).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    for results in (released(made), [made.results["saved_model"]]):
        with pytest.raises(
            EnvironmentProblem, match=r"Cannot release into .*tiny: the disk is full; free some space\. "
        ):
            release(results, name="tiny", saved_models=tmp_path, card={})
        assert list((tmp_path / "tiny").iterdir()) == []


# ------------------------------------------------------------------------------------------------------- bad input


def test_a_damaged_tflite_file_is_said_to_be_damaged(made, tmp_path):
    whole = made.path("tiny_float32.tflite").read_bytes()
    cut = [whole[: int(len(whole) * share)] for share in (0.1, 0.5, 0.9)]  # which would crash the interpreter
    for index, content in enumerate((b"", b"not a model at all", *cut)):
        path = tmp_path / f"{index}.tflite"
        path.write_bytes(content)
        with pytest.raises(ReleaseError, match=r"\d\.tflite cannot be opened; it may be damaged"):
            open_artifact(path)


def test_a_damaged_saved_model_is_said_to_be_damaged(made, tmp_path):
    folder = shutil.copytree(made.path("saved_model"), tmp_path / "1")
    (folder / "variables" / "variables.index").unlink()
    with pytest.raises(ReleaseError, match="it may be damaged"):
        open_artifact(folder)
    (folder / "saved_model.pb").write_bytes(b"nonsense")
    with pytest.raises(ReleaseError, match="it may be damaged"):
        open_artifact(folder)


def test_a_folder_without_a_model_is_described(tmp_path):
    with pytest.raises(ReleaseError, match=r"no exported model and no version of one.*there is: nothing"):
        open_artifact(tmp_path)
    (tmp_path / "notes.txt").touch()
    for path in (tmp_path, tmp_path / "absent.tflite", tmp_path / "notes.txt"):
        with pytest.raises(ReleaseError, match=r"there is: notes\.txt"):
            open_artifact(path)


def test_a_saved_model_without_the_pixels_signature_names_those_it_has(tmp_path):
    module = tf.Module()
    doubled = tf.function(lambda x: {"y": 2 * x}, input_signature=[tf.TensorSpec([None], tf.float32)])
    tf.saved_model.save(module, str(tmp_path / "other"), signatures={"double": doubled})
    with pytest.raises(ReleaseError, match="has no signature 'pixels'; it has: double"):
        open_artifact(tmp_path / "other")


def test_labels_keep_any_character_but_a_line_break():
    names = ("a b", "tab\there", "next\x85line", "para\u2029graph", "")
    assert from_text(to_text(names)) == names
    assert from_text(b"good\r\nbad") == ("good", "bad")
    with pytest.raises(ReleaseError, match=r"'good\\nbad' has a line break"):
        to_text(["good\nbad"])


def test_an_unknown_format_is_refused_before_any_work(made):
    with pytest.raises(ReleaseError, match=r"Cannot export to 'tflit'\. Did you mean 'tflite'\?"):
        ExportJob(made.job.model_file, made.folder, "x", CLASSES, made.folder, made.folder, formats=("tflit",))


def test_a_missing_model_is_said_before_the_child_starts(made, tmp_path):
    job = ExportJob(tmp_path / "no.keras", tmp_path / "out", "x", CLASSES, tmp_path, tmp_path)
    with pytest.raises(ReleaseError, match=r"There is no trained model at .*no\.keras; train first"):
        export(job)


def test_importing_the_package_loads_neither_tensorflow_nor_keras():
    code = "import sys, kt.export; print(*({'tensorflow', 'keras', 'torch', 'jax'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""


@pytest.mark.slow
def test_a_child_that_dies_is_reported_with_the_last_line_of_its_log(made, tmp_path):
    (tmp_path / "model.keras").write_bytes(b"not a zip")
    job = ExportJob(tmp_path / "model.keras", tmp_path / "out", "x", CLASSES, made.job.test_pixels, made.job.labels)
    with pytest.raises(
        ReleaseError, match=r"exit code 1\): model\.keras cannot be loaded under TensorFlow: .*export\.log"
    ):
        export(job)


def children_of(process: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def runs(process: int) -> bool:
    """Whether it is there, and no zombie that nobody has asked for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells a process's children")


@on_linux
def test_a_child_that_waits_for_its_job_ends_when_its_parent_is_killed(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from kt.export.job import started_ahead\n"
        "with started_ahead(Path(sys.argv[1])): print(flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "export.log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        parent.stdout.readline()
        (child_process,) = children_of(parent.pid)
        parent.kill()
    while runs(child_process):  # it is importing TensorFlow; the test's time limit ends the wait
        time.sleep(0.1)


@on_linux
def test_an_interrupted_run_leaves_no_child_and_the_error_goes_on(tmp_path):
    before = set(children_of(os.getpid()))
    with pytest.raises(KeyboardInterrupt), started_ahead(tmp_path / "export.log"):
        (child_process,) = set(children_of(os.getpid())) - before
        raise KeyboardInterrupt
    assert child_process not in children_of(os.getpid())


@pytest.mark.slow
@on_linux
def test_a_child_that_died_while_it_waited_is_replaced(made, tmp_path):
    job = dataclasses.replace(made.job, directory=tmp_path / "out", formats=("saved_model",), exporters=())
    before = set(children_of(os.getpid()))
    with started_ahead(tmp_path / "out" / "export.log") as worker:
        (child_process,) = set(children_of(os.getpid())) - before
        os.kill(child_process, signal.SIGKILL)
        while worker.waits():
            time.sleep(0.01)
        (result,) = export(job, worker=worker)
    assert result.released


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_is_full_while_exporting_is_no_verdict_on_the_artefacts(made, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "tiny_float32.tflite").symlink_to("/dev/full")
    job = dataclasses.replace(made.job, directory=out, formats=("tflite",), exporters=(), recipe_file=None)
    with pytest.raises(EnvironmentProblem, match=r"The disk is full \(while exporting into .*out\); free some space"):
        export(job)


@pytest.mark.slow
def test_without_reference_scores_the_child_asks_the_trained_model_itself(made, tmp_path):
    job = ExportJob(
        made.job.model_file,
        tmp_path / "out",
        name="again",
        classes=CLASSES,
        test_pixels=made.job.test_pixels,
        labels=made.job.labels,
        formats=("saved_model",),
    )
    (result,) = export(job)
    assert result.released and result.accuracy == 1.0 and result.largest_score_difference < 1e-5


@on_linux
def test_the_child_at_hand_is_taken_where_it_is_needed_and_ended_where_it_is_not(tmp_path):
    before = set(children_of(os.getpid()))
    with at_hand():
        with taken(tmp_path / "one" / "export.log", needed=True) as first:
            assert first.waits()
        with taken(tmp_path / "none" / "export.log", needed=False) as none:
            assert none is None
        while first.waits():
            time.sleep(0.01)
        with taken(tmp_path / "two" / "export.log", needed=True) as second:
            assert second is not first and second.waits()
    assert set(children_of(os.getpid())) == before
    assert not (tmp_path / "none").exists() and (tmp_path / "two" / "export.log").is_file()


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        ("Recipe(export=['tflite'])", (), True),
        ("Recipe()", (), True),
        ("Recipe(export=[])", (), False),
        ("Recipe(export = ( ))", (), False),
        ("Recipe(export=[])", ("export=tflite",), True),
        ("Recipe()", ("export=tflite", "export=[]"), False),
        ("Recipe()", ("seed=1",), True),
    ],
)
def test_no_child_is_started_for_a_recipe_that_says_that_it_exports_nothing(text, settings, expected, tmp_path):
    (tmp_path / "recipe.py").write_text(text, encoding="utf-8")
    assert _may_export(tmp_path / "recipe.py", settings) is expected
    assert not _may_export(tmp_path / "absent.py", ())
    assert _may_export(tmp_path, ())  # a folder of pictures, for which kt writes the recipe


@pytest.mark.slow
def test_a_child_at_hand_does_the_job_and_keeps_its_log_beside_it(made, tmp_path):
    job = dataclasses.replace(made.job, directory=tmp_path / "out", formats=("saved_model",), exporters=())
    with at_hand(), taken(tmp_path / "out" / "export.log", needed=True) as worker:
        (result,) = export(job, worker=worker)
    assert result.released
    assert (tmp_path / "out" / "export.log").is_file()
    broken = dataclasses.replace(job, model_file=tmp_path / "broken.keras")
    (tmp_path / "broken.keras").write_bytes(b"no model")
    with (
        pytest.raises(ReleaseError, match=r"cannot be loaded under TensorFlow.*export\.log"),
        at_hand(),
        taken(tmp_path / "out" / "export.log", needed=True) as worker,
    ):
        export(broken, worker=worker)
    assert "Traceback" in (tmp_path / "out" / "export.log").read_text(encoding="utf-8")


@pytest.mark.slow
@on_linux
def test_the_scores_may_come_while_the_artefacts_are_made_and_if_they_fail_no_child_is_left(made, tmp_path):
    late = tmp_path / "late.npy"
    job = dataclasses.replace(
        made.job, directory=tmp_path / "out", formats=("saved_model",), exporters=(), reference_scores=late
    )
    (result,) = export(job, scores=lambda: made.scores)
    assert result.released and result.largest_score_difference < 1e-5
    (other,) = export(job, scores=lambda: made.scores[:, ::-1])
    assert not other.released
    before = set(children_of(os.getpid()))

    def fails():
        raise MemoryError

    with pytest.raises(MemoryError):
        export(job, scores=fails)
    assert set(children_of(os.getpid())) == before


@pytest.mark.slow
def test_mobilenet_v2_in_int8_is_at_most_four_megabytes(tmp_path):
    size = (224, 224, 3)
    pixels = keras.Input(size, dtype="uint8", name="pixels")
    backbone = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=size, pooling="avg")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    scores = keras.layers.Dense(2, activation="softmax")(backbone(x))
    keras.Model(pixels, scores).save(tmp_path / "model.keras")
    images = np.random.default_rng(0).integers(0, 256, (8, *size)).astype(np.uint8)
    np.save(tmp_path / "pixels.npy", images)
    np.save(tmp_path / "labels.npy", np.zeros(8, np.int64))
    job = ExportJob(
        tmp_path / "model.keras",
        tmp_path / "out",
        name="mobilenet",
        classes=("bad", "good"),
        test_pixels=tmp_path / "pixels.npy",
        labels=tmp_path / "labels.npy",
        representative=tmp_path / "pixels.npy",
    )
    results = {result.format: result for result in export(job)}
    assert results["tflite_int8"].bytes <= 4_000_000
    assert results["tflite_float16"].bytes <= 5_000_000
    assert results["saved_model"].released and results["tflite_float32"].released


def test_a_run_that_exports_nothing_starts_no_child(monkeypatch, tmp_path):
    monkeypatch.setattr(from_run, "export", lambda job: pytest.fail("a child was started"))
    assert from_run.export_run(tmp_path, None, None, scores=None, name="none", formats=[]) == ()
