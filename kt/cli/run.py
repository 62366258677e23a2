"""`kt run`: the main job."""

import json
import shlex
import sys
from datetime import datetime
from pathlib import Path

import click

from kt.cli.options import RECIPE, backend_option, changed, changes, json_option, load_recipe
from kt.errors import RecipeError, ReleaseError


@click.command("run")
@RECIPE
@changes
@backend_option
@click.option("--mixed-precision", is_flag=True, help="Compute in 16 bits (float16 on a GPU, bfloat16 on a CPU).")
@click.option("--no-cache", is_flag=True, help="Compute frozen layers anew in every epoch; the result is the same.")
@click.option(
    "--runs", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Where runs are kept."
)
@click.option(
    "--saved-models", type=click.Path(path_type=Path), default=Path("saved_models"), show_default=True,
    help="Where what passes the release gate goes.",
)  # fmt: skip
@json_option
def command(
    recipe: Path,
    data: str | None,
    settings: tuple[str, ...],
    seed: int | None,
    backend: str | None,
    mixed_precision: bool,
    no_cache: bool,
    runs: Path,
    saved_models: Path,
    as_json: bool,
) -> None:
    """Train a recipe, check its exports and report.

    Reads the pictures, trains each phase, measures the best model on test pictures, exports it, and compares every
    export with it. What passes this release gate goes to saved_models/, the report to runs/.

    With --json the content of report.json is all of standard output. Exit code 6 means that the recipe exports for
    phones and nothing of that passed the gate.
    """
    loaded = load_recipe(recipe, backend=backend, mixed_precision=mixed_precision)
    resolved = changed(loaded, data=data, settings=settings, seed=seed)

    from kt import report
    from kt.export.job import check_packages
    from kt.run import Origin, run

    check_packages(resolved.export)

    origin = Origin(
        name=loaded.name,
        file=loaded.file,
        description=loaded.description,
        settings=settings,
        data=data,
        command=shlex.join(["kt", *sys.argv[1:]]),
        mixed_precision=mixed_precision,
        cached=not no_cache,
    )
    by_itself = loaded.run is not None and loaded.run is not run
    if by_itself and no_cache:
        raise RecipeError(
            f"{recipe} runs by itself, so --no-cache can't reach its training; call train(..., cached=False) there."
        )
    out = new_run(runs / loaded.name)
    if loaded.run is not None and by_itself:
        results = loaded.run(resolved, out)
    else:
        results = run(resolved, out, origin=origin, saved_models=saved_models)
    mark_latest(out)
    if not isinstance(results, dict) or "artifacts" not in results:  # a run of the recipe's own, with its own answer
        if results is not None:
            click.echo(json.dumps(results, default=str) if as_json else results)
        return
    page = out / "report.html"
    click.echo(on_one_line(out / "report.json") if as_json else report.summary(results, page))
    phone = [artifact for artifact in results.get("artifacts", []) if artifact["path"].endswith(".tflite")]
    if phone and not any(artifact["released"] for artifact in phone):
        raise ReleaseError(f"No artefact for phones passed the release gate; {page} says why.")


def on_one_line(file: Path) -> str:
    """The JSON of a file, such as a script reads line by line."""
    return json.dumps(json.loads(file.read_text(encoding="utf-8")), ensure_ascii=False)


def new_run(folder: Path) -> Path:
    """A folder of its own for this run, named by the time."""
    folder.mkdir(parents=True, exist_ok=True)
    name = datetime.now().strftime("%Y%m%d-%H%M%S")
    for suffix in ["", *(f"-{number}" for number in range(2, 100))]:
        try:
            (folder / f"{name}{suffix}").mkdir()
        except FileExistsError:
            continue
        return folder / f"{name}{suffix}"
    raise ReleaseError(f"Cannot make a folder for this run in {folder}: too many began in this second.")


def mark_latest(out: Path) -> None:
    """Point `LATEST` beside the run at it; a finished run only."""
    link = out.parent / "LATEST"
    beside = out.parent / f".LATEST-{out.name}"
    beside.symlink_to(out.name)
    beside.replace(link)
