"""The default recipe on real photos, where these lie beside the project: what a user would get, in short."""

import json
import shutil

import pytest
from conftest import PHOTOS, REPOSITORY

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PHOTOS.is_dir(), reason="the real photos do not lie beside this checkout"),
]


def every_nth(name, step, target):
    """A copy of every `step`-th photo of each class, train and test."""
    for folder in sorted((PHOTOS / name).glob("*/*/")):
        place = target / folder.relative_to(PHOTOS / name)
        place.mkdir(parents=True)
        for file in sorted(folder.iterdir())[::step]:
            shutil.copyfile(file, place / file.name)
    return target


def run(kt_here, name, step, folder, *options):
    every_nth(name, step, folder / name)
    done = kt_here(
        "run", str(REPOSITORY / "recipes/apples.py"), "--data", name, "--json", "--set", "fine_tune.epochs=2", *options,
        cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_good_and_bad_apples_are_told_apart_on_apples_never_seen(tmp_path, kt_here):
    results = run(kt_here, "apples", 8, tmp_path)
    assert results["test"]["balanced_accuracy"] > 0.65
    assert results["test"]["groups"] == 8, "the test split holds eight apples, and no frame of them is in train"
    check_artifacts(results)


def test_apple_leaves_are_told_apart(tmp_path, kt_here):
    results = run(kt_here, "apple_leaves", 8, tmp_path)
    assert results["test"]["balanced_accuracy"] > 0.85
    check_artifacts(results)


def check_artifacts(results):
    by_format = {artifact["format"]: artifact for artifact in results["artifacts"]}
    assert by_format["saved_model"]["released"] and by_format["tflite_float32"]["released"]
    assert by_format["saved_model"]["largest_score_difference"] < 1e-4
    assert by_format["tflite_float32"]["largest_score_difference"] < 1e-4
    assert by_format["tflite_int8"]["bytes"] <= 4_000_000
    # Whether int8 changes an answer or two on so few pictures is chance.
    int8 = by_format["tflite_int8"]
    assert int8["released"] == (not int8["reason"])
    if int8["released"]:
        assert int8["evidence"]["loss"] <= 0.04
