"""`kt run`: the main job."""

import dataclasses
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from kt.cli.options import changed, json_option, load_recipe, origin_of, recipe_options, runs_option, tried
from kt.cli.run_folder import mark_latest, new_run, read_json
from kt.console import tell, tell_json
from kt.errors import EnvironmentProblem, RecipeError, ReleaseError
from kt.extras import install
from kt.goal import Goal, goal


@click.command("run")
@recipe_options
@click.option("--mixed-precision", is_flag=True, help="Compute in 16 bits (float16 on a GPU, bfloat16 on a CPU).")
@click.option("--no-cache", is_flag=True, help="Compute frozen layers anew in every epoch; the result is the same.")
@click.option(
    "--target",
    metavar="METRIC=VALUE",
    help="Try ever more of the network until validation surely reaches this, such as balanced_accuracy=0.95.",
)
@click.option("--budget", metavar="TIME", help="Try ever more of the network for so long, such as 90s, 30m or 2h.")
@click.option(
    "--search",
    metavar="TRIALS",
    type=click.IntRange(min=1),
    help="Try so many values of rate, depth and dropout with Optuna.",
)
@runs_option
@click.option(
    "--saved-models", type=click.Path(path_type=Path), default=Path("saved_models"), show_default=True,
    help="Where what passes the release gate goes.",
)  # fmt: skip
@click.option(
    "--force", is_flag=True, help="Release a model of which the test pictures show that it has learned nothing, too."
)
@json_option
def command(
    recipe: Path,
    data: str | None,
    settings: tuple[str, ...],
    seed: int | None,
    backend: str | None,
    mixed_precision: bool,
    no_cache: bool,
    target: str | None,
    budget: str | None,
    search: int | None,
    runs: Path,
    saved_models: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Train a recipe, check its exports and report.

    Reads the pictures, trains each phase, measures the best model on test pictures, exports it, and compares every
    export with it. What passes this release gate goes to saved_models/, the report to runs/.

    --target and --budget climb a ladder instead of the recipe's phases: a linear probe, the top blocks, more blocks,
    the whole network, other backbones. --search changes the recipe's rate, depth and dropout; with --budget it ends
    then, with --target once that is reached. Validation judges, and the best goes the ordinary way. A target that was
    not reached is told, and is no failure.

    With --json the content of report.json is all of standard output. Exit code 6 means that the recipe exports for
    phones and nothing of that passed the gate, or that the model has learned nothing, so that nothing was released.
    """
    wanted = goal(target, budget)
    if search and find_spec("optuna") is None:
        raise EnvironmentProblem(f"--search needs Optuna: {install('search')}")
    if _may_export(recipe, settings):
        from kt.export.job import at_hand

        click.get_current_context().with_resource(at_hand())  # it loads TensorFlow while this process loads Keras
    loaded = load_recipe(recipe, backend=backend, mixed_precision=mixed_precision)
    resolved = tried(loaded, changed(loaded, data=data, settings=settings, seed=seed))

    from kt import report
    from kt.export.job import check_packages
    from kt.export.learned import refuse_untaught
    from kt.run import asked_for, run

    check_packages(resolved.export)

    by_itself = loaded.run is not None and loaded.run is not run
    if by_itself and no_cache:
        raise RecipeError(
            f"{recipe} runs by itself, so --no-cache can't reach its training; call train(..., cached=False) there."
        )
    if by_itself and (target or budget or search):
        raise RecipeError(f"{recipe} runs by itself, so --target, --budget and --search can't reach its training.")
    out = new_run(runs / loaded.name)
    origin = dataclasses.replace(
        origin_of(loaded, data=data, settings=settings, out=out),
        mixed_precision=mixed_precision, cached=not no_cache, saved_models=saved_models,
        force=force,
    )  # fmt: skip
    if loaded.run is not None and by_itself:
        with asked_for(origin):
            results = loaded.run(resolved, out)
    else:
        training = training_step(wanted, climb=bool(target or budget), trials=search)
        results = run(resolved, out, origin=origin, training=training)
    mark_latest(out)
    if not isinstance(results, dict) or "artifacts" not in results:  # a run of the recipe's own, with its own answer
        if as_json and results is not None:
            tell_json(results)
        elif results is not None:
            tell(*str(results).split("\n"))
        return
    page = out / "report.html"
    if as_json:
        tell_json(read_json(out / "report.json"))
    else:
        tell(*report.summary(results, page).split("\n"))
    refuse_untaught(results.get("learned"), results["artifacts"])
    phone = [artifact for artifact in results.get("artifacts", []) if artifact["path"].endswith(".tflite")]
    if phone and not any(artifact["released"] for artifact in phone):
        raise ReleaseError(f"No artefact for phones passed the release gate; {page} says why.")


def _may_export(recipe: Path, settings: tuple[str, ...]) -> bool:
    """Whether it is worth having the export's child at hand, as far as can be told without loading Keras."""
    told = [one for one in settings if one.startswith("export=")]
    if told or not recipe.is_file() or recipe.suffix != ".py":
        return recipe.exists() and told[-1:] != ["export=[]"]
    return not re.search(r"\bexport\s*=\s*(\[\s*\]|\(\s*\))", recipe.read_text(encoding="utf-8", errors="replace"))


def training_step(wanted: Goal, *, climb: bool, trials: int | None) -> Any:
    """What trains: a search for so many trials, a climb, or the recipe as it is written."""
    if trials:
        from kt.strategy.search import Search

        return Search(trials, wanted)
    if climb:
        from kt.strategy.ladder import Ladder

        return Ladder(wanted)
    from kt.run import as_written

    return as_written
