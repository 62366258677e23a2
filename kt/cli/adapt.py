"""`kt adapt`: compares ways to adapt to another domain, and says whether adapting helps."""

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kt.base.backend import running
from kt.base.console import shown, tell, tell_json, tell_table
from kt.base.files import read_json
from kt.base.names import printable
from kt.base.run_folder import ADAPTATION, ADAPTATION_PAGE
from kt.cli.compare import seeds_of
from kt.cli.new_recipe import check_new, write_recipe
from kt.cli.options import changed_as, json_option, load_recipe, origin_as, recipe_or_run_options, runs_option, tried
from kt.cli.resume import Job, force_option, job, resume_option
from kt.cli.typed import typed
from kt.errors import RecipeError
from kt.runs import Asked, finish

if TYPE_CHECKING:
    from kt.recipe import Loaded, Recipe
    from kt.strategy.adapt import WayToAdapt


@click.command("adapt")
@recipe_or_run_options
@click.option(
    "--source", type=click.Path(path_type=Path), metavar="PATH",
    help="Without RECIPE: labelled pictures, one sub-folder a class, for the recipe that kt new would write.",
)  # fmt: skip
@click.option(
    "--no-target-labels", is_flag=True,
    help="Don't read labels of --target, even if its folders are the source's classes.",
)  # fmt: skip
@click.option(
    "--methods", default="features", show_default=True, metavar="A,B,...",
    help="What to compare with no adaptation: names, features for all methods on frozen features, training for all "
    "objectives that train the network.",
)  # fmt: skip
@click.option(
    "--seeds", default="3", show_default=True, metavar="N|A,B,...",
    help="The number of seeds, counted from the recipe's, or a list of seeds; at least 3.",
)  # fmt: skip
@click.option("--validator", metavar="NAME", help="What chooses without target labels. Default: reverse_neighbours.")
@click.option("--write", type=click.Path(path_type=Path), metavar="RECIPE", help="Write the chosen recipe here.")
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
    source: Path | None,
    no_target_labels: bool,
    methods: str,
    seeds: str,
    validator: str | None,
    write: Path | None,
    resume: str | None,
    force: bool,
    runs: Path,
    as_json: bool,
) -> None:
    """Say whether adapting to another domain helps, and which way.

    The source domain has labels: the recipe's data, or --source. The target is where the model is to work; its pictures
    need no labels: --target, or the recipe's own. Fits no adaptation and each method, with several seeds, and chooses
    one without target labels. Labels of the target are used at the end alone, for the figures and the verdict: positive
    adaptation, none or negative. The page goes to runs/RECIPE/adapt/.

    Labels of --target are read if its sub-folders are the source's classes. --write writes the chosen recipe; if
    labels show that it is worse than no adaptation, the recipe that does not adapt.

    An interrupted comparison goes on with --resume: what is fitted is not fitted again.
    """
    if source is not None and recipe is not None:
        raise click.UsageError("RECIPE and --source are both the source domain; give one of them.", context)
    if target_labels and no_target_labels:
        raise click.UsageError("--target-labels and --no-target-labels contradict each other.", context)
    if write is not None:
        check_new(write)
    options: Mapping[str, Any] = {"methods": methods, "seeds": seeds, "validator": validator}
    todo = job(
        context, recipe or source,
        Asked(
            name="", kind="adapt", data=data, target=target,
            target_labels=None if target and not (target_labels or no_target_labels) else target_labels,
            settings=settings, seed=seed, backend=backend, options=options,
        ),
        resume=resume, runs=runs, force=force,
    )  # fmt: skip
    asked, options = todo.asked, todo.asked.options
    loaded = load_recipe(todo.recipe, backend=asked.backend, settings=asked.settings)
    resolved = tried(loaded, changed_as(loaded, asked))
    counted = seeds_of(options["seeds"], first=resolved.seed)

    from kt.strategy.adapt import VALIDATOR, candidates

    named = candidates([name.strip().replace("-", "_") for name in options["methods"].split(",")])
    results = _compared(todo, loaded, resolved, named, counted, options["validator"] or VALIDATOR, runs=runs)
    again = None if write is None else _written(write, loaded, resolved, named, results, asked)
    if as_json:
        tell_json({**results, "written": None if write is None else str(write)})
        return
    _print(results)
    if again is not None:
        tell(f"{typed(write)} is written; next: {again}")  # type: ignore[arg-type]


def _compared(
    todo: Job, loaded: "Loaded", recipe: "Recipe", named: "list[WayToAdapt]", seeds: tuple[int, ...], validator: str, *,
    runs: Path,
) -> Mapping[str, Any]:  # fmt: skip
    from kt.strategy.adapt import adapt

    out, loaded = todo.folder(runs / loaded.name / "adapt"), todo.named(loaded)
    origin = dataclasses.replace(origin_as(loaded, todo.asked, out=out), command=todo.asked.command)
    with todo.at_work(out, name=loaded.name, file=origin.file, backend=running()):
        adapt(recipe, named, out, seeds=seeds, validator=validator, origin=origin)
        finish(out, headline=None)
    return {**read_json(out / ADAPTATION), "page": shown(out / ADAPTATION_PAGE)}


def _written(
    file: Path, loaded: "Loaded", recipe: "Recipe", named: "list[WayToAdapt]", results: Mapping[str, Any], asked: Asked
) -> str:
    """Write the recipe, and give the command that runs it."""
    from kt.adaptation.validators import NONE
    from kt.cli.adapted_recipe import adapted_text

    if results["chosen"] is None:
        raise RecipeError(f"Nothing was chosen, so {file} is not written; name another --validator.")
    name = NONE if results["verdict"] == "negative" else results["chosen"]
    candidate = next(candidate for candidate in named if candidate.name == name)
    write_recipe(file, adapted_text(loaded, recipe, candidate, results, target=asked.target))
    words = ["kt", "run", str(file), *(["--data", asked.data] if asked.data else [])]
    words += [word for setting in asked.settings for word in ("--set", setting)]
    return shlex.join([*words, *(["--seed", str(asked.seed)] if asked.seed is not None else [])])


def _print(results: Mapping[str, Any]) -> None:
    from rich import box
    from rich.table import Table

    from kt.base.numbers import duration, figure, interval
    from kt.report.adaptation import distance, sentences, titles
    from kt.report.comparison import points

    labelled, validator = results["target"]["labelled"], results["validator"]
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("method")
    for title in (*(("on the target", "against none") if labelled else ()), validator, "distance", "time"):
        table.add_column(title, justify="right")
    for row in results["methods"]:
        against = row["against_none"]
        figures = (
            f"{figure(row['target_balanced_accuracy'])} ({interval(row['interval'])})",
            f"{points(against['balanced_accuracy'])} ({' to '.join(map(points, against['interval']))})"
            if against
            else "",
        ) if labelled and not row["error"] else ("failed" if row["error"] else "", "")  # fmt: skip
        table.add_row(
            printable(row["title"]) + (" *" if row["chosen"] else ""),
            *(figures if labelled else ()),
            "failed" if row["error"] and not labelled else figure(row["validators"][validator]),
            distance(row),
            duration(row["seconds"]),
        )
    if results["target_trained"]:
        trained = results["target_trained"]
        own = f"{figure(trained['target_balanced_accuracy'])} ({interval(trained['interval'])})"
        table.add_row("learns from the target's labels", own, "", "", "", "")
    tell_table(table)
    if labelled:
        tell("Balanced accuracy on the target's test split, with 95% intervals; against none in points. * chosen.")
    names = titles(results)
    told = [f"{row['name']}: {names.get(row['chosen'], 'nothing')}" for row in results["validators"]]
    tell(f"What each validator would choose: {'; '.join(told)}.")
    tell(*sentences(results), *results["notes"])
    tell(f"page: {results['page']}")
