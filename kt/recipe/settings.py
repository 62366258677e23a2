"""Changes to a recipe from the command line, such as `--set fine_tune.lr=3e-6`."""

import ast
import contextlib
import dataclasses
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

from kt.errors import KtError, RecipeError, did_you_mean
from kt.recipe.contracts import Objective, ObjectiveWithLayers
from kt.recipe.definition import Recipe
from kt.recipe.field_types import field_types, fits, in_words, shown

Parts = Mapping[str, Mapping[str, Any]]
"""For each field the functions that it can be set to, by their names, such as `last_blocks` for `trainable`."""


def override(recipe: Recipe, settings: Sequence[str], *, parts: Parts | None = None) -> Recipe:
    """Apply `path=value` settings, such as `fine_tune.lr=3e-6` or `data.batch_size=16`, each checked against its field.

    parts: the functions that fields can be set to, as in `fine_tune.trainable=last_blocks(6)`. Raises RecipeError for a
    path that does not exist or a value of the wrong type.
    """
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise RecipeError(f"Cannot set {setting!r}: write it as name=value, such as fine_tune.lr=1e-5.")
        recipe = _set(recipe, path.strip(), _Value(text.strip(), parts or {}))
    return recipe


@dataclass(frozen=True)
class _Value:
    """The value for a field, as it was written, with the functions that are known by name."""

    text: str
    parts: Parts


def _set(recipe: Recipe, path: str, value: _Value) -> Recipe:
    first, _, rest = path.partition(".")
    names = [phase.name for phase in recipe.phases]
    fields = [field.name for field in dataclasses.fields(recipe)]
    if first in names:
        if not rest:
            raise RecipeError(f"Cannot set {path!r}: {first!r} is a phase; name one of its fields, such as {first}.lr.")
        index = names.index(first)
        phases = list(recipe.phases)
        phases[index] = _within(phases[index], rest, path=path, value=value)
        return dataclasses.replace(recipe, phases=phases)
    if first not in fields:
        raise RecipeError(f"Cannot set {path!r}: Recipe has no {first!r}. {did_you_mean(first, [*names, *fields])}")
    if not rest:
        changed: Recipe = _replaced(recipe, first, path=path, value=value)
        return changed
    if first == "phases":
        raise RecipeError(f"Cannot set {path!r}: begin with the name of a phase, such as {names[-1]}.lr.")
    return dataclasses.replace(recipe, **{first: _within(getattr(recipe, first), rest, path=path, value=value)})


def _within(part: Any, rest: str, *, path: str, value: _Value) -> Any:
    """A part of the recipe with one of its fields set, or a field of a part within it.

    A part in a list is named by its class, as in `augment.MixUp.alpha`.
    """
    name, _, deeper = rest.partition(".")
    if isinstance(part, list | tuple) and deeper:
        kinds = [type(item).__name__ for item in part]
        if name not in kinds:
            raise RecipeError(f"Cannot set {path!r}: the list has no {name!r}. {did_you_mean(name, kinds)}")
        if kinds.count(name) > 1:
            raise RecipeError(f"Cannot set {path!r}: the list has {name!r} twice; change it in the recipe file.")
        return [
            _within(item, deeper, path=path, value=value) if kind == name else item
            for item, kind in zip(part, kinds, strict=True)
        ]
    if not dataclasses.is_dataclass(part) or isinstance(part, type):
        where = path.rsplit(".", maxsplit=rest.count(".") + 1)[0]
        raise RecipeError(f"Cannot set {path!r}: {where!r} has no fields of its own; change it in the recipe file.")
    inner = getattr(part, name, None)
    if deeper and dataclasses.is_dataclass(inner) and name in field_types(type(part)):
        return _replaced_by(part, name, _within(inner, deeper, path=path, value=value), path=path, value=value)
    return _replaced(part, rest, path=path, value=value)


def _replaced(part: Any, name: str, *, path: str, value: _Value) -> Any:
    hints = field_types(type(part))
    if name not in hints:
        raise RecipeError(f"Cannot set {path!r}: {type(part).__name__} has no {name!r}. {did_you_mean(name, hints)}")
    parsed = _parsed(value.text, hints[name], named=value.parts.get(name, {}), path=path)
    return _replaced_by(part, name, parsed, path=path, value=value)


def _replaced_by(part: Any, name: str, new: Any, *, path: str, value: _Value) -> Any:
    try:
        return dataclasses.replace(part, **{name: new})
    except KtError:
        raise
    except Exception as error:  # noqa: BLE001 - a user's own part may refuse in any way
        why = " ".join(str(error).split())
        raise RecipeError(f"Cannot set {path!r} to {shown(value.text)}: {why}") from None


def _parsed(text: str, expected: Any, *, named: Mapping[str, Any], path: str) -> Any:
    if not _settable(expected) and text.lower() != "none":
        if not named:
            raise RecipeError(f"Cannot set {path!r}: it is a function; change it in the recipe file.")
        return _part(text, named, path=path)
    for value in _candidates(text):
        if fits(value, expected):
            return float(value) if expected is float else value
    example = ", such as 160x160" if get_origin(expected) is tuple else ""
    raise RecipeError(f"Cannot set {path!r} to {shown(text)}: it must be {in_words(expected)}{example}.")


def _part(text: str, named: Mapping[str, Any], *, path: str) -> Any:
    """A known function by its name, or the result of a call with plain values, such as `last_blocks(6)`."""
    known = ", ".join(named)
    try:
        tree = ast.parse(text, mode="eval").body
        call = tree if isinstance(tree, ast.Call) else None
        name = _name(call.func if call else tree)
        positional = [ast.literal_eval(each) for each in call.args] if call else []
        keywords = {str(each.arg): ast.literal_eval(each.value) for each in call.keywords} if call else {}
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        raise RecipeError(
            f"Cannot set {path!r} to {shown(text)}: expected a name, with plain values in brackets where it takes "
            f"some; known are {known}."
        ) from None
    if name not in named:
        raise RecipeError(f"Cannot set {path!r}: there is no {name!r} for it. {did_you_mean(name, list(named))}")
    if call is None:
        return named[name]
    try:
        return named[name](*positional, **keywords)
    except TypeError as error:
        raise RecipeError(f"Cannot set {path!r} to {shown(text)}: {' '.join(str(error).split())}.") from None


def _name(tree: ast.AST) -> str:
    if not isinstance(tree, ast.Name):
        raise ValueError
    return tree.id


def _settable(expected: Any) -> bool:
    kinds = (
        [arg for arg in get_args(expected) if arg is not type(None)]
        if get_origin(expected) in (Union, types.UnionType)
        else [expected]
    )
    return not all(_is_function(kind) for kind in kinds)


def _is_function(kind: Any) -> bool:
    """Whether a type is a function, an objective or a list of functions."""
    origin = get_origin(kind)
    return (
        kind in (Objective, ObjectiveWithLayers)
        or Callable in (origin, kind)
        or (origin is Sequence and _is_function(get_args(kind)[0]))
    )


def _candidates(text: str) -> list[Any]:
    """Ways to read a value, the narrowest first: true/false/none, a size AxB or a literal, the text, a list a,b."""
    readings: list[Any] = []
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        readings.append(words[text.lower()])
    with contextlib.suppress(ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        sized = re.fullmatch(r"\d+x\d+", text)
        readings.append(tuple(map(int, text.split("x"))) if sized else ast.literal_eval(text))
    readings += [text, [item.strip() for item in text.split(",")] if text else []]
    return readings
