"""`kt.train("photos/")`: does all that `kt run` does, in one call."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kt.base.run_folder import RECIPE
from kt.errors import DataError, RecipeError
from kt.interactive.result import Result
from kt.parts import named as parts
from kt.recipe import Loaded, Recipe


def train(
    data: str | os.PathLike[str] | Recipe,
    *,
    name: str | None = None,
    export: Sequence[str | Callable[[Any, Path], Path]] | None = None,
    settings: Sequence[str] = (),
    seed: int | None = None,
    backend: str | None = None,
    runs: str | os.PathLike[str] = "runs",
    saved_models: str | os.PathLike[str] = "saved_models",
) -> Result:
    """Train, measure, export, check and report, as `kt run` does, and give the results.

    data: a folder with one sub-folder a class, a table of pictures, a recipe's file, or a `Recipe`. name: of the runs
    and of the model; by default that of the folder or file. export: formats, such as `["tflite"]`; `[]` for none; by
    default those of the recipe. settings: changes to the recipe, such as `["data.image_size=96x96"]`. backend: that
    trains; by default the one that Keras is loaded on, or TensorFlow. Raises KtError, with a message of one line.
    """
    loaded = _loaded(data, backend=backend)
    name = _checked(name, loaded)
    recipe = parts.changed(loaded.recipe, list(settings))
    changes: dict[str, Any] = {} if seed is None else {"seed": seed}
    if export is not None:
        changes["export"] = export
    recipe = dataclasses.replace(recipe, **changes)

    from kt.cli.options import origin_of
    from kt.export.job import check_packages
    from kt.runs import mark_latest, new_run
    from kt.runs.main import run

    check_packages(recipe.export)
    out = new_run(Path(runs) / name)
    exported = ["export=" + ",".join(map(str, export))] if export is not None and _named(export) else []
    origin = origin_of(dataclasses.replace(loaded, name=name), data=None, settings=(*settings, *exported), out=out)
    if isinstance(data, Recipe):
        origin = dataclasses.replace(origin, file=None)
    origin = dataclasses.replace(origin, command="", saved_models=Path(saved_models))
    results = run(recipe, out, origin=origin)
    mark_latest(out)
    return Result(name=name, folder=out, figures=results)


def _loaded(data: Any, *, backend: str | None) -> Loaded:
    if isinstance(data, Recipe):
        from kt.base import backend as backends

        backends.start(backend)
        return Loaded(data, Path(RECIPE), "recipe", "")
    if not isinstance(data, str | os.PathLike):
        raise RecipeError(
            f"kt.train takes a folder of pictures, a table of them, or a recipe, not {type(data).__name__}; such as "
            'kt.train("photos/").'
        )
    from kt.cli.options import load_recipe

    path = Path(data).expanduser()
    if not path.exists() and path.suffix != ".py":
        raise DataError(f"There is no {path}; expected a folder with one sub-folder a class, or a CSV of path,label.")
    return load_recipe(path, backend=backend)


def _named(export: Sequence[Any]) -> bool:
    return all(isinstance(item, str) for item in export)


def _checked(name: str | None, loaded: Loaded) -> str:
    from kt.cli.from_pictures import safe_name

    if name is None:
        return loaded.name
    if not isinstance(name, str) or safe_name(name) != name:
        raise RecipeError(f"name has letters, digits, '_', '-' and '.', as that of a folder, not {name!r}.")
    return name
