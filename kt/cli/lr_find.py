"""`kt lr-find`: finds a learning rate for a phase."""

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from kt.base.backend import running
from kt.base.console import shown, tell, tell_json
from kt.cli.options import changed_as, json_option, load_recipe, recipe_or_run_options, runs_option, tried
from kt.cli.resume import force_option, job, resume_option
from kt.runs import Asked, finish


@click.command("lr-find")
@recipe_or_run_options
@click.option("--phase", metavar="NAME", help="The phase to find a rate for. Default: the last one.")
@click.option("--steps", type=int, default=100, show_default=True, help="Training steps; each has its own rate.")
@click.option("--from", "lowest", type=float, default=1e-7, show_default=True, help="The lowest rate.")
@click.option("--to", "highest", type=float, default=10.0, show_default=True, help="The highest rate.")
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
    phase: str | None,
    steps: int,
    lowest: float,
    highest: float,
    resume: str | None,
    force: bool,
    runs: Path,
    as_json: bool,
) -> None:
    """Find the learning rate of a phase.

    Trains the phase for some steps with a rate that rises at each step, and suggests the rate at which the loss falls
    fastest. Where it can, it trains on stored outputs of frozen layers. Phases before it are trained first. Only the
    curve is kept, and test pictures are not used. An interrupted search goes on with --resume.
    """
    options: Mapping[str, Any] = {"phase": phase, "steps": steps, "lowest": lowest, "highest": highest}
    todo = job(
        context, recipe,
        Asked(
            name="", kind="lr-find", data=data, target=target, target_labels=target_labels,
            settings=settings, seed=seed, backend=backend, options=options,
        ),
        resume=resume, runs=runs, force=force,
    )  # fmt: skip
    asked, options = todo.asked, todo.asked.options
    loaded = load_recipe(todo.recipe, backend=asked.backend, settings=asked.settings)
    resolved = tried(loaded, changed_as(loaded, asked))

    from kt.report.rates import write_rates
    from kt.strategy.lr_find import Range, index_of, lr_find, told

    started = datetime.now(UTC)
    over = Range(lowest=options["lowest"], highest=options["highest"], steps=options["steps"])
    index_of(resolved, options["phase"])  # an unknown name fails here, before a folder is made
    out, name = todo.folder(runs / loaded.name / "lr-find"), todo.named(loaded).name
    with todo.at_work(out, name=name, file=todo.recipe, backend=running()):
        result = lr_find(resolved, phase=options["phase"], over=over, out=out)
        results = told(result, resolved, name=name, command=asked.command, started=started)
        page = write_rates(results, out)
        finish(out, headline=None)
    again = ["kt", "run", asked.file or str(todo.recipe), *(["--data", asked.data] if asked.data else [])]
    again += ["--target", asked.target] if asked.target else []
    again += ["--target-labels"] if asked.target_labels else []
    again += [word for setting in asked.settings for word in ("--set", setting)]
    again += ["--seed", str(asked.seed)] if asked.seed is not None else []
    if as_json:
        tell_json(results)
        return
    if result.suggested is None:
        tell(f"no rate is suggested for {result.phase}: {result.why}")
    else:
        tell(f"{result.phase}.lr = {result.suggested:g}, {result.why}")
        tell(f"apply it: {shlex.join(again)} {results['set']}")
    tell(f"curve: {shown(page)}")
