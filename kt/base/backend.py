"""Choosing the backend before Keras loads, and loading the heavy libraries without their noise."""

import contextlib
import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

from kt.base.console import quiet
from kt.base.extras import install
from kt.base.names import is_utf8
from kt.base.parsing import one_at_a_time
from kt.errors import EnvironmentProblem, RecipeError

BACKENDS = ("tensorflow", "jax", "torch")


def start(backend: str | None = None, *, mixed_precision: bool = False) -> str:
    """Load Keras on a backend and give its name; `backend` None means KERAS_BACKEND, else TensorFlow.

    If Keras is loaded already, as in a notebook, its backend stays, and asking for another is an error. Raises
    EnvironmentProblem, with the command that mends it, if the backend is not installed.
    """
    keras_module: Any = sys.modules.get("keras")
    loaded = str(keras_module.backend.backend()) if hasattr(keras_module, "backend") else None
    chosen = backend or os.environ.get("KERAS_BACKEND") or loaded or "tensorflow"
    if chosen not in BACKENDS:
        asked = "" if backend else " in KERAS_BACKEND"
        raise RecipeError(f"Unknown backend {chosen!r}{asked}. There is: {', '.join(BACKENDS)}.")
    if importlib.util.find_spec(chosen) is None:
        command = install("" if chosen == "tensorflow" else chosen)
        raise EnvironmentProblem(f"The backend {chosen!r} is not installed: {command}")
    if loaded not in (None, chosen):
        raise EnvironmentProblem(
            f"Keras is loaded already with another backend, {loaded}, than {chosen!r}; begin a new process (restart "
            f"the notebook's kernel) and set KERAS_BACKEND={chosen} there before Keras is imported."
        )
    os.environ["KERAS_BACKEND"] = chosen
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with quiet():
            import keras
            import tensorflow as tf

            _meet_devices(tf, hidden=chosen != "tensorflow")
    except ImportError as error:
        why = " ".join(str(error).split())
        raise EnvironmentProblem(f"Keras can't be loaded on {chosen}: {why}. kt doctor tells more.") from None
    except ValueError as error:  # Keras's own settings
        why = " ".join(str(error).split()).rstrip(".")
        raise EnvironmentProblem(f"Keras can't be loaded: {why}. Mend or delete {_keras_settings()}.") from None
    settle()
    tf.get_logger().setLevel("ERROR")  # hides TensorFlow's retracing warnings; the ladder builds many models
    importlib.import_module("absl.logging").set_verbosity("error")
    if mixed_precision:  # a CPU has no fast float16
        keras.config.set_dtype_policy("mixed_float16" if accelerated() else "mixed_bfloat16")
    return chosen


def running() -> str:
    """The backend of this process: "tensorflow", "jax" or "torch"."""
    import keras

    return str(keras.backend.backend())


def settle() -> None:
    """Override a user's `keras.json` and environment, so that kt computes the same way everywhere.

    Every process that loads Keras calls it before it builds anything.
    """
    import keras

    one_at_a_time()

    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_dtype_policy("float32")
    # KERAS_MAX_EPOCHS and KERAS_MAX_STEPS_PER_EPOCH would cut training and predictions short.
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)


def _keras_settings() -> Path:
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path.home() / ".keras") / "keras.json"


def _meet_devices(tf: Any, *, hidden: bool) -> None:
    """Let TensorFlow look for GPUs now, so that it complains of a missing driver while its output is silenced.

    hidden: hide the GPUs from TensorFlow, which only decodes and resizes then; another backend trains on them.
    """
    if hidden:
        with contextlib.suppress(RuntimeError):  # TensorFlow has claimed the GPU already, as in a notebook
            tf.config.set_visible_devices([], "GPU")
    tf.config.list_physical_devices("GPU")


def accelerated() -> bool:
    """Whether the loaded backend sees a GPU or TPU."""
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend == "jax":
        return str(importlib.import_module("jax").default_backend()) != "cpu"
    if backend == "torch":
        return bool(importlib.import_module("torch").cuda.is_available())
    return bool(importlib.import_module("tensorflow").config.list_physical_devices("GPU"))


def child_environment(work: Path | None = None) -> dict[str, str]:
    """The environment of a child process that runs TensorFlow quietly on the CPU, whatever its parent uses.

    It uses the CPU because the parent may hold all of a GPU's memory. work: a folder for temporary files, those of
    libraries included.
    """
    return (
        os.environ
        | temporary_files_in(work)
        | {
            "KERAS_BACKEND": "tensorflow",
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "PYTHONUNBUFFERED": "1",
            "PYTHONIOENCODING": "utf-8",
        }
    )


def temporary_files_in(work: Path | None) -> dict[str, str]:
    """Environment variables for a process's temporary files; empty if TensorFlow could not open the folder."""
    place = "" if work is None else str(work.absolute())
    return dict.fromkeys(("TMPDIR", "TEMP", "TMP"), place) if place and is_utf8(place) else {}
