"""`kt show`: checks a recipe and prints it as it would run."""

from pathlib import Path

import click

from kt.base.console import tell, tell_json, warn
from kt.cli.options import RECIPE, changed, changes, json_option, load_recipe, tried
from kt.cli.own_data import missing_pictures
from kt.recipe import describe


@click.command("show")
@RECIPE
@changes
@json_option
def command(
    recipe: Path,
    data: str | None,
    target: str | None,
    target_labels: bool,
    settings: tuple[str, ...],
    seed: int | None,
    as_json: bool,
) -> None:
    """Check a recipe and print it as it would run.

    Prints every field, with --data, --target, --set and --seed applied. No picture is read and nothing is trained.
    """
    loaded = load_recipe(recipe, backend=None, settings=settings)
    shown = tried(
        loaded, changed(loaded, data=data, target=target, target_labels=target_labels, settings=settings, seed=seed)
    )
    resolved = describe(shown)
    if missing := missing_pictures(shown):
        warn(f"there is no {missing}, so kt run would find no pictures; --data names others")
    if as_json:
        tell_json({"name": loaded.name, "description": loaded.description, **resolved}, indent=2)
        return
    tell(*loaded.description.split("\n"), "")
    for name, value in resolved.items():
        if name == "phases":
            for phase in value:
                tell(f"{phase['name']:<14}{_one_line({key: phase[key] for key in phase if key != 'name'})}")
        else:
            tell(f"{name:<14}{_one_line(value)}")


def _one_line(value: object) -> str:
    if isinstance(value, dict):
        kind = value.get("kind", "")
        inside = ", ".join(
            f"{key}={f'({_one_line(item)})' if isinstance(item, list) else _one_line(item)}"
            for key, item in value.items()
            if key != "kind" and item is not None
        )
        return f"{kind}({inside})" if kind else inside
    if isinstance(value, list):
        return ", ".join(map(_one_line, value))
    return str(value)
