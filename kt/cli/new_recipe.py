"""Writing a new recipe's file, with a text from a template of this folder."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kt.errors import RecipeError

IMBALANCED = 2.0
"""The ratio of the largest to the smallest class from which on a new recipe weighs the classes."""


def check_new(file: Path) -> None:
    """Raise RecipeError for a name that no recipe can have, and for a file that exists."""
    if file.suffix != ".py" or not file.stem.isidentifier():
        raise RecipeError(f"{file}: a recipe is a Python file with a plain name, such as recipes/mushrooms.py.")
    if file.exists():
        raise RecipeError(f"{file} is there already; remove it first, or choose another name.")


def write_recipe(file: Path, text: str) -> None:
    """Write the recipe. Its folder is made if it does not exist."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def recipe_text(template: str, file: Path, *, data: Path, counts: Mapping[str, int], **values: Any) -> str:
    """The recipe's text. data: the pictures. counts: how many of each class. values: further ones for the template."""
    return rendered(
        template,
        title=file.stem.replace("_", " "),
        file=in_words(shlex.quote(file.as_posix())),
        data=as_literal(data.as_posix()),
        classes=len(counts),
        counts=", ".join(f"{number} {in_words(label)}" for label, number in counts.items()),
        weighted=max(counts.values()) >= IMBALANCED * min(counts.values()),
        **values,
    )


def rendered(template: str, **values: Any) -> str:
    """The text of a template of this folder, with a line break at its end."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(  # noqa: S701 - this is Python, not HTML
        loader=PackageLoader("kt", "cli"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return f"{templates.get_template(template).render(**values)}\n"


def in_words(name: str) -> str:
    """A file's name for a docstring or a terminal, without quotes, backslashes and unprintable characters."""
    plain = "".join(character if character.isprintable() else "?" for character in name)
    return plain.replace('"', "'").replace("\\", "/")


def as_literal(text: str) -> str:
    """The text as a Python literal, in the formatter's double quotes where possible."""
    plain = text.isprintable() and not set(text) & {'"', "\\"}
    return f'"{text}"' if plain else repr(text)
