"""The formats of an export: kt's own keep one set of rules, and a recipe's own format passes the gate or is refused."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import REPOSITORY, make_folder

from kt.errors import EnvironmentProblem, RecipeError, ReleaseError
from kt.export import ArtifactResult, release
from kt.export.artifact import find_artifact, open_artifact
from kt.export.formats import FORMATS, NAMES, format_of, named
from kt.export.formats.format import Details
from kt.export.formats.tflite import TFLite
from kt.export.job import check_packages
from kt.recipe import EXPORTS
from kt.testing import check_format

SIZE = (8, 8)


def model_of(*, seed: int = 3) -> keras.Model:
    keras.utils.set_random_seed(seed)
    wide = keras.initializers.RandomNormal(stddev=1.0)
    pixels = keras.Input((*SIZE, 3), dtype="uint8", name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(pixels)
    x = keras.layers.Conv2D(8, 1, activation="relu", kernel_initializer=wide)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, keras.layers.Dense(3, activation="softmax", kernel_initializer=wide)(x))


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return model_of()


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    random = np.random.default_rng(0)
    colour = random.integers(0, 256, (40, 1, 1, 3))
    return np.clip(colour + random.normal(0, 20, (40, *SIZE, 3)), 0, 255).astype(np.uint8)


class InNumPy:
    """The model above as NumPy computes it."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as held:
            self.classes = tuple(held["classes"].tolist())
            self.kernel, self.bias, self.dense, self.offset = (held[f"weight_{index}"] for index in range(4))

    def scores(self, pixels):
        scaled = pixels.astype(np.float32) / 127.5 - 1
        features = np.maximum(scaled @ self.kernel[0, 0] + self.bias, 0).mean(axis=(1, 2))
        raised = np.exp(features @ self.dense + self.offset)
        return raised / raised.sum(axis=1, keepdims=True)


class Npz:
    """A format that keeps the rules; those below break one each."""

    name, exact = "npz", True

    def make(self, model, directory, *, details):
        path = directory / f"{self.name}.npz"
        weights = {f"weight_{index}": weight.numpy() for index, weight in enumerate(model.weights)}
        np.savez(path, classes=details.classes, **weights)
        return path

    def opens(self, path):
        return path.suffix == ".npz"

    def open(self, path):
        return InNumPy(path)


# ------------------------------------------------------------------------------------------------------- kt's own


@pytest.mark.parametrize("kind", FORMATS, ids=lambda kind: kind.name)
def test_each_format_of_kt_s_keeps_the_rules(kind, model, pixels):
    if missing := kind.missing():
        pytest.skip(f"{missing} is not installed")
    check_format(kind, model, pixels, threads=2)


def test_there_is_one_format_a_name_and_three_files_for_phones():
    assert set(NAMES) == set(EXPORTS)
    assert [kind.name for kind in FORMATS if kind.mobile] == ["tflite_float32", "tflite_float16", "tflite_int8"]
    assert [kind.name for kind in FORMATS if not kind.exact] == ["tflite_float16", "tflite_int8"]
    assert [kind.name for kind in FORMATS if kind.at_root] == ["saved_model"]
    assert [kind.name for kind in named("tflite")] == ["tflite_float32", "tflite_float16", "tflite_int8"]
    assert next(TFLite("int8").attempts())[0] == "its head computes in float32"
    assert not list(TFLite("float16").attempts())


def test_of_several_formats_in_a_folder_the_saved_model_comes_first_then_float32(tmp_path):
    for name in ("b.keras", "a.onnx", "x_int8.tflite", "x_float16.tflite", "own.tflite", "x_float32.tflite"):
        (tmp_path / name).write_bytes(b"")
    found = []
    while any(tmp_path.iterdir()):
        found.append(find_artifact(tmp_path).name)
        (tmp_path / found[-1]).unlink()
    assert found == ["x_float32.tflite", "x_float16.tflite", "x_int8.tflite", "own.tflite", "a.onnx", "b.keras"]
    (tmp_path / "a_openvino").mkdir()
    (tmp_path / "a_openvino" / "model.xml").touch()
    assert find_artifact(tmp_path) == tmp_path / "a_openvino"
    assert format_of(tmp_path / "a_openvino" / "model.xml").name == "openvino"
    (tmp_path / "saved_model").mkdir()
    (tmp_path / "saved_model" / "saved_model.pb").touch()
    assert find_artifact(tmp_path) == tmp_path / "saved_model"


def test_a_phone_file_is_opened_and_asked_without_tensorflow_or_keras(model, pixels, tmp_path):
    path = TFLite("float32").make(model, tmp_path, details=Details("tiny", ("a", "b", "c")))
    np.save(tmp_path / "pixels.npy", pixels)
    client = (
        "import sys, numpy as np\n"
        "from pathlib import Path\n"
        "from kt.export.artifact import open_artifact\n"
        f"artifact = open_artifact(Path({str(path)!r}))\n"
        "np.save('scores.npy', artifact.scores(np.load('pixels.npy')))\n"
        "print(*artifact.classes, *({'tensorflow', 'keras'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", client], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["a", "b", "c"]
    assert done.stderr == "", "neither a warning nor XNNPACK's greeting"
    np.testing.assert_allclose(np.load(tmp_path / "scores.npy"), model(pixels), atol=1e-5)


# -------------------------------------------------------------------------------------------------- kt.testing


def test_a_format_with_a_runtime_of_its_own_keeps_the_rules(model, pixels):
    check_format(Npz(), model, pixels, threads=2)


def broken(**changed):
    """The format with some of its functions replaced."""
    return type("Broken", (Npz,), changed)()


def answering(change):
    """A format whose runtime gives what `change` makes of the right scores."""

    class Changed(InNumPy):
        def scores(self, pixels):
            return change(super().scores(pixels))

    return broken(open=lambda self, path: Changed(path))


def outside(self, model, directory, *, details):
    path = directory.parent / "elsewhere.npz"
    path.touch()
    return path


BROKEN = {
    "outside": (broken(make=outside), "its make gave .*elsewhere.npz, which lies outside"),
    "nothing": (broken(make=lambda self, model, directory, *, details: directory / "no.npz"), "no.npz is not there"),
    "unknown": (broken(opens=lambda self, path: False), r"npz: opens must know what make wrote, npz\.npz"),
    "greedy": (broken(opens=lambda self, path: True), "opens must be False for an empty folder"),
    "transposed": (answering(lambda scores: scores.T), r"it answers \d+ examples with \[3, \d+\] scores"),
    "wide": (
        answering(lambda scores: np.c_[scores, scores]),
        r"scores must be float32 \[40, 3\].*not float32 \[40, 6\]",
    ),
    "double": (answering(lambda scores: scores.astype(float)), "its scores are float64; expected float32"),
    "random": (
        answering(lambda scores: scores + np.random.rand(1).astype("f4")),
        "asked twice it must answer the same",
    ),
    "together": (answering(lambda scores: scores / len(scores)), "must not hang on what is beside it"),
    "nan": (answering(lambda scores: scores * np.float32("nan")), r"not numbers \(NaN\) for 40 of 40"),
    "wrong": (
        answering(lambda scores: scores[:, ::-1].copy()),
        "the release gate must let it pass: a score differs by",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_format_that_breaks_a_rule_is_told_which(name, model, pixels):
    format_of_its_own, said = BROKEN[name]
    with pytest.raises((AssertionError, ReleaseError), match=said):
        check_format(format_of_its_own, model, pixels)


def test_a_format_whose_runtime_mixes_up_threads_is_told_so(model, pixels):
    class Shared(InNumPy):
        def scores(self, pixels):
            self.given = pixels
            time.sleep(0.005)  # so that the other thread comes in between
            return super().scores(self.given)

    mixing = broken(open=lambda self, path: Shared(path))
    check_format(mixing, model, pixels[:32])
    with pytest.raises(AssertionError, match="asked from 2 threads it must answer as from one"):
        check_format(mixing, model, pixels[:32], threads=2)


def test_a_format_with_other_classes_than_the_model_s_is_told_so(model, pixels):
    class Other(InNumPy):
        def __init__(self, path):
            super().__init__(path)
            self.classes = ("x", "y", "z")

    with pytest.raises(AssertionError, match=r"the classes of what open gives must be none or \('a', 'b', 'c'\)"):
        check_format(broken(open=lambda self, path: Other(path)), model, pixels, classes=["a", "b", "c"])


# ------------------------------------------------------------------------------------------- in a recipe's export


def recipe_with(*export):
    from kt import Classifier, Phase, Recipe
    from kt.freeze import frozen

    return Recipe(
        data=lambda: None,
        backbone=lambda include_top, weights, input_shape: None,
        head=Classifier(),
        phases=[Phase("train", trainable=frozen, epochs=1, lr=1e-3)],
        export=export,
    )


@pytest.mark.parametrize(
    ("export", "said"),
    [
        ([Npz], r"export holds the class Npz; write Npz\(\.\.\.\)"),
        ([broken(name="a b")], "the name of the export Broken must have letters, digits, '_' and '-', .*not 'a b'"),
        (
            [broken(name="tflite_own")],
            "the export Broken can't be named 'tflite_own', which begins as a format of kt's",
        ),
        ([Npz(), Npz()], "two formats in export are named 'npz'; names must differ"),
        ([broken(make=lambda self, model: None)], r"Broken\.make must take \(model, directory, \*, details\)"),
    ],
)
def test_a_format_that_can_be_none_is_refused_when_the_recipe_is_loaded(export, said):
    with pytest.raises(RecipeError, match=said):
        recipe_with(*export)
    assert recipe_with("tflite", Npz()).export[1].name == "npz"


def test_a_package_that_a_recipe_s_format_names_is_looked_for_before_any_work():
    with pytest.raises(EnvironmentProblem, match=r"Export to npz needs no_such: pip install no_such"):
        check_packages(["tflite", broken(packages=("no_such", "json"))])
    check_packages([broken(packages=("json",))])


DOCS = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
(DOCUMENTED,) = [
    block for block in re.findall(r"^```python\n(.*?)^```", DOCS, re.DOTALL | re.MULTILINE) if "class Npz" in block
]

RECIPE = '''
"""A network that NumPy can run, with formats of its own: the documented one, and some that go wrong."""

import keras

from kt import Classifier, Phase, Recipe
from kt.data import Folder
from kt.freeze import everything


def colours(include_top, weights, input_shape):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, keras.layers.Conv2D(8, 1, activation="relu", name="block_1_conv")(inputs))


colours.preprocessing = "scale -1..1"


class Mixed(Npz):
    """Its runtime gives the classes in another order."""
    name, mobile = "mixed", True

    def open(self, path):
        opened = super().open(path)
        opened.dense, opened.offset = opened.dense[:, ::-1], opened.offset[::-1]
        return opened


class Raises(Npz):
    name = "raises"

    def make(self, model, directory, *, details):
        raise RuntimeError("no such converter\\nat all")


class Absent(Npz):
    name = "absent"

    def open(self, path):
        import no_such_runtime


class Wide(Npz):
    name = "wide"

    def open(self, path):
        opened = super().open(path)
        opened.dense, opened.offset = np.tile(opened.dense, 2), np.tile(opened.offset, 2)
        return opened


class NaN(Npz):
    name = "nan"

    def open(self, path):
        opened = super().open(path)
        opened.offset = opened.offset * np.float32("nan")
        return opened


for one in (Mixed, Raises, Absent, Wide, NaN):
    one.make = (lambda make, name: lambda self, model, directory, *, details: make(
        self, model, directory, details=dataclasses.replace(details, name=name)))(one.make, one.name)


recipe = Recipe(
    data=Folder("pictures", image_size=(32, 32), batch_size=8), backbone=colours, head=Classifier(dropout=0.0),
    phases=[Phase("all", trainable=everything, epochs=15, lr=3e-2)], weights="none", tolerance=0.2,
    export=[Npz(), Mixed(), Raises(), Absent(), Wide(), NaN()],
)
'''


def written(folder: Path) -> Path:
    parts = DOCUMENTED.replace(
        "from dataclasses import dataclass\n", "import dataclasses\nfrom dataclasses import dataclass\n"
    )
    (folder / "colours.py").write_text(parts + RECIPE, encoding="utf-8")
    make_folder(folder / "pictures", {"red": 30, "green": 30})
    return folder


def test_a_recipe_s_own_format_is_made_opened_by_its_own_runtime_gated_and_released(tmp_path, kt_here):
    done = kt_here("run", "colours.py", "--json", cwd=written(tmp_path))
    assert done.returncode == 6, "mixed is for phones, and nothing of that passed"
    report = json.loads((tmp_path / "runs/colours/LATEST/report.json").read_text())
    told = {artifact["format"]: artifact for artifact in report["artifacts"]}
    npz = told["npz"]
    assert npz["released"] and npz["name"] == "colours.npz", npz["reason"]
    assert npz["largest_score_difference"] < 1e-4 and npz["latency_ms"] > 0 and npz["accuracy"] == 1.0
    version = tmp_path / report["released_to"]
    assert sorted(path.name for path in version.iterdir()) == ["MODEL_CARD.md", "colours.npz", "kt.json"]
    reasons = {name: artifact["reason"] for name, artifact in told.items() if not artifact["released"]}
    assert reasons.keys() == {"mixed", "raises", "absent", "wide", "nan"}
    assert reasons["mixed"].startswith("a score differs by"), "the documented format says that it is exact"
    assert told["mixed"]["mobile"] and not npz["mobile"]
    assert reasons["raises"] == "RuntimeError: no such converter at all"
    assert reasons["absent"] == "ModuleNotFoundError: No module named 'no_such_runtime'"
    assert re.fullmatch(r"it answers with \[\d+, 4\] scores where the model has \[\d+, 2\]", reasons["wide"])
    assert "not numbers (NaN)" in reasons["nan"]

    for command in (["predict", str(version / "colours.npz")], ["predict", "saved_models/colours"]):
        asked = kt_here(*command, "pictures/red", cwd=tmp_path)
        assert asked.returncode == 6
        assert re.fullmatch(
            r"error: .*colours\.npz is of the format 'npz', which its recipe brought along, and kt can't open it "
            r"without\. Ask it by the format's own runtime, or export the run in a format of kt's as well\.\n",
            asked.stderr,
        ), asked.stderr


def test_what_an_earlier_version_released_is_still_found(tmp_path, model, pixels):
    """A card without `mobile`, as kt wrote it before there were formats of one's own."""
    path = TFLite("float16").make(model, tmp_path, details=Details("tiny", ("a", "b", "c")))
    told = ArtifactResult("tiny_float16.tflite", "tflite_float16", path, released=True, reason="").as_json()
    del told["mobile"]
    (result,) = (ArtifactResult.from_json(told),)
    version = release([result], name="tiny", saved_models=tmp_path / "released", card={})
    assert open_artifact(tmp_path / "released/tiny").classes == ("a", "b", "c")
    assert (version / "tiny_float16.tflite").read_bytes() != path.read_bytes(), "its version is stamped into it"
