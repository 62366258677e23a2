"""The user's own data in a recipe: --data, --target and --target-labels."""

import dataclasses
from pathlib import Path
from typing import Any

from kt.base.console import say
from kt.errors import DataError, RecipeError
from kt.recipe import Loaded, Recipe


def own_pictures(path: Path, source: Any) -> Any:
    """A Folder or Table of the user's own pictures, with the picture and batch size of the recipe's source.

    A source that reads a table or folder itself keeps all of its settings, but for decisions on single pictures.
    """
    from kt.data import Folder, Records, Table
    from kt.data.layout import check_folder
    from kt.data.tables import is_table

    shared = {name: getattr(source, name) for name in ("image_size", "batch_size") if hasattr(source, name)}
    if is_table(path):
        like = source if isinstance(source, Table | Records) else Table(path, **shared)
        return dataclasses.replace(_undecided(like), file=str(path))
    check_folder(path)  # reports a missing folder at once
    folder = source if isinstance(source, Folder) else Folder(path, **shared)
    return dataclasses.replace(_undecided(folder), root=str(path))


def _undecided(source: Any) -> Any:
    """The source without `fixes`: they name the pictures of its own folder or table."""
    return dataclasses.replace(source, fixes=None) if getattr(source, "fixes", None) is not None else source


def with_data(source: Any, path: Path) -> Any:
    """A recipe's data with the user's own in their place; of two domains, in place of the source domain."""
    from kt.data import Domains

    if not isinstance(source, Domains):
        return own_pictures(path, source)
    say("data: --data takes the place of the recipe's source domain; the target domain stays")
    return dataclasses.replace(source, source=own_pictures(path, source.source))


def with_target(source: Any, path: Path, *, labelled: bool | None) -> Any:
    """A recipe's data as the source domain, with a target domain of the user's own.

    labelled: read the target as --data would be read; None does so if its labels are the source's classes. Its labels
    reach the test split alone. Otherwise its labels are not read, even if it has some. Raises DataError if there is
    nothing at the path, RecipeError if the source domain is read from there too.
    """
    from kt.data import Domains, Unlabelled
    from kt.data.sources import places_of
    from kt.data.sources.domains import PerhapsLabelled

    own = source.source if isinstance(source, Domains) else source
    path = path.expanduser()
    if not path.exists():
        goal = "; a goal for validation is --goal METRIC=VALUE" if "=" in str(path) else ""
        raise DataError(f"There is no {path}; --target takes the examples of another domain: a folder or table{goal}.")
    if any(place.exists() and place.samefile(path) for place in places_of(own).values()):
        raise RecipeError(f"--target names {path}, which is the source domain; name the examples of another domain.")
    if labelled is False:
        return Domains(own, Unlabelled(str(path)))
    with_labels = own_pictures(path, own)
    return Domains(own, with_labels if labelled else PerhapsLabelled(with_labels))


def missing_pictures(recipe: Recipe) -> Path | None:
    """The first folder or table that the recipe reads and that does not exist; None if all do."""
    from kt.data.sources import places_of

    return next((path for path in places_of(recipe.data).values() if not path.exists()), None)


def with_data_found(loaded: Loaded) -> Loaded:
    """The recipe with its data found: a relative path that does not exist here is sought above the recipe's file.

    So a recipe that was written in one folder can be run, and its run exported, from another.
    """
    from kt.data.sources import places_of, reading_from

    source: Any = loaded.recipe.data
    for field, path in places_of(source).items():
        above = [folder / path for folder in loaded.file.resolve().parents]
        if path.is_absolute() or path.exists() or not (existing := [place for place in above if place.exists()]):
            continue
        say(f"data: there is no {path} here; it is taken from {existing[0]}, as seen from the recipe's file")
        source = reading_from(source, field, existing[0])
    return loaded if source is loaded.recipe.data else _with_source(loaded, source)


def _with_source(loaded: Loaded, source: Any) -> Loaded:
    return dataclasses.replace(loaded, recipe=dataclasses.replace(loaded.recipe, data=source))
