"""The recipe of a finished run, with the run's changes and on the pictures that it read."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kt.base.console import say
from kt.cli.options import changed
from kt.errors import DataError
from kt.recipe import Loaded, Recipe


def recipe_again(loaded: Loaded, report: Mapping[str, Any], run: Path) -> Recipe:
    """The recipe of a run, whose pictures are found from any folder.

    loaded: from the run's `recipe.py`. report: its `report.json`. Raises DataError, with all places that were tried, if
    the pictures are gone.
    """
    from kt.data.sources import places_of, reading_from

    asked = report["recipe"]
    earlier = asked.get("pictures")  # an earlier kt wrote one place, without its field
    read: Mapping[str, str] = asked.get("places") or ({} if earlier is None else {"": earlier})
    # --data and --target must be found first, since replacing the recipe's data looks at the folder or table.
    data, target = (
        None if asked.get(name) is None else str(_place_of(Path(asked[name]), [*read.values(), None][place], run))
        for name, place in (("data", 0), ("target", len(read) - 1))
    )
    recipe = changed(
        loaded, data=data, target=target, target_labels=asked.get("target_labels", False),
        settings=tuple(asked["settings"]), seed=report["seed"],
    )  # fmt: skip
    source: Any = recipe.data
    for field, path in places_of(source).items():
        place = _place_of(path, read.get(field, earlier), run, said=str(path) in (data, target))
        source = reading_from(source, field, place)
    return dataclasses.replace(recipe, data=source)


def _place_of(path: Path, read: str | None, run: Path, *, said: bool = False) -> Path:
    """Where the run read its pictures; if that is unknown or gone, the path from here or from above the run.

    path: as it was given. read: where the run found it. said: whether the place was printed before.
    """
    path = path.expanduser()
    if read is not None and Path(read).exists():
        if path.exists() and path.samefile(read):
            return path  # as it was given, because a recipe's own functions may read it
        place, why = Path(read), "where it read them"
    else:
        above = [] if path.is_absolute() else [folder / path for folder in run.resolve().parents]
        existing = next((candidate for candidate in (path, *above) if candidate.exists()), None)
        if existing is None:
            raise DataError(_not_there(path, read, run))
        place = existing
        why = "for it does not say in which folder" if read is None else f"for {read} is gone"
    if not said and not path.is_absolute():
        say(f"data: the run read {path}; it is taken from {place.absolute()}, {why}")
    return place


def _not_there(path: Path, read: str | None, run: Path) -> str:
    """The error: what is missing, all places that were tried, and what to do."""
    here = "" if path.is_absolute() else f", from {Path.cwd()} and from each folder above {run}"
    tried = [f"{read}, where it read them"] if read is not None else []
    tried += [f"{path}{here}"] if read != str(path) else []
    return (
        f"The pictures of {run} are not there; tried: {'; '.join(tried)}. Put them back, or call kt export from "
        "the folder that the run was started in."
    )
