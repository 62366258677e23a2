"""`kt compare`: compares strategies of transfer, and shows whether transfer helps at all."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from kt.base.backend import running
from kt.base.console import shown, tell, tell_json, tell_table
from kt.base.files import read_json
from kt.base.names import printable
from kt.base.run_folder import COMPARISON, COMPARISON_PAGE
from kt.cli.options import changed_as, json_option, load_recipe, origin_as, recipe_or_run_options, runs_option, tried
from kt.cli.resume import force_option, job, resume_option
from kt.errors import RecipeError, did_you_mean
from kt.runs import Asked, finish
from kt.strategy.goal import goal


@click.command("compare")
@recipe_or_run_options
@click.option(
    "--only", multiple=True, metavar="NAME",
    help="Compare this strategy alone, such as scratch; may be repeated, or a list a,b.",
)  # fmt: skip
@click.option(
    "--seeds", default="3", show_default=True, metavar="N|A,B,...",
    help="The number of seeds, counted from the recipe's, or a list of seeds.",
)  # fmt: skip
@click.option(
    "--epochs", type=click.IntRange(min=2),
    help="Epochs of each strategy in total. Default: those of the recipe's phases together.",
)  # fmt: skip
@click.option(
    "--scratch-epochs", type=click.IntRange(min=1),
    help="Epochs of scratch, which may need more. Default: as for the others.",
)  # fmt: skip
@click.option(
    "--no-curve", is_flag=True, help="No learning curves; without them a comparison takes half the time or less."
)
@click.option(
    "--budget", default="15m", show_default=True, metavar="TIME",
    help="Time limit, such as 90s, 20m or 2h, or none. What does not fit is left out and listed.",
)  # fmt: skip
@resume_option
@force_option
@runs_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    recipe: Path | None,
    data: str | None,
    target: str | None,
    target_labels: bool,
    settings: tuple[str, ...],
    seed: int | None,
    backend: str | None,
    only: tuple[str, ...],
    seeds: str,
    epochs: int | None,
    scratch_epochs: int | None,
    no_curve: bool,
    budget: str,
    resume: str | None,
    force: bool,
    runs: Path,
    as_json: bool,
) -> None:
    """Say whether transfer helps, and which way.

    Trains the network from scratch, on frozen features, with a linear probe, fine-tuned at the top or as a whole, and
    with layer-wise rates: on the same pictures, for equally many epochs, with several seeds. Prints a table with
    intervals and a verdict: positive transfer, none or negative. The page goes to runs/RECIPE/compare/.

    A few steps of each are timed first. Then it says what will be trained and how long that takes. What does not fit
    into --budget is cut, in this order: points of the learning curves, seeds, pictures, epochs of scratch, strategies.

    An interrupted comparison goes on with --resume: what is trained is not trained again.
    """
    options: Mapping[str, Any] = {
        "only": list(only), "seeds": seeds, "epochs": epochs, "scratch_epochs": scratch_epochs, "no_curve": no_curve,
    }  # fmt: skip
    todo = job(
        context, recipe,
        Asked(
            name="", kind="compare", data=data, target=target, target_labels=target_labels,
            settings=settings, seed=seed, backend=backend, budget=budget,
            options=options,
        ),
        resume=resume, runs=runs, force=force,
    )  # fmt: skip
    asked, options = todo.asked, todo.asked.options
    seconds = None if asked.budget in (None, "none") else goal(None, asked.budget).seconds
    loaded = load_recipe(todo.recipe, backend=asked.backend, settings=asked.settings)
    resolved = tried(loaded, changed_as(loaded, asked))
    counted = seeds_of(options["seeds"], first=resolved.seed)

    from kt.strategy.compare import SHARES, compare
    from kt.strategy.strategies import TITLES, strategies

    named = strategies(resolved, epochs=options["epochs"], scratch_epochs=options["scratch_epochs"])
    named = {name: named[name] for name in _chosen(tuple(options["only"]), list(named))}
    out, loaded = todo.folder(runs / loaded.name / "compare"), todo.named(loaded)
    origin = origin_as(loaded, asked, out=out)
    origin = dataclasses.replace(origin, command=asked.command)
    shares = () if options["no_curve"] else SHARES
    with todo.at_work(out, name=loaded.name, file=origin.file, backend=running()):
        results = compare(named, out, seeds=counted, titles=TITLES, origin=origin, shares=shares, budget=seconds)
        finish(out, headline=None)
    if as_json:
        tell_json(read_json(out / COMPARISON))
        return
    _print(results)
    tell(f"page: {shown(out / COMPARISON_PAGE)}")


def seeds_of(text: str, *, first: int) -> tuple[int, ...]:
    """The seeds of a text: `3` means three seeds from the first on, `0,7,12` a list of seeds."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) < 2**31 for part in parts):
        raise click.BadParameter(
            f"{text!r} is neither a number of seeds nor a list such as 0,1,2.", param_hint="--seeds"
        )
    numbers = tuple(map(int, parts))
    seeds = numbers if len(numbers) > 1 else tuple(range(first, first + numbers[0]))
    if len(seeds) < 2:
        raise RecipeError(
            "An interval needs at least 2 seeds, for one training says nothing of chance; --seeds 3 is usual."
        )
    return seeds


def _chosen(only: tuple[str, ...], known: list[str]) -> list[str]:
    """The named strategies in the usual order; all if none is named."""
    asked = [name.strip().replace("-", "_") for part in only for name in part.split(",")]
    for name in asked:
        if name not in known:
            raise RecipeError(f"There is no strategy {name!r}. {did_you_mean(name, known)}")
    return [name for name in known if name in asked] if asked else known


def _print(results: Mapping[str, Any]) -> None:
    from rich import box
    from rich.table import Table

    from kt.base.numbers import duration, figure, interval
    from kt.report.comparison import points, sentences

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
