"""`kt benchmark`: what it measures of a TFLite file, and what it says of files that are none."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from conftest import kt

import kt.predict.benchmark as kt_benchmark
from kt.errors import ReleaseError
from kt.predict.benchmark import Benchmark, benchmark, tflite_files, thread_counts


def convolutions(folder: Path, *, width: int, name: str) -> Path:
    """A file with so many filters in its middle layer."""
    given = tf.keras.Input((64, 64, 3), dtype="uint8")
    x = tf.keras.layers.Rescaling(1 / 255.0)(given)
    x = tf.keras.layers.Conv2D(width, 3, activation="relu")(x)
    x = tf.keras.layers.Conv2D(8, 3, activation="relu")(x)
    model = tf.keras.Model(given, tf.keras.layers.GlobalAveragePooling2D()(x))
    path = folder / f"{name}.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("benchmark") / "saved_models" / "pair" / "2"
    folder.mkdir(parents=True)
    return convolutions(folder, width=8, name="small"), convolutions(folder, width=256, name="large")


@pytest.fixture(scope="module")
def measured(files) -> tuple[Benchmark, Benchmark]:
    small, large = (benchmark(file, threads=(1, 2), runs=12, warm_up=2) for file in files)
    return small, large


def test_every_number_of_threads_is_measured_with_xnnpack_and_without(measured):
    for found in measured:
        ways = [(timing.xnnpack, timing.threads) for timing in found.timings]
        assert ways == [(True, 1), (True, 2), (False, 1), (False, 2)]
        for timing in found.timings:
            assert 0 < timing.low_ms <= timing.median_ms <= timing.high_ms


def test_a_network_with_more_to_do_takes_longer_and_holds_more(measured, files):
    small, large = measured
    for little, much in zip(small.timings, large.timings, strict=True):
        assert much.median_ms > 2 * little.median_ms
    assert large.bytes == files[1].stat().st_size > small.bytes
    assert small.takes == large.takes == ("uint8 [1, 64, 64, 3]",)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process holds")
def test_what_is_held_counts_the_activations(measured):
    small, large = measured
    activations = 62 * 62 * 256 * 4
    assert small.timings[0].memory < activations < large.timings[0].memory < 5 * activations


def test_a_single_call_is_its_own_spread(files):
    (timing, _) = benchmark(files[0], threads=(1,), runs=1, warm_up=0).timings
    assert timing.low_ms == timing.median_ms == timing.high_ms


def test_progress_is_told_after_each_way(files):
    done = []
    benchmark(files[0], threads=(1,), runs=1, warm_up=0, after_each=lambda: done.append(1))
    assert len(done) == 2


@pytest.mark.parametrize(("cores", "counts"), [(1, (1,)), (2, (1, 2)), (4, (1, 2, 4)), (6, (1, 2, 4, 6))])
def test_threads_go_up_to_the_cores_in_doublings(cores, counts):
    assert thread_counts(cores) == counts


# ------------------------------------------------------------------------------------------------------ which files


def test_a_folder_stands_for_the_files_of_its_newest_version(files):
    version = files[0].parent
    old = version.parent / "1"
    old.mkdir(exist_ok=True)
    shutil.copy(files[0], old / "old.tflite")
    large_first = [files[1], files[0]]
    assert tflite_files(version) == tflite_files(version.parent) == large_first
    assert tflite_files(old / "old.tflite") == [old / "old.tflite"]


def test_what_is_no_model_is_said_in_words(tmp_path):
    (tmp_path / "notes.tflite").write_text("not a model at all")
    (tmp_path / "empty.tflite").touch()
    for name in ("notes.tflite", "empty.tflite"):
        with pytest.raises(ReleaseError, match=rf"{name} is no TFLite model; kt benchmark takes \.tflite files"):
            tflite_files(tmp_path / name)
    with pytest.raises(ReleaseError, match=r"absent\.tflite cannot be read: No such file or directory"):
        tflite_files(tmp_path / "absent.tflite")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReleaseError, match=r"empty holds no \.tflite file, and no version that does"):
        tflite_files(tmp_path / "empty")


def test_a_file_that_is_cut_short_is_said_to_be(files, tmp_path):
    whole = files[1].read_bytes()
    for length in (9, 100, len(whole) // 2):
        path = tmp_path / f"{length}.tflite"
        path.write_bytes(whole[:length])
        with pytest.raises(
            ReleaseError, match=rf"{length}\.tflite cannot be run: it is cut short, or no TFLite model\."
        ):
            benchmark(path, threads=(1,), runs=1, warm_up=0)


def dies(*_):
    os.kill(os.getpid(), signal.SIGSEGV)


def test_a_file_that_makes_the_interpreter_crash_takes_only_its_own_process_with_it(files, monkeypatch):
    monkeypatch.setattr(kt_benchmark, "_tell", dies)
    with pytest.raises(
        ReleaseError, match=r"small\.tflite cannot be run: it makes the interpreter crash; it may be damaged\."
    ):
        benchmark(files[0], threads=(1,), runs=1, warm_up=0)


def test_a_model_of_text_is_refused_in_words(tmp_path):
    @tf.function(input_signature=[tf.TensorSpec([1], tf.string)])
    def same(text):
        return tf.identity(text)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([same.get_concrete_function()])
    path = tmp_path / "text.tflite"
    path.write_bytes(converter.convert())
    with pytest.raises(ReleaseError, match=r"cannot be run: its input .* takes .*, which kt has no noise for"):
        benchmark(path, threads=(1,), runs=1, warm_up=0)


# -------------------------------------------------------------------------------------------------- the command line


def test_the_command_compares_files_in_a_table_and_names_the_fastest(files, tmp_path):
    asked = ["benchmark", str(files[0].parent), "--threads", "1", "--runs", "5", "--warm-up", "1"]
    done = kt(*asked, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    lines = done.stdout.splitlines()
    for name in ("small", "large"):
        (row,) = [line.split() for line in lines if line.split()[:1] == [name]]
        assert row[2:4] == ["XNNPACK", "1"]
    assert max(map(len, lines[:-2])) <= 80
    assert "Median of 5 calls of one picture each" in done.stdout and "Fastest: small.tflite, 1 thread," in done.stdout


def test_the_command_tells_programs_each_figure(files, tmp_path):
    done = kt("benchmark", str(files[0]), "--threads", "2,1,2", "--runs", "3", "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert (told["runs"], told["warm_up"]) == (3, 5) and told["machine"]["cores"] >= 1
    (model,) = told["models"]
    assert (model["path"], model["bytes"]) == (str(files[0]), files[0].stat().st_size)
    assert [(timing["xnnpack"], timing["threads"]) for timing in model["timings"]] == [
        *((True, 2), (True, 1), (False, 2), (False, 1))
    ]
    assert {"median_ms", "low_ms", "high_ms", "memory"} <= set(model["timings"][0])


@pytest.mark.parametrize("wrong", ["0", "x", "1,,2", "-1", "1.5", "99999"])
def test_the_command_refuses_numbers_of_threads_that_cannot_be(wrong, files, tmp_path):
    done = kt("benchmark", str(files[0]), f"--threads={wrong}", cwd=tmp_path)
    assert done.returncode == 2 and "is no list of numbers such as 1,2,4" in done.stderr


def test_the_command_ends_with_one_line_for_a_file_that_is_no_model(tmp_path):
    (tmp_path / "notes.txt").write_text("not a model at all")
    done = kt("benchmark", "notes.txt", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr == "error: notes.txt is no TFLite model; kt benchmark takes .tflite files.\n"
