"""Choosing the backend before Keras loads, and loading the heavy libraries without their noise."""

import importlib
import importlib.util
import os
import sys

from kt.console import quiet
from kt.errors import EnvironmentProblem, RecipeError
from kt.extras import install

BACKENDS = ("tensorflow", "jax", "torch")


def start(backend: str | None = None, *, mixed_precision: bool = False) -> str:
    """Load Keras on a backend and give its name; `backend` None means KERAS_BACKEND, else TensorFlow.

    Raises EnvironmentProblem, with the command that mends it, where the backend is not installed.
    """
    chosen = backend or os.environ.get("KERAS_BACKEND") or "tensorflow"
    if chosen not in BACKENDS:
        asked = "" if backend else " in KERAS_BACKEND"
        raise RecipeError(f"Unknown backend {chosen!r}{asked}. There is: {', '.join(BACKENDS)}.")
    if importlib.util.find_spec(chosen) is None:
        command = install("" if chosen == "tensorflow" else chosen)
        raise EnvironmentProblem(f"The backend {chosen!r} is not installed: {command}")
    if "keras" in sys.modules and os.environ.get("KERAS_BACKEND", "tensorflow") != chosen:
        raise EnvironmentProblem(
            f"Keras is loaded already with another backend than {chosen!r}; set KERAS_BACKEND first."
        )
    os.environ["KERAS_BACKEND"] = chosen
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with quiet():
            import keras
            import tensorflow as tf
    except ImportError as error:
        why = " ".join(str(error).split())
        raise EnvironmentProblem(f"Keras can't be loaded on {chosen}: {why}. kt doctor tells more.") from None
    tf.get_logger().setLevel("ERROR")  # that a ladder's many models are each traced anew is no news for its user
    if chosen != "tensorflow":
        tf.config.set_visible_devices([], "GPU")  # it decodes and resizes here; the GPU is the other backend's
    if mixed_precision:  # a CPU has no fast float16
        keras.config.set_dtype_policy("mixed_float16" if accelerated() else "mixed_bfloat16")
    return chosen


def accelerated() -> bool:
    """Whether the loaded backend sees a GPU or TPU."""
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if backend == "jax":
        return str(importlib.import_module("jax").default_backend()) != "cpu"
    if backend == "torch":
        return bool(importlib.import_module("torch").cuda.is_available())
    return bool(importlib.import_module("tensorflow").config.list_physical_devices("GPU"))


def child_environment() -> dict[str, str]:
    """The environment of a child process that works under TensorFlow, quiet, on the CPU, whatever its parent does.

    The parent may hold all of a GPU's memory.
    """
    return os.environ | {
        "KERAS_BACKEND": "tensorflow",
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }
