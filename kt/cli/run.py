"""`kt run`: trains, exports and reports a recipe."""

import dataclasses
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from kt.base.backend import running
from kt.base.console import say, shown, tell, tell_json
from kt.base.extras import install
from kt.base.run_folder import MODEL, PAGE
from kt.cli.options import changed_as, json_option, load_recipe, origin_as, recipe_or_run_options, runs_option, tried
from kt.cli.resume import Job, job, resume_option
from kt.errors import EnvironmentProblem, RecipeError, ReleaseError
from kt.recipe import Recipe, streams_of
from kt.runs import Asked, finish, mark_latest
from kt.strategy.goal import Goal, is_goal
from kt.strategy.goal import goal as parsed


@click.command("run")
@recipe_or_run_options
@click.option("--mixed-precision", is_flag=True, help="Compute in 16 bits (float16 on a GPU, bfloat16 on a CPU).")
@click.option("--no-cache", is_flag=True, help="Compute frozen layers anew in every epoch; the result is the same.")
@click.option(
    "--goal",
    metavar="METRIC=VALUE",
    help="Train ever more of the network until validation surely reaches this, such as balanced_accuracy=0.95.",
)
@click.option("--budget", metavar="TIME", help="Train ever more of the network for this time, such as 90s, 30m or 2h.")
@click.option(
    "--search",
    metavar="TRIALS",
    type=click.IntRange(min=1),
    help="Try this many values of rate, depth and dropout with Optuna.",
)
@resume_option
@runs_option
@click.option(
    "--saved-models", type=click.Path(path_type=Path), default=Path("saved_models"), show_default=True,
    help="The folder for exports that pass the release gate.",
)  # fmt: skip
@click.option(
    "--force", is_flag=True,
    help="Release even a model that has learned nothing, as the test pictures show. With --resume: go on, although the "
    "recipe, the pictures or the versions have changed.",
)  # fmt: skip
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
    mixed_precision: bool,
    no_cache: bool,
    goal: str | None,
    budget: str | None,
    search: int | None,
    resume: str | None,
    runs: Path,
    saved_models: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Train a recipe, check its exports and report.

    Reads the pictures, trains each phase, measures the best model on test pictures, exports it, and compares every
    export with it. Exports that pass this release gate go to saved_models/, the report to runs/.

    --goal and --budget climb a ladder instead of training the recipe's phases: a linear probe, the top blocks, more
    blocks, the whole network, other backbones. --search changes the recipe's rate, depth and dropout. Both stop when
    --budget is spent or --goal is reached. The best model on validation is then measured, exported and reported as
    usual. A goal that was not reached is reported, and is no failure.

    A run that was ended by Ctrl-C, a kill or a power cut goes on with --resume as it was begun. What is done is not
    done again, and the result is that of an unbroken run. kt runs shows all runs.

    With --json the content of report.json is all of standard output. Exit code 6 means that the recipe exports for
    phones and no such export passed the gate, or that the model has learned nothing and so nothing was released.
    """
    todo = job(
        context, recipe,
        Asked(
            name="", data=data, target=target, target_labels=target_labels,
            settings=settings, seed=seed, backend=backend, mixed_precision=mixed_precision,
            cached=not no_cache, saved_models=str(saved_models), force=force, goal=goal, budget=budget,
            search=search,
        ),
        resume=resume, runs=runs, force=force,
    )  # fmt: skip
    todo = _with_goal(todo)
    recipe, asked = todo.recipe, todo.asked
    wanted = parsed(asked.goal, asked.budget)
    if asked.search and find_spec("optuna") is None:
        raise EnvironmentProblem(f"--search needs Optuna: {install('search')}")
    if _may_export(recipe, asked.settings):
        from kt.export.job import at_hand

        context.with_resource(at_hand())  # it loads TensorFlow while this process loads Keras
    loaded = load_recipe(recipe, backend=asked.backend, mixed_precision=asked.mixed_precision, settings=asked.settings)
    resolved = tried(loaded, changed_as(loaded, asked))

    if asked.target is not None:
        _says_what_adapts(resolved)

    from kt import report
    from kt.export.job import check_packages
    from kt.export.learned import refuse_untaught
    from kt.kinds import nouns
    from kt.runs.main import run
    from kt.runs.origin import asked_for

    check_packages(resolved.export)

    by_itself = loaded.run is not None and loaded.run is not run
    if by_itself and not asked.cached:
        raise RecipeError(
            f"{recipe} runs by itself, so --no-cache can't reach its training; call train(..., cached=False) there."
        )
    if by_itself and (asked.goal or asked.budget or asked.search):
        raise RecipeError(f"{recipe} runs by itself, so --goal, --budget and --search can't reach its training.")
    out, loaded = todo.folder(runs / loaded.name), todo.named(loaded)
    origin = dataclasses.replace(
        origin_as(loaded, asked, out=out),
        mixed_precision=asked.mixed_precision, cached=asked.cached, saved_models=Path(asked.saved_models),
        force=asked.force, command=asked.command,
    )  # fmt: skip
    at_work = todo.at_work(out, name=loaded.name, file=origin.file, backend=running())
    with at_work, _says_how_to_go_on(out):
        if loaded.run is not None and by_itself:
            with asked_for(origin):
                results = loaded.run(resolved, out)
            finish(out, headline=None)
        else:
            training = training_step(wanted, climb=bool(asked.goal or asked.budget), trials=asked.search)
            results = run(resolved, out, origin=origin, training=training)
        mark_latest(out)
    if not isinstance(results, dict) or "artifacts" not in results:  # the recipe has its own run, with its own result
        if as_json and results is not None:
            tell_json(results)
        elif results is not None:
            tell(*str(results).split("\n"))
        return
    page = out / PAGE
    if as_json:
        tell_json(results)
    else:
        tell(*report.summary(results, page).split("\n"))
    refuse_untaught(results.get("learned"), results["artifacts"], nouns=nouns(results.get("data", {}).get("kind")))
    phone = [artifact for artifact in results.get("artifacts", []) if artifact.get("mobile")]
    if phone and not any(artifact["released"] for artifact in phone):
        raise ReleaseError(f"No artefact for phones passed the release gate; {page} says why.")


def _with_goal(todo: Job) -> Job:
    """The job with `--target METRIC=VALUE`, as an earlier kt called --goal, taken as the goal."""
    target = todo.asked.target
    if target is None or todo.asked.goal is not None or not is_goal(target) or Path(target).exists():
        return todo
    say(f"--target {target} is the goal of this run, and --goal is its name now")
    return dataclasses.replace(todo, asked=dataclasses.replace(todo.asked, goal=target, target=None))


def _says_what_adapts(recipe: Recipe) -> None:
    """Print a line if the target domain of --target changes nothing in training."""
    from kt.data.sources.domains import TARGET

    if not any(TARGET in streams_of(step) for step in recipe.phases):
        say("no step of the recipe takes the target's examples, so nothing adapts to them; AdaptedProbe, for one, does")


@contextmanager
def _says_how_to_go_on(out: Path) -> Iterator[None]:
    """Within it, an interrupt prints how the run can be resumed."""
    try:
        yield
    except KeyboardInterrupt:
        if not (out / MODEL).is_file():  # after training the run itself says what can be done
            say(f"what is done so far is kept; this goes on: kt run --resume {shlex.quote(shown(out))}")
        raise


def _may_export(recipe: Path, settings: tuple[str, ...]) -> bool:
    """Whether the run will probably export, so that starting the export's child early pays; without loading Keras."""
    exports = [setting for setting in settings if setting.startswith("export=")]
    if exports or not recipe.is_file() or recipe.suffix != ".py":
        return recipe.exists() and exports[-1:] != ["export=[]"]
    return not re.search(r"\bexport\s*=\s*(\[\s*\]|\(\s*\))", recipe.read_text(encoding="utf-8", errors="replace"))


def training_step(wanted: Goal, *, climb: bool, trials: int | None) -> Any:
    """The run's training: a search with this many trials, a climb of the ladder, or the recipe as written."""
    if trials:
        from kt.strategy.search import Search

        return Search(trials, wanted)
    if climb:
        from kt.strategy.ladder import Ladder

        return Ladder(wanted)
    from kt.runs.trained import as_written

    return as_written
