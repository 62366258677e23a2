"""A recipe as plain data, for the report."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kt.recipe.definition import Phase, Recipe


def describe(part: Any) -> Any:
    """The resolved recipe as plain data for JSON: dataclasses as dicts, functions by their dotted names."""
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        values = {field.name: describe(getattr(part, field.name)) for field in dataclasses.fields(part)}
        if isinstance(part, Recipe | Phase):
            return values
        own = "class" if "kind" in values else "kind"  # no field can be named class
        return {own: type(part).__name__, **values}
    if isinstance(part, str | int | float | bool | None):
        return part
    if isinstance(part, Path):
        return str(part)
    if isinstance(part, Mapping):
        return {str(key): describe(value) for key, value in part.items()}
    if isinstance(part, Sequence):
        return [describe(item) for item in part]
    if isinstance(part, functools.partial):
        arguments = {"args": describe(part.args), "keywords": describe(part.keywords)}
        return {"kind": "partial", "function": describe(part.func), **arguments}
    name = getattr(part, "__qualname__", None) or type(part).__qualname__
    module = getattr(part, "__module__", "") or ""
    return name if module.startswith("kt_recipe_") or not module else f"{module}.{name}"
