"""The arguments that an augmentation function takes: pictures, also a seed, or also labels and weights."""

import inspect
from typing import Any

PICTURES, SEED, MIXES = ("images",), ("images", "seed"), ("images", "labels", "weights", "seed")
"""The three sets of arguments that an augmentation function may take."""


def asks(function: Any) -> tuple[str, ...]:
    """`PICTURES`, `SEED` or `MIXES`, by the names of the function's required arguments.

    A seed with a default is not passed, such as that of `tf.image.random_flip_left_right`.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some functions in C
        return PICTURES
    needed = {parameter.name for parameter in parameters if parameter.default is parameter.empty}
    if {"labels", "weights", "seed"} <= needed:
        return MIXES
    return SEED if "seed" in needed else PICTURES


def name_of(function: Any) -> str:
    """The name of a function or a part, for a person."""
    return str(getattr(function, "__name__", type(function).__name__))
