"""Options that several verbs share, and how these load, change and describe a recipe."""

import dataclasses
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kt.base import run_folder
from kt.base.console import say
from kt.errors import RecipeError
from kt.recipe import Loaded, Recipe, load

if TYPE_CHECKING:
    from kt.runs.main import Origin

F = TypeVar("F", bound=Callable[..., Any])

RECIPE = click.argument("recipe", type=click.Path(path_type=Path))
"""The argument RECIPE: a recipe's file, or a folder or table of pictures for the recipe that `kt new` would write."""

backend_option = click.option(
    "--backend",
    type=click.Choice(["tensorflow", "jax", "torch"]),
    help="The backend that trains. Default: KERAS_BACKEND or TensorFlow.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")
saved_models_option = click.option(
    "--saved-models", type=click.Path(path_type=Path), default=Path("saved_models"), show_default=True,
    help="The folder of released models.",
)  # fmt: skip
runs_option = click.option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="The folder of runs."
)
no_wait_option = click.option(
    "--no-wait", is_flag=True, help="Move the label at once, if no TensorFlow Serving is running."
)


def changes(command: F) -> F:
    """The options that change a recipe: --data, --set, --seed."""
    command = click.option("--seed", type=int, help="Seed of everything random in training.")(command)
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
    """The options of verbs that train a recipe: its file, changes to it, and the backend."""
    return RECIPE(changes(backend_option(command)))


def recipe_or_run_options(command: F) -> F:
    """The options of verbs that train a recipe and can resume (`kt.cli.resume`), when RECIPE may be left out."""
    argument = click.argument("recipe", required=False, type=click.Path(path_type=Path))
    return argument(changes(backend_option(command)))


def missing_pictures(recipe: Recipe) -> Path | None:
    """The folder or table that the recipe reads, if it does not exist; else None."""
    from kt.data.sources import place_field

    field = place_field(recipe.data)
    path = None if field is None else Path(getattr(recipe.data, field)).expanduser()
    return path if path is not None and not path.exists() else None


def changed(loaded: Loaded, *, data: str | None, settings: tuple[str, ...], seed: int | None) -> Recipe:
    """The recipe with the command line's changes: --data first, then each --set, then --seed."""
    from kt.parts import named as parts

    recipe = loaded.recipe
    if data is not None:
        if loaded.text is not None:
            raise RecipeError(f"{loaded.file} is the pictures, and --data names others; leave one of them out.")
        recipe = dataclasses.replace(recipe, data=own_pictures(Path(data), recipe.data))
    recipe = parts.changed(recipe, settings)
    return recipe if seed is None else dataclasses.replace(recipe, seed=seed)


def tried(loaded: Loaded, recipe: Recipe) -> Recipe:
    """The recipe, tried without data, so that a mistake is reported before pictures are read.

    A recipe with its own `run`, and one that kt wrote, are not tried.
    """
    from kt.runs.main import run

    if loaded.text is None and loaded.run in (None, run):
        from kt.training.rehearsal import rehearse

        rehearse(recipe)
    return recipe


def own_pictures(path: Path, source: Any) -> Any:
    """A Folder or Table of the user's own pictures, with the picture and batch size of the recipe's source."""
    from kt.data import Folder, Table
    from kt.data.layout import check_folder
    from kt.data.tables import is_table

    shared = {name: getattr(source, name) for name in ("image_size", "batch_size") if hasattr(source, name)}
    if is_table(path):
        return dataclasses.replace(source if isinstance(source, Table) else Table(path, **shared), file=str(path))
    check_folder(path)  # reports a missing folder at once
    return dataclasses.replace(source if isinstance(source, Folder) else Folder(path, **shared), root=str(path))


def load_recipe(file: Path, *, backend: str | None, mixed_precision: bool = False) -> Loaded:
    """Load a recipe's file under a backend. Keras must not be loaded before.

    For a folder or table of pictures it gives the recipe that `kt new` would write.
    """
    from kt.base import backend as backends
    from kt.cli.from_pictures import check_pictures, is_pictures, recipe_for

    if is_pictures(file):
        counts = check_pictures(file)  # before the seconds that Keras takes to load
        backends.start(backend, mixed_precision=mixed_precision)
        return recipe_for(file, counts)
    if file.suffix != ".py" or not file.is_file():
        load(file)  # raises an error that lists the recipes, without the seconds that Keras takes to load
        raise RecipeError(f"{file} is not a recipe file.")
    backends.start(backend, mixed_precision=mixed_precision)
    return with_data_found(load(file))


def with_data_found(loaded: Loaded) -> Loaded:
    """The recipe with its pictures found: a relative path that does not exist here is sought above the recipe's file.

    So a recipe that was written in one folder can be run, and its run exported, from another.
    """
    from kt.data.sources import place_field

    source: Any = loaded.recipe.data
    field = place_field(source)
    if field is None:
        return loaded
    path = Path(getattr(source, field)).expanduser()
    above = [folder / path for folder in loaded.file.resolve().parents]
    if path.is_absolute() or path.exists() or not (existing := [place for place in above if place.exists()]):
        return loaded
    say(f"data: there is no {path} here; it is taken from {existing[0]}, as seen from the recipe's file")
    source = dataclasses.replace(source, **{field: str(existing[0])})
    return dataclasses.replace(loaded, recipe=dataclasses.replace(loaded.recipe, data=source))


def origin_of(
    loaded: Loaded,
    *,
    data: str | None,
    settings: tuple[str, ...],
    out: Path,
) -> "Origin":
    """What the run was asked for, for its report; a recipe that is in no file yet is written into `out`."""
    from kt.runs.main import Origin

    file = loaded.file
    if loaded.text is not None:
        file = out / run_folder.RECIPE
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
    """The command as it was typed, for a shell."""
    return shlex.join(["kt", *sys.argv[1:]])
