"""`kt new`: write a recipe for one's own pictures."""

from collections.abc import Mapping
from pathlib import Path

import click

from kt.errors import DataError, RecipeError

IMBALANCED = 2.0
"""From this ratio of the largest to the smallest class on, the new recipe weighs the classes."""

FEW = 1000
"""Below so many pictures, the new recipe augments them."""


@click.command("new")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True, help="A folder with one sub-folder a class.")
def command(recipe: Path, data: Path) -> None:
    """Write a RECIPE, such as recipes/mushrooms.py, that fits the number and balance of the pictures in a folder."""
    if recipe.suffix != ".py" or not recipe.stem.isidentifier():
        raise RecipeError(f"{recipe}: a recipe is a Python file with a plain name, such as recipes/mushrooms.py.")
    if recipe.exists():
        raise RecipeError(f"{recipe} is there already; remove it first, or choose another name.")
    counts = count_pictures(data)
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(render(recipe, data, counts), encoding="utf-8")
    click.echo(f"{recipe}: {sum(counts.values())} pictures of {len(counts)} classes ({', '.join(counts)})")
    click.echo(f"next: kt run {recipe}")


def count_pictures(data: Path) -> dict[str, int]:
    """How many pictures each class has, over all splits; the heavy libraries stay unloaded."""
    if not data.is_dir():
        raise DataError(f"There is no folder {data}; expected one with a sub-folder a class.")
    inside = {path.name for path in data.iterdir() if path.is_dir()}
    splits = inside & {"train", "validation", "valid", "val", "test"} if "train" in inside else set()
    folders = [data / name for name in sorted(splits)] if len(splits) > 1 else [data]
    counts: dict[str, int] = {}
    for folder in folders:
        for path in sorted(folder.iterdir()):
            if path.is_dir() and not path.name.startswith("."):
                number = sum(1 for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
                counts[path.name] = counts.get(path.name, 0) + number
    counts = {label: number for label, number in sorted(counts.items()) if number}
    if len(counts) < 2:
        raise DataError(f"{data} has {len(counts)} classes; expected a sub-folder for each of at least two.")
    return counts


def render(recipe: Path, data: Path, counts: Mapping[str, int]) -> str:
    """The recipe's text, from what the folder holds."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    template = Environment(  # noqa: S701 - this is Python, not HTML
        loader=PackageLoader("kt", "cli"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).get_template("recipe.py.jinja")
    return template.render(
        title=recipe.stem.replace("_", " "),
        file=recipe.as_posix(),
        data=data.as_posix(),
        # It stands in a docstring: what would end that, or escape, is taken out of a folder's name.
        counts=", ".join(f"{number} {label}" for label, number in counts.items()).replace('"', "'").replace("\\", "/"),
        balanced=max(counts.values()) >= IMBALANCED * min(counts.values()),
        augment=sum(counts.values()) < FEW,
    ) + "\n"  # fmt: skip
