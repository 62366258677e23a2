"""`kt lr-find`: which learning rate a phase wants."""

import shlex
from datetime import UTC, datetime
from pathlib import Path

import click

from kt.cli.options import changed, command_line, json_option, load_recipe, recipe_options, runs_option, tried
from kt.cli.run_folder import new_run
from kt.console import shown, tell, tell_json


@click.command("lr-find")
@recipe_options
@click.option("--phase", metavar="NAME", help="The phase whose rate is sought. Default: the last one.")
@click.option("--steps", type=int, default=100, show_default=True, help="Training steps, a rate each.")
@click.option("--from", "lowest", type=float, default=1e-7, show_default=True, help="The lowest rate.")
@click.option("--to", "highest", type=float, default=10.0, show_default=True, help="The highest rate.")
@runs_option
@json_option
def command(
    recipe: Path,
    data: str | None,
    settings: tuple[str, ...],
    seed: int | None,
    backend: str | None,
    phase: str | None,
    steps: int,
    lowest: float,
    highest: float,
    runs: Path,
    as_json: bool,
) -> None:
    """Find the learning rate of a phase.

    Trains the phase for some steps with a rate that rises at each, on stored outputs of frozen layers where it can, and
    suggests the rate at which the loss falls fastest. Phases before it are trained first. Nothing of that is kept but
    the curve, and test pictures are not looked at.
    """
    loaded = load_recipe(recipe, backend=backend)
    resolved = tried(loaded, changed(loaded, data=data, settings=settings, seed=seed))

    from kt.report.rates import write_rates
    from kt.strategy.lr_find import Range, lr_find, told

    asked = ["kt", "run", str(recipe), *(["--data", data] if data else [])]
    asked += [word for setting in settings for word in ("--set", setting)]
    asked += ["--seed", str(seed)] if seed is not None else []
    started = datetime.now(UTC)
    found = lr_find(resolved, phase=phase, over=Range(lowest=lowest, highest=highest, steps=steps))
    results = told(found, resolved, name=loaded.name, command=command_line(), started=started)
    page = write_rates(results, new_run(runs / loaded.name / "lr-find"))
    if as_json:
        tell_json(results)
        return
    if found.suggested is None:
        tell(f"no rate is suggested for {found.phase}: {found.why}")
    else:
        tell(f"{found.phase}.lr = {found.suggested:g}, {found.why}")
        tell(f"apply it: {shlex.join(asked)} {results['set']}")
    tell(f"curve: {shown(page)}")
