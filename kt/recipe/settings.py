"""Changes to a recipe from the command line, such as `--set fine_tune.lr=3e-6`."""

import ast
import contextlib
import dataclasses
import re
import types
from collections.abc import Callable, Sequence
from typing import Any, Union, get_args, get_origin

from kt.errors import KtError, RecipeError, did_you_mean
from kt.recipe.definition import Recipe
from kt.recipe.field_types import field_types, fits, in_words, shown


def override(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Apply `path=value` settings, such as `fine_tune.lr=3e-6` or `data.batch_size=16`, each checked against its field.

    Raises RecipeError for a path that does not exist or a value of the wrong type.
    """
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise RecipeError(f"Cannot set {setting!r}: write it as name=value, such as fine_tune.lr=1e-5.")
        recipe = _set(recipe, path.strip(), text.strip())
    return recipe


def _set(recipe: Recipe, path: str, text: str) -> Recipe:
    first, _, rest = path.partition(".")
    names = [phase.name for phase in recipe.phases]
    fields = [field.name for field in dataclasses.fields(recipe)]
    if first in names:
        if not rest:
            raise RecipeError(f"Cannot set {path!r}: {first!r} is a phase; name one of its fields, such as {first}.lr.")
        index = names.index(first)
        phases = list(recipe.phases)
        phases[index] = _replaced(phases[index], rest, path=path, text=text)
        return dataclasses.replace(recipe, phases=phases)
    if first not in fields:
        raise RecipeError(f"Cannot set {path!r}: Recipe has no {first!r}. {did_you_mean(first, [*names, *fields])}")
    if not rest:
        changed: Recipe = _replaced(recipe, first, path=path, text=text)
        return changed
    if first == "phases":
        raise RecipeError(f"Cannot set {path!r}: begin with the name of a phase, such as {names[-1]}.lr.")
    part = getattr(recipe, first)
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        raise RecipeError(f"Cannot set {path!r}: {first!r} has no fields of its own; change it in the recipe file.")
    return dataclasses.replace(recipe, **{first: _replaced(part, rest, path=path, text=text)})


def _replaced(part: Any, name: str, *, path: str, text: str) -> Any:
    hints = field_types(type(part))
    if name not in hints:
        raise RecipeError(f"Cannot set {path!r}: {type(part).__name__} has no {name!r}. {did_you_mean(name, hints)}")
    value = _parsed(text, hints[name], path=path)
    try:
        return dataclasses.replace(part, **{name: value})
    except KtError:
        raise
    except Exception as error:  # noqa: BLE001 - a part of the user's own may refuse in any way
        why = " ".join(str(error).split())
        raise RecipeError(f"Cannot set {path!r} to {shown(text)}: {why}") from None


def _parsed(text: str, expected: Any, *, path: str) -> Any:
    if not _settable(expected) and text.lower() != "none":
        raise RecipeError(f"Cannot set {path!r}: it is a function; change it in the recipe file.")
    for value in _candidates(text):
        if fits(value, expected):
            return float(value) if expected is float else value
    example = ", such as 160x160" if get_origin(expected) is tuple else ""
    raise RecipeError(f"Cannot set {path!r} to {shown(text)}: it must be {in_words(expected)}{example}.")


def _settable(expected: Any) -> bool:
    kinds = (
        [arg for arg in get_args(expected) if arg is not type(None)]
        if get_origin(expected) in (Union, types.UnionType)
        else [expected]
    )
    return any(Callable not in (get_origin(kind), kind) for kind in kinds)


def _candidates(text: str) -> list[Any]:
    """Readings of a value, the narrowest first: a Python literal, true/false/none, a list a,b or size AxB, the text."""
    readings: list[Any] = []
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        readings.append(words[text.lower()])
    with contextlib.suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        sized = re.fullmatch(r"\d+x\d+", text)
        readings.append(tuple(map(int, text.split("x"))) if sized else ast.literal_eval(text))
    readings += [text, [item.strip() for item in text.split(",")] if text else []]
    return readings
