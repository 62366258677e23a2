"""`kt advise`: whether the user's pictures are few or many, similar or different, and what to do with them."""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kt.base.console import in_lines, tell, tell_json
from kt.cli import new_recipe
from kt.cli.new import check_label_column
from kt.cli.options import backend_option, json_option, load_recipe
from kt.cli.typed import typed
from kt.data.tables import is_table
from kt.errors import DataError, RecipeError
from kt.recipe import Recipe

if TYPE_CHECKING:
    from kt.data import Folder, Table
    from kt.strategy.advise import Advice, Candidate, ProbedFeatures


@click.command("advise")
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--backbones", metavar="NAMES",
              help="Backbones to compare, with commas between. Default: all at hand.")  # fmt: skip
@click.option("--image-size", metavar="HxW",
              help="Height and width of the pictures. Default: what each backbone was trained on.")  # fmt: skip
@click.option("--label", metavar="COLUMN", help="The column of a table that has the labels, if its name does not say.")
@click.option("--write", type=click.Path(path_type=Path), metavar="RECIPE", help="Write the advised recipe here.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the folds and the intervals.")
@backend_option
@json_option
def command(
    data: Path,
    backbones: str | None,
    image_size: str | None,
    label: str | None,
    write: Path | None,
    seed: int,
    backend: str | None,
    as_json: bool,
) -> None:
    """Say what to transfer, and how much.

    DATA is a folder with one sub-folder a class, a CSV of path,label, or a recipe, whose pictures, size and backbone
    are taken. The advice depends on the number of pictures of each class, and on how well frozen features of several
    depths separate the classes. No network is trained, and test pictures are not used.
    """
    size = None if image_size is None else _size(image_size)
    if write is not None:
        _check_writable(write, data=data)
    if data.suffix != ".py":
        check_label_column(label, data)
    elif label is not None:
        raise RecipeError(f"--label names a column of a table; the recipe {data} says it itself, by label_column.")
    if not 0 <= seed < 2**31:
        raise RecipeError(f"--seed must be from 0 to 2147483647, not {seed}.")
    named = None if backbones is None else [name.strip() for name in backbones.split(",") if name.strip()]
    if named is not None and (not named or len(set(named)) < len(named)):
        raise RecipeError(
            f"--backbones must be different names, such as MobileNetV2,EfficientNetLite0, not {backbones!r}."
        )
    recipe = load_recipe(data, backend=backend).recipe if data.suffix == ".py" else None
    names = named or at_hand()
    source = (
        _source(data, size=size or _natural(names), label=label, backend=backend) if recipe is None else recipe.data
    )

    from kt.strategy.advise import advise, pretrained

    if recipe is not None and named is None:
        candidates = _own(recipe)
    else:
        candidates = pretrained(names, natural=size is None and recipe is None)
    advice = advise(source(), candidates, seed=seed)
    if write is not None:
        new_recipe.write_recipe(write, advised_text(write, data, advice, label=label))
    if as_json:
        tell_json({**advice.as_json(), "recipe": None if write is None else str(write)})
    else:
        tell(*for_people(advice, write).split("\n"))


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) in (1, 2) and all(side.isascii() and side.isdigit() for side in sides):
        size = int(sides[0]), int(sides[-1])
        if all(8 <= side <= 4096 for side in size):
            return size
    raise RecipeError(f"--image-size must be height and width from 8 to 4096 pixels, such as 224x224, not {text!r}.")


def _check_writable(file: Path, *, data: Path) -> None:
    if data.suffix == ".py":
        raise RecipeError(f"--write needs a folder or a CSV; {data} is a recipe already, so change that one instead.")
    new_recipe.check_new(file)


def _source(data: Path, *, size: tuple[int, int], label: str | None, backend: str | None) -> "Folder | Table":
    """The pictures' source, split as the written recipe will split it. Keras is loaded only if the path exists."""
    if not data.exists():
        raise DataError(f"There is no {data}; expected a folder with one sub-folder a class, or a CSV of path,label.")
    from kt.base import backend as backends

    backends.start(backend)
    from kt.data import Folder, Table

    return (
        Table(str(data), image_size=size, label_column=label) if is_table(data) else Folder(str(data), image_size=size)
    )


# ----------------------------------------------------------------------------------------------------------- backbones


def _natural(names: Sequence[str]) -> tuple[int, int]:
    """The size at which the pictures are read first: that of the backbone which the others are compared with."""
    from kt.backbones.sizes import natural_size

    side = natural_size("MobileNetV2" if "MobileNetV2" in names else names[0])
    return side, side


def at_hand() -> list[str]:
    """The backbones of the catalogue whose weights are in the cache; else MobileNetV2, which is fetched."""
    from kt.backbones.catalogue import CATALOGUE
    from kt.backbones.fetch import locate

    return [entry.constructor for entry in CATALOGUE if locate(entry)] or ["MobileNetV2"]


def _own(recipe: Recipe) -> dict[str, "Candidate"]:
    """The recipe's own backbone with the recipe's weights."""
    from kt.strategy.advise import Candidate

    name = getattr(recipe.backbone, "__name__", type(recipe.backbone).__name__)
    return {name: Candidate(recipe.backbone, recipe.weights)}


def _library(name: str) -> str:
    from kt import backbones

    return "kt.backbones" if name in backbones.__all__ else "keras.applications"


# -------------------------------------------------------------------------------------------------------------- output


def for_people(advice: "Advice", recipe: Path | None) -> str:
    """The text to print: the quadrant, the reasons, the probes, the strategy and the next command."""
    first = advice.measured[0]
    wide = max(20, *(len(probe.depth) for each in advice.measured for probe in each.probes))
    lines = [f"{advice.quadrant}, {advice.strategy}", "", *advice.why, "", f"{'depth':<{wide + 2}}{_HEADINGS}"]
    for measured in advice.measured:
        probes = measured.probes if measured is first else measured.probes[1:]
        size = "x".join(map(str, measured.image_size or advice.image_size))
        lines += [f"{measured.backbone} at {size}", *(f"  {probe.depth:<{wide}}{_figures(probe)}" for probe in probes)]
    if recipe is not None:
        place = typed(recipe)
        lines += ["", f"{place} is written; next: kt run {place}"]
    return in_lines(lines)


_HEADINGS = f"{'features':>9}{'balanced accuracy':>24}{'5 nearest':>11}{'LogME':>8}{'H-score':>9}"


def _figures(probe: "ProbedFeatures") -> str:
    accuracy = f"{probe.balanced_accuracy:.3f} ({probe.interval[0]:.3f} to {probe.interval[1]:.3f})"
    scores = f"{probe.neighbours:>11.3f}{probe.logme:>8.3f}{probe.h_score:>9.3f}"
    return f"{probe.features:>9,}{accuracy:>24}{scores}"


def advised_text(recipe: Path, data: Path, advice: "Advice", *, label: str | None = None) -> str:
    """The advised recipe's text. label: the column of a table that has the labels."""
    backbone = advice.measured[0].backbone
    values = {
        "summary": textwrap.fill(f"Written by `kt advise`: {advice.quadrant}. {advice.why[-1]}", 118),
        "source": "Table" if is_table(data) else "Folder",
        "label_column": new_recipe.as_literal(label) if label else "",
        "height": advice.image_size[0],
        "width": advice.image_size[1],
        "library": _library(backbone),
        "backbone": backbone,
        "features": "" if advice.features == "top" else f"features={json.dumps(advice.features)}",
        "tuned": {"probe_then_top": "top", "probe_then_all": "all"}.get(advice.strategy, ""),
    }
    return new_recipe.recipe_text("advised.py.jinja", recipe, data=data, counts=advice.per_class, **values)
