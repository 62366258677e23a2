"""A folder of pictures or a table where a recipe is wanted: the recipe that `kt new` would write for it."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from kt.cli.new import count_pictures, render
from kt.cli.new_recipe import in_words
from kt.cli.typed import typed
from kt.console import say
from kt.data.archive import OTHERS
from kt.data.layout import check_folder
from kt.data.tables import is_table
from kt.errors import RecipeError
from kt.recipe import Loaded, is_recipe, load_text

LONGEST = 60
"""Characters of a model's name, at most: it becomes part of the names of files."""


def is_pictures(path: Path) -> bool:
    """Whether a path that stands for a recipe is a folder or a table, or an archive that may hold one."""
    return path.is_dir() or is_table(path) or path.suffix.lower() in (".zip", *OTHERS)


def safe_name(text: str) -> str:
    """A name for a recipe, its runs and its models from that of a folder or file: letters, digits, `_`, `-` and `.`."""
    words = re.sub(r"[^\w.-]+", "_", text).strip("._-")
    return words[:LONGEST].rstrip("._-") or "pictures"


def name_of(pictures: Path) -> str:
    """What a recipe for these pictures is called: as their folder, or as their table without its suffix."""
    whole = pictures.expanduser().resolve()
    named = is_table(whole) or (whole.suffix.lower() == ".zip" and not whole.is_dir())
    return safe_name(whole.stem if named else whole.name)


def check_pictures(pictures: Path) -> dict[str, int]:
    """How many pictures each class has; raises DataError, with what to type, where there are no classes."""
    if pictures.is_dir() and not _any_folder(pictures.iterdir()):
        recipes = [path for path in sorted(pictures.glob("*.py")) if is_recipe(path)]
        if recipes:
            there = ", ".join(map(str, recipes[:9]))
            raise RecipeError(f"{pictures} is a folder of recipes and not of pictures; name one: {there}.")
    if not is_table(pictures):
        check_folder(pictures)  # which says what to do with an archive
    # What reads them says how they are understood, and judges by --set data.group_by, which is not known here.
    return count_pictures(pictures, told=False, group_by="none")


def recipe_for(pictures: Path, counts: Mapping[str, int]) -> Loaded:
    """The recipe that `kt new` would write for a folder or table, and a line that says so; Keras must be started.

    counts: from `check_pictures`.
    """
    name = name_of(pictures)
    text = render(Path(f"{name}.py"), pictures, counts)
    text = text.replace(in_words(f"kt run {typed(f'{name}.py')}"), in_words(f"kt run {typed(pictures)}"), 1)
    loaded = load_text(text, file=pictures, name=name)
    say(
        f"recipe: {name}, the one that kt new writes: a linear probe on features of all depths of MobileNetV2; to have "
        f"it as a file: {new_command(pictures, name)}"
    )
    return loaded


def new_command(pictures: Path, name: str) -> str:
    """The command that writes the recipe of these pictures as a file."""
    file = f"recipes/{identifier(name)}.py"
    return f"kt new {typed(file)} --data {typed(pictures)}"


def identifier(name: str) -> str:
    """The name as Python would take one for a module."""
    plain = re.sub(r"\W", "_", name)
    return plain if plain.isidentifier() else f"my_{plain}"


def _any_folder(paths: Iterable[Path]) -> bool:
    return any(path.is_dir() and not path.name.startswith((".", "_")) for path in paths)
