"""`kt new`: writes a recipe for the user's own pictures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from kt.base.console import say, tell, warn
from kt.base.few import FEW_BEFORE_SPLITTING
from kt.cli.new_recipe import as_literal, check_new, in_words, recipe_text, write_recipe
from kt.cli.typed import typed
from kt.data.groups import check_group_by
from kt.data.layout import read_layout
from kt.data.tables import is_table, read_table
from kt.data.tables.listing import check_table_group_by
from kt.errors import DataError, RecipeError
from kt.kinds.pictures.find import why_not

NEEDED = 3
"""The fewest pictures of a class, so that train, validation and test have one each."""


@click.command("new")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(path_type=Path), required=True,
              help="Pictures: a folder with one sub-folder a class, a zip of it, or a CSV of path,label.")  # fmt: skip
@click.option("--group-by", default="auto", show_default=True, metavar="WAY",
              help="Which pictures show one thing: folder, prefix, none, a regular expression, a column.")  # fmt: skip
@click.option("--label", metavar="COLUMN", help="The column of a table that has the labels, if its name does not say.")
def command(recipe: Path, data: Path, group_by: str, label: str | None) -> None:
    """Write a recipe for your own pictures.

    RECIPE is the file to write, such as recipes/mushrooms.py. It fits a linear probe on the features of all depths. The
    pictures are counted, not read; if classes differ much in size, they are weighted. The recipe is yours to change.
    """
    check_new(recipe)
    (check_table_group_by if is_table(data) else check_group_by)(group_by)
    check_label_column(label, data)
    counts = count_pictures(data, group_by=group_by, label_column=label)
    write_recipe(recipe, recipe_text_for(recipe, data, counts, group_by=group_by, label_column=label))
    classes = ", ".join(map(in_words, counts))
    tell(f"{in_words(str(recipe))}: {sum(counts.values())} pictures of {len(counts)} classes ({classes})")
    tell(f"next: kt run {typed(recipe)}")
    if few := scarce(counts):
        warn(few)


def scarce(counts: Mapping[str, int]) -> str:
    """A warning if the smallest class has few pictures; empty if it has enough."""
    label, number = min(counts.items(), key=lambda item: item[1])
    smallest = f"class {in_words(label)!r} has {number} picture{'s' if number != 1 else ''}"
    if number < NEEDED:
        return f"{smallest}, and kt run needs {NEEDED} of each, one each for train, validation and test; add some first"
    if number < FEW_BEFORE_SPLITTING:
        return (
            f"{smallest}: with fewer than about {FEW_BEFORE_SPLITTING}, the figures of kt run hang on which pictures "
            "were drawn; it will show how far, and whether more would help"
        )
    return ""


def check_label_column(label: str | None, data: Path) -> None:
    """Raise RecipeError if a column with the labels is named, and the data are no table."""
    if label is not None and not is_table(data):
        raise RecipeError(
            f"--label names a column of a table, and {data} is none; a folder's labels are its sub-folders."
        )


def count_pictures(
    data: Path,
    *,
    told: bool = True,
    group_by: str = "auto",
    path_column: str | None = None,
    label_column: str | None = None,
) -> dict[str, int]:
    """How many pictures each class has, over all splits. The heavy libraries are not loaded.

    told: whether to print how the folder or table is understood, as `kt run` will. group_by, path_column, label_column:
    of the source. Raises DataError if the folder or table can't be understood.
    """
    if is_table(data):
        table = read_table(data, group_by=group_by, path_column=path_column, label_column=label_column)
        _tell([*table.facts], table.notes, told=told)
        return _counted([(picture.file, picture.label) for picture in table.pictures], data, told=told)
    if not data.exists():
        raise DataError(
            f"There is no folder {data}; expected one with a sub-folder a class. (A table is a CSV file of path,label.)"
        )
    layout = read_layout(data, decided=group_by != "auto")
    _tell([*layout.facts, *layout.told_splits()], layout.notes, told=told)
    return _counted([(picture.file, picture.label) for picture in layout.pictures], data, told=told)


def _tell(facts: Sequence[str], notes: Sequence[str], *, told: bool) -> None:
    for fact in facts if told else []:
        say(fact)
    for note in notes if told else []:
        warn(note)


def _counted(pictures: Sequence[tuple[Path, str]], data: Path, *, told: bool) -> dict[str, int]:
    labels = [label for file, label in pictures if not why_not(file)]
    if told and (bad := len(pictures) - len(labels)):
        warn(
            f"{bad} of {len(pictures)} pictures can't be read, such as files that are not there, empty files and links "
            "that lead nowhere"
        )
    counts = dict(sorted(Counter(labels).items()))
    if len(counts) < 2:
        number = "only one class" if counts else "no class"
        expected = "at least two" if is_table(data) else "a sub-folder for each of at least two"
        raise DataError(f"{data} has {number} with pictures; expected {expected}.")
    return counts


def recipe_text_for(
    recipe: Path, data: Path, counts: Mapping[str, int], *, group_by: str = "auto", label_column: str | None = None
) -> str:
    """The recipe's text for a folder or table of pictures."""
    source = "Table" if is_table(data) else "Folder"
    grouped = "" if group_by == "auto" else as_literal(group_by)
    column = as_literal(label_column) if label_column else ""
    return recipe_text(
        "recipe.py.jinja", recipe, data=data, counts=counts, source=source, group_by=grouped, label_column=column
    )
