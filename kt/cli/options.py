"""Options that several verbs share, and a recipe as they load, change and tell of it."""

import dataclasses
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kt.console import say
from kt.errors import RecipeError
from kt.recipe import Loaded, Recipe, load, override

if TYPE_CHECKING:
    from kt.run import Origin

F = TypeVar("F", bound=Callable[..., Any])

RECIPE = click.argument("recipe", type=click.Path(path_type=Path))
"""A recipe's file; or the pictures themselves, a folder or a table, for the recipe that `kt new` would write."""

backend_option = click.option(
    "--backend",
    type=click.Choice(["tensorflow", "jax", "torch"]),
    help="What trains. Default: KERAS_BACKEND or TensorFlow.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
saved_models_option = click.option(
    "--saved-models", type=click.Path(path_type=Path), default=Path("saved_models"), show_default=True,
    help="Where released models lie.",
)  # fmt: skip
runs_option = click.option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Where runs are kept."
)
no_wait_option = click.option(
    "--no-wait", is_flag=True, help="Move the label at once; for where no TensorFlow Serving is running."
)


def changes(command: F) -> F:
    """The options that change a recipe: --data, --set, --seed."""
    command = click.option("--seed", type=int, help="Seed of all that is random in training.")(command)
    command = click.option(
        "--set", "settings", multiple=True, metavar="NAME=VALUE",
        help="Change a field, such as fine_tune.lr=3e-6; may be repeated.",
    )(command)  # fmt: skip
    return click.option(
        "--data",
        metavar="PATH",
        help="Your own pictures: a folder with one sub-folder a class, or a CSV of path,label.",
    )(command)


def recipe_options(command: F) -> F:
    """For what trains a recipe: its file, the options that change it, and what trains."""
    return RECIPE(changes(backend_option(command)))


def missing_pictures(recipe: Recipe) -> Path | None:
    """The folder or table that the recipe wants to read, where there is none."""
    from kt.data.sources import Folder, Table

    source: Any = recipe.data
    place = source.root if isinstance(source, Folder) else source.file if isinstance(source, Table) else None
    path = None if place is None else Path(place).expanduser()
    return path if path is not None and not path.exists() else None


def changed(loaded: Loaded, *, data: str | None, settings: tuple[str, ...], seed: int | None) -> Recipe:
    """The recipe as the command line changes it: --data first, then each --set, then --seed."""
    recipe = loaded.recipe
    if data is not None:
        if loaded.text is not None:
            raise RecipeError(f"{loaded.file} is the pictures, and --data names others; leave one of them out.")
        recipe = dataclasses.replace(recipe, data=own_pictures(Path(data), recipe.data))
    recipe = override(recipe, settings)
    return recipe if seed is None else dataclasses.replace(recipe, seed=seed)


def tried(loaded: Loaded, recipe: Recipe) -> Recipe:
    """The recipe, tried out on nothing, so that a mistake is told before pictures are read; one that runs by itself
    is left alone, and so is one that kt wrote.
    """
    from kt.run import run

    if loaded.text is None and loaded.run in (None, run):
        from kt.check import check

        check(recipe)
    return recipe


def own_pictures(path: Path, source: Any) -> Any:
    """A Folder or Table of one's own pictures, with the size and batch of the recipe's source."""
    from kt.data import Folder, Table
    from kt.data.layout import check_folder
    from kt.data.tables import is_table

    shared = {name: getattr(source, name) for name in ("image_size", "batch_size") if hasattr(source, name)}
    if is_table(path):
        return dataclasses.replace(source if isinstance(source, Table) else Table(path, **shared), file=str(path))
    check_folder(path)  # a missing folder is told at once
    return dataclasses.replace(source if isinstance(source, Folder) else Folder(path, **shared), root=str(path))


def load_recipe(file: Path, *, backend: str | None, mixed_precision: bool = False) -> Loaded:
    """Load a recipe's file under the backend that is asked for; Keras must not be loaded before.

    For a folder of pictures, or a table of them, it is the recipe that `kt new` would write.
    """
    from kt import backend as backends
    from kt.cli.from_pictures import check_pictures, is_pictures, recipe_for

    if is_pictures(file):
        counts = check_pictures(file)  # before the seconds that Keras takes to load
        backends.start(backend, mixed_precision=mixed_precision)
        return recipe_for(file, counts)
    if file.suffix != ".py" or not file.is_file():
        load(file)  # says what is there instead, without the seconds that Keras takes to load
        raise RecipeError(f"{file} is not a recipe file.")
    backends.start(backend, mixed_precision=mixed_precision)
    return with_data_found(load(file))


def with_data_found(loaded: Loaded) -> Loaded:
    """The recipe with a relative path to its pictures looked for above its file, where it is not in this folder.

    So a recipe that was written in one folder can be run, and its run be exported, from another.
    """
    from kt.data.sources import Folder, Table

    source: Any = loaded.recipe.data
    field = "root" if isinstance(source, Folder) else "file" if isinstance(source, Table) else None
    if field is None:
        return loaded
    path = Path(getattr(source, field)).expanduser()
    above = [folder / path for folder in loaded.file.resolve().parents]
    if path.is_absolute() or path.exists() or not (there := [place for place in above if place.exists()]):
        return loaded
    say(f"data: there is no {path} here; it is taken from {there[0]}, as seen from the recipe's file")
    source = dataclasses.replace(source, **{field: str(there[0])})
    return dataclasses.replace(loaded, recipe=dataclasses.replace(loaded.recipe, data=source))


def origin_of(
    loaded: Loaded,
    *,
    data: str | None,
    settings: tuple[str, ...],
    out: Path,
) -> "Origin":
    """What was asked for, to be told with what came of it; a recipe that is in no file yet is written into `out`."""
    from kt.run import Origin

    file = loaded.file
    if loaded.text is not None:
        file = out / "recipe.py"
        file.write_text(loaded.text, encoding="utf-8")
    return Origin(
        name=loaded.name,
        file=file,
        description=loaded.description,
        settings=settings,
        data=data,
        command=command_line(),
    )


def command_line() -> str:
    """The command as it was given, to be given again."""
    return shlex.join(["kt", *sys.argv[1:]])
