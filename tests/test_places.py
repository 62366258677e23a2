"""Runs where TensorFlow would look for something else, and where Keras was told to work in another way."""

import json
import os
import subprocess
import sys

import pytest
from conftest import TINY_RECIPE, kt, make_folder


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="these characters can't be in a name there")
def test_a_folder_whose_name_is_a_pattern_and_a_keras_of_other_habits(tmp_path):
    place = tmp_path / "a[1]*?" / "b\\c"
    place.mkdir(parents=True)
    home, temporary = place / "keras", place / "tmp"
    home.mkdir()
    temporary.mkdir()
    told = {"floatx": "float16", "epsilon": 1e-3, "backend": "jax", "image_data_format": "channels_first"}
    (home / "keras.json").write_text(json.dumps(told))
    make_folder(place / "pictures", {"red": 20, "green": 20, "blue": 20})
    (place / "tiny.py").write_text(TINY_RECIPE, encoding="utf-8")
    around = {"KERAS_HOME": str(home), "TMPDIR": str(temporary), "KERAS_MAX_EPOCHS": "1", "KERAS_BACKEND": "tensorflow"}
    done = kt("run", "tiny.py", "--json", cwd=place, **around)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    released = {artifact["format"] for artifact in results["artifacts"] if artifact["released"]}
    assert {"saved_model", "tflite_float32"} <= released
    for model in ("saved_model", "tiny_float32.tflite"):
        path = place / "saved_models/tiny/1" if model == "saved_model" else place / "saved_models/tiny/1" / model
        answer = kt("predict", str(path), "pictures/red", "--json", cwd=place, **around)
        assert answer.returncode == 0, answer.stderr
        assert len(answer.stdout.splitlines()) == 20
    measured = kt("evaluate", "saved_models/tiny", "--data", "pictures", "--json", cwd=place, **around)
    assert json.loads(measured.stdout)["accuracy"] > 0.5
    table = kt("predict", "saved_models/tiny", "pictures", "--out", "table.csv", cwd=place, **around)
    assert table.returncode == 0, table.stderr


SETTINGS = """
from kt.base import backend
backend.start("tensorflow")
import keras
print(keras.config.floatx(), keras.config.image_data_format(), keras.config.dtype_policy().name, keras.config.epsilon())
layer = keras.layers.Conv2D(4, 3)
print(tuple(layer(keras.Input((8, 8, 3))).shape), layer.kernel.dtype)
"""


def started(tmp_path, text):
    (tmp_path / "keras.json").write_text(text)
    return subprocess.run(
        [sys.executable, "-c", SETTINGS],
        env={**os.environ, "KERAS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_keras_works_as_kt_wants_it_whatever_its_settings_say(tmp_path):
    told = {"floatx": "float16", "epsilon": 1e-3, "image_data_format": "channels_first", "backend": "tensorflow"}
    done = started(tmp_path, json.dumps(told))
    assert done.stdout.splitlines() == ["float32 channels_last float32 1e-07", "(None, 6, 6, 4) float32"], done.stderr


def test_settings_that_keras_does_not_understand_are_named(tmp_path):
    done = started(tmp_path, json.dumps({"image_data_format": "channels_in_the_middle"}))
    assert "EnvironmentProblem" in done.stderr
    assert f"Mend or delete {tmp_path / 'keras.json'}" in done.stderr
