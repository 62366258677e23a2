"""`kt compare`: what to transfer, and whether it helps at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from kt.cli.options import changed, json_option, load_recipe, origin_of, recipe_options, runs_option, tried
from kt.cli.run_folder import new_run, read_json
from kt.console import shown, tell, tell_json, tell_table
from kt.errors import RecipeError, did_you_mean
from kt.goal import goal
from kt.names import printable


@click.command("compare")
@recipe_options
@click.option(
    "--only", multiple=True, metavar="NAME",
    help="Compare this strategy alone, such as scratch; may be repeated, or a list a,b.",
)  # fmt: skip
@click.option(
    "--seeds", default="3", show_default=True, metavar="N|A,B,...",
    help="How many seeds, counted from the recipe's, or which.",
)  # fmt: skip
@click.option(
    "--epochs", type=click.IntRange(min=2),
    help="Epochs of each strategy in total. Default: those of the recipe's phases together.",
)  # fmt: skip
@click.option(
    "--scratch-epochs", type=click.IntRange(min=1),
    help="Epochs of scratch, which may need more. Default: as the others.",
)  # fmt: skip
@click.option("--no-curve", is_flag=True, help="No learning curves; a comparison takes half the time or less without.")
@click.option(
    "--budget", default="15m", show_default=True, metavar="TIME",
    help="What it may take, such as 90s, 20m or 2h; what does not fit is left out, and said. none: no limit.",
)  # fmt: skip
@runs_option
@json_option
def command(
    recipe: Path,
    data: str | None,
    settings: tuple[str, ...],
    seed: int | None,
    backend: str | None,
    only: tuple[str, ...],
    seeds: str,
    epochs: int | None,
    scratch_epochs: int | None,
    no_curve: bool,
    budget: str,
    runs: Path,
    as_json: bool,
) -> None:
    """Say whether transfer helps, and which way.

    Trains the network from scratch, on frozen features, with a linear probe, fine-tuned at the top or in all, and with
    layer-wise rates: on the same pictures, for as many epochs, with several seeds. Ends in a table with intervals and a
    verdict: positive transfer, none or negative. The page goes to runs/RECIPE/compare/.

    A few steps of each are timed first, and it is said what will be trained and how long that takes. What does not fit
    into --budget is cut: points of the learning curves, seeds, pictures, epochs of scratch, ways, in this order.
    """
    seconds = None if budget == "none" else goal(None, budget).seconds
    loaded = load_recipe(recipe, backend=backend)
    resolved = tried(loaded, changed(loaded, data=data, settings=settings, seed=seed))
    counted = _seeds(seeds, first=resolved.seed)

    from kt.strategy.compare import SHARES, compare
    from kt.strategy.strategies import TITLES, strategies

    named = strategies(resolved, epochs=epochs, scratch_epochs=scratch_epochs)
    named = {name: named[name] for name in _chosen(only, list(named))}
    out = new_run(runs / loaded.name / "compare")
    origin = origin_of(loaded, data=data, settings=settings, out=out)
    shares = () if no_curve else SHARES
    results = compare(named, out, seeds=counted, titles=TITLES, origin=origin, shares=shares, budget=seconds)
    if as_json:
        tell_json(read_json(out / "compare.json"))
        return
    _print(results)
    tell(f"page: {shown(out / 'compare.html')}")


def _seeds(text: str, *, first: int) -> tuple[int, ...]:
    """`3` as so many from the first on, `0,7,12` as these."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < 2**31 for part in parts):
        raise click.BadParameter(
            f"{text!r} is neither a number of seeds nor a list such as 0,1,2.", param_hint="--seeds"
        )
    given = tuple(map(int, parts))
    found = given if len(given) > 1 else tuple(range(first, first + given[0]))
    if len(found) < 2:
        raise RecipeError(
            "An interval needs at least 2 seeds, for one training says nothing of chance; --seeds 3 is usual."
        )
    return found


def _chosen(only: tuple[str, ...], known: list[str]) -> list[str]:
    """The strategies that are asked for, in the usual order; all where none is named."""
    asked = [name.strip().replace("-", "_") for part in only for name in part.split(",")]
    for name in asked:
        if name not in known:
            raise RecipeError(f"There is no strategy {name!r}. {did_you_mean(name, known)}")
    return [name for name in known if name in asked] if asked else known


def _print(results: Mapping[str, Any]) -> None:
    from rich import box
    from rich.table import Table

    from kt.report.comparison import points, sentences
    from kt.report.numbers import duration, figure, interval

    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("strategy")
    for title in ("balanced accuracy", "against scratch", "time"):
        table.add_column(title, justify="right")
    for row in results["strategies"]:
        against = row["against_scratch"]
        table.add_row(
            printable(row["title"]) + (" *" if row["name"] == results["best"] else ""),
            "failed" if row["error"] else f"{figure(row['balanced_accuracy'])} ({interval(row['interval'])})",
            f"{points(against['balanced_accuracy'])} ({' to '.join(map(points, against['interval']))})"
            if against
            else "",
            duration(row["seconds"]),
        )
    tell_table(table)
    tell("On test, with 95% intervals; against scratch in points. * best on validation.")
    tell(*sentences(results), *results["notes"])
