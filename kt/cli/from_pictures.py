"""A folder of pictures or a table given in place of a recipe: the recipe is the one that `kt new` would write."""

import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from kt.base.console import say
from kt.cli.new import count_pictures, recipe_text_for
from kt.cli.new_recipe import in_words
from kt.cli.typed import typed
from kt.data.archive import OTHERS
from kt.data.layout import check_folder
from kt.data.tables import is_table
from kt.errors import RecipeError
from kt.recipe import Loaded, is_recipe, load_text

LONGEST = 60
"""The most characters of a model's name, which becomes part of file names."""


def is_pictures(path: Path) -> bool:
    """Whether a path that is given as a recipe is a folder or a table, or an archive that may hold one."""
    return path.is_dir() or is_table(path) or path.suffix.lower() in (".zip", *OTHERS)


def safe_name(text: str) -> str:
    """A name for a recipe, made from that of a folder or file: letters, digits, `_`, `-` and `.`."""
    words = re.sub(r"[^\w.-]+", "_", text).strip("._-")
    return words[:LONGEST].rstrip("._-") or "pictures"


def name_of(pictures: Path) -> str:
    """The name of a recipe for these pictures: that of their folder, or of their table without its suffix."""
    whole = pictures.expanduser().resolve()
    named = is_table(whole) or (whole.suffix.lower() == ".zip" and not whole.is_dir())
    return safe_name(whole.stem if named else whole.name)


_COLUMNS = {"data.path_column": "path_column", "data.label_column": "label_column"}


def columns_of(settings: Iterable[str]) -> dict[str, str]:
    """The columns of a table that `--set` names: they have to be known before its pictures can be counted."""
    named = [setting.partition("=") for setting in settings]
    return {_COLUMNS[path.strip()]: text.strip() for path, _, text in named if path.strip() in _COLUMNS}


def check_pictures(pictures: Path, *, columns: Mapping[str, str] | None = None) -> dict[str, int]:
    """How many pictures each class has. Raises DataError, with what to do, if there are no classes.

    columns: from `columns_of`.
    """
    if pictures.is_dir() and not _any_folder(pictures.iterdir()):
        recipes = [path for path in sorted(pictures.glob("*.py")) if is_recipe(path)]
        if recipes:
            names = ", ".join(map(str, recipes[:9]))
            raise RecipeError(f"{pictures} is a folder of recipes and not of pictures; name one: {names}.")
    if not is_table(pictures):
        check_folder(pictures)  # its error says what to do with an archive
    # Silently: the run says later how the pictures are understood, by --set data.group_by, which is not known here.
    return count_pictures(pictures, told=False, group_by="none", **(columns or {}))


def recipe_for(pictures: Path, counts: Mapping[str, int], *, columns: Mapping[str, str] | None = None) -> Loaded:
    """The recipe that `kt new` would write for a folder or table; prints a line about it. Keras must be loaded.

    counts: from `check_pictures`. columns: from `columns_of`.
    """
    name = name_of(pictures)
    text = recipe_text_for(Path(f"{name}.py"), pictures, counts)
    text = text.replace(in_words(f"kt run {typed(f'{name}.py')}"), in_words(f"kt run {typed(pictures)}"), 1)
    loaded = load_text(text, file=pictures, name=name)
    label = (columns or {}).get("label_column")
    say(
        f"recipe: {name}, the one that kt new writes: a linear probe on features of all depths of MobileNetV2; to have "
        f"it as a file: {new_command(pictures, name, label=label)}"
    )
    return loaded


def new_command(pictures: Path, name: str, *, label: str | None = None) -> str:
    """The command that writes the recipe of these pictures as a file. label: the column of a table, if it was named."""
    file = f"recipes/{identifier(name)}.py"
    column = f" --label {shlex.quote(label)}" if label else ""
    return f"kt new {typed(file)} --data {typed(pictures)}{column}"


def identifier(name: str) -> str:
    """The name as a valid name of a Python module."""
    plain = re.sub(r"\W", "_", name)
    return plain if plain.isidentifier() else f"my_{plain}"


def _any_folder(paths: Iterable[Path]) -> bool:
    return any(path.is_dir() and not path.name.startswith((".", "_")) for path in paths)
