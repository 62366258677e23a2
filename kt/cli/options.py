"""Options that several verbs share, and how these load, change and describe a recipe."""

import dataclasses
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kt.base import run_folder
from kt.cli.own_data import with_data, with_data_found, with_target
from kt.errors import RecipeError
from kt.recipe import Loaded, Recipe, load

if TYPE_CHECKING:
    from kt.runs import Asked
    from kt.runs.origin import Origin

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


def by_class(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[tuple[str, float], ...]:  # fmt: skip
    """A callback for options of `LABEL=NUMBER`: the name of a class, which may hold `=`, and a number from 0 to 1."""
    pairs = []
    for value in values:
        label, _, text = value.rpartition("=")
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not label or not 0 < number < 1:
            raise click.BadParameter(f"{value!r} is not a class and a number between 0 and 1, such as good=0.9")
        pairs.append((label, number))
    return tuple(pairs)


def decision_options(command: F) -> F:
    """The options that say how scores become labels and sets: --abstain-below, --threshold, --sets."""
    command = click.option(
        "--sets", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="COVERAGE",
        help="Add the set of classes that holds the true one in this share of cases, such as 0.9.",
    )(command)  # fmt: skip
    command = click.option(
        "--threshold", "thresholds", multiple=True, callback=by_class, metavar="LABEL=SCORE",
        help="Give this label from this score on, and not below; may be repeated, the first counts.",
    )(command)  # fmt: skip
    return click.option(
        "--abstain-below", type=click.FloatRange(0, 1), default=0.0, metavar="SCORE",
        help="Give no label where the top score is lower: the picture is unsure.",
    )(command)  # fmt: skip


def changes(command: F) -> F:
    """The options that change a recipe: --data, --target, --target-labels, --set, --seed."""
    command = click.option("--seed", type=int, help="Seed of everything random in training.")(command)
    command = click.option(
        "--set", "settings", multiple=True, metavar="NAME=VALUE",
        help="Change a field, such as fine_tune.lr=3e-6; may be repeated.",
    )(command)  # fmt: skip
    command = click.option(
        "--target-labels", is_flag=True,
        help="Read labels of --target too, for the figures at the end alone.",
    )(command)  # fmt: skip
    command = click.option(
        "--target", metavar="PATH",
        help="Examples of the domain where the model is to work, without labels: a folder, a zip, or a table of rows.",
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


def changed(
    loaded: Loaded,
    *,
    data: str | None,
    settings: tuple[str, ...],
    seed: int | None,
    target: str | None = None,
    target_labels: bool | None = False,
) -> Recipe:
    """The recipe with the command line's changes: --data first, then each --set, then --target and --seed.

    So a size that --set gives is the target's too.
    """
    from kt.parts import named as parts

    recipe = loaded.recipe
    if data is not None:
        if loaded.text is not None:
            raise RecipeError(f"{loaded.file} is the pictures, and --data names others; leave one of them out.")
        recipe = dataclasses.replace(recipe, data=with_data(recipe.data, Path(data)))
    recipe = parts.changed(recipe, settings)
    if target is not None:
        recipe = dataclasses.replace(recipe, data=with_target(recipe.data, Path(target), labelled=target_labels))
    elif target_labels:
        raise RecipeError("--target-labels says that the examples of --target have labels; add --target PATH.")
    return recipe if seed is None else dataclasses.replace(recipe, seed=seed)


def changed_as(loaded: Loaded, asked: "Asked") -> Recipe:
    """The recipe with the changes that a run was asked for."""
    return changed(
        loaded, data=asked.data, target=asked.target, target_labels=asked.target_labels, settings=asked.settings,
        seed=asked.seed,
    )  # fmt: skip


def tried(loaded: Loaded, recipe: Recipe) -> Recipe:
    """The recipe, tried without data, so that a mistake is reported before pictures are read.

    A recipe with its own `run`, and one that kt wrote, are not tried.
    """
    from kt.runs.main import run

    if loaded.text is None and loaded.run in (None, run):
        from kt.training.rehearsal import rehearse

        rehearse(recipe)
    return recipe


def load_recipe(
    file: Path, *, backend: str | None, mixed_precision: bool = False, settings: tuple[str, ...] = ()
) -> Loaded:
    """Load a recipe's file under a backend. Keras must not be loaded before.

    For a folder or table of pictures it gives the recipe that `kt new` would write. settings: those of `--set`, for the
    names of a table's columns; the others are not applied.
    """
    from kt.base import backend as backends
    from kt.cli.from_pictures import check_pictures, columns_of, is_pictures, recipe_for

    if is_pictures(file):
        columns = columns_of(settings)
        counts = check_pictures(file, columns=columns)  # before the seconds that Keras takes to load
        backends.start(backend, mixed_precision=mixed_precision)
        return recipe_for(file, counts, columns=columns)
    if file.suffix != ".py" or not file.is_file():
        load(file)  # raises an error that lists the recipes, without the seconds that Keras takes to load
        raise RecipeError(f"{file} is not a recipe file.")
    backends.start(backend, mixed_precision=mixed_precision)
    return with_data_found(load(file))


def origin_of(
    loaded: Loaded,
    *,
    data: str | None,
    settings: tuple[str, ...],
    out: Path,
    target: str | None = None,
    target_labels: bool | None = False,
) -> "Origin":
    """What the run was asked for, for its report; a recipe that is in no file yet is written into `out`."""
    from kt.runs.origin import Origin

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
        target=target,
        target_labels=target_labels,
        command=command_line(),
    )


def origin_as(loaded: Loaded, asked: "Asked", *, out: Path) -> "Origin":
    """`origin_of` with all changes that a run was asked for."""
    return origin_of(
        loaded,
        data=asked.data,
        target=asked.target,
        target_labels=asked.target_labels,
        settings=asked.settings,
        out=out,
    )


def command_line() -> str:
    """The command as it was typed, for a shell."""
    return shlex.join(["kt", *sys.argv[1:]])
