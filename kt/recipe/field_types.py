"""Checking fields against their annotations, and the words for types and values in errors."""

import contextlib
import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from kt.errors import RecipeError
from kt.recipe.contracts import Step


def check_types(part: Any) -> None:
    """Check every field of a dataclass instance against its annotation.

    Raises RecipeError with the field, the expected type and the value.
    """
    for name, expected in field_types(type(part)).items():
        value = getattr(part, name)
        if not fits(value, expected):
            raise RecipeError(f"{type(part).__name__}: {name} must be {in_words(expected)}, not {shown(value)}.")


def field_types(cls: type) -> dict[str, Any]:
    """The types of a dataclass's fields that its constructor takes, by name."""
    try:
        hints = typing.get_type_hints(cls)
    except (NameError, TypeError) as error:
        raise RecipeError(f"{cls.__name__}: the types of its fields can't be read: {error}.") from None
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def fits(value: Any, expected: Any) -> bool:
    """Whether a value is of the annotated type."""
    origin, args = get_origin(expected), get_args(expected)
    if expected is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, arg) for arg in args)
    if origin is Literal:
        return value in args
    if Callable in (origin, expected):
        return callable(value) and not is_part(value)
    if origin is tuple and args[-1] is not Ellipsis:
        return isinstance(value, tuple) and len(value) == len(args) and all(map(fits, value, args))
    if isinstance(origin, type) and issubclass(origin, Sequence):
        kind = origin if issubclass(origin, tuple) else Sequence
        return (
            isinstance(value, kind)
            and not isinstance(value, str | bytes)
            and all(fits(item, args[0]) for item in value)
        )
    if expected is float:  # neither infinite nor NaN
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if expected is int:
        return isinstance(value, int) and not isinstance(value, bool)
    try:
        return isinstance(value, origin or expected)
    except TypeError:  # isinstance refuses the annotation, such as a protocol in a user's own data source
        return True


def is_part(value: Any) -> bool:
    """Whether a value is a class, such as `Classifier` or a Keras layer, where an instance was probably meant."""
    return isinstance(value, type) and (
        dataclasses.is_dataclass(value) or (is_keras(value, "Layer") and not is_keras(value, "Model"))
    )


def is_keras(kind: type, name: str) -> bool:
    """Whether a class is Keras's class `name`, such as `Model`, or a subclass of it; Keras need not be loaded."""
    return any(base.__name__ == name and base.__module__.partition(".")[0] == "keras" for base in kind.__mro__)


def check_unfinished(value: Any, where: str) -> None:
    """Raise RecipeError for a function that must be called first, such as `last_blocks` instead of `last_blocks(4)`."""
    if example := getattr(value, "call_first", ""):
        raise RecipeError(f"{where} is {value.__name__} itself; call it: {example}.")


def check_takes(function: Any, names: Sequence[str], where: str) -> None:
    """Raise RecipeError if a function's signature does not take these arguments, by position or by name."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some functions in C
        return
    try:
        signature.bind(*names)
    except TypeError:
        with contextlib.suppress(TypeError):
            signature.bind(**dict.fromkeys(names))
            return
        asked = ", ".join(names)
        takes = ", ".join(signature.parameters) or "nothing"
        name = getattr(function, "__name__", type(function).__name__)
        raise RecipeError(f"{where} must be a function ({asked}), and {name} takes ({takes}).") from None


def in_words(expected: Any) -> str:
    """A type in words, for an error."""
    origin, args = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType):
        return " or ".join(in_words(arg) for arg in args)
    if origin is Literal:
        return " or ".join(repr(arg) for arg in args)
    if origin is tuple and args[-1] is not Ellipsis:
        return f"a tuple of {len(args)} ({', '.join(in_words(arg) for arg in args)})"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        return f"a list of {in_words(args[0])}".replace("of a function", "of functions")
    if Callable in (origin, expected):
        return "a function"
    if getattr(expected, "_is_protocol", False) and expected is not Step:
        return f"a {expected.__name__.lower()}"
    plain = {
        Step: "Phase or LinearProbe",
        int: "an integer",
        float: "a number",
        str: "a string",
        type(None): "None",
        bool: "true or false",
        Path: "a path",
    }
    return plain.get(expected, getattr(expected, "__name__", str(expected)))


def shown(value: Any) -> str:
    """A value as an error quotes it, in at most 60 characters."""
    if is_part(value):
        return f"the class {value.__name__}; write {value.__name__}(...)"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_step_name(name: str, where: str) -> None:
    """Raise RecipeError for a name that a step can't have: `--set` and the run's folders use it."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise RecipeError(f"{where}: a name has letters, digits, '_' and '-', and begins with a letter.")
