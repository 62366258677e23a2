"""`kt export`: export a finished run again."""

import json
from pathlib import Path
from typing import Any

import click

from kt.cli.options import changed, json_option, load_recipe
from kt.errors import DataError, ReleaseError
from kt.recipe import EXPORTS


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "formats", multiple=True, type=click.Choice(EXPORTS),
              help="What to make; may be given more than once. Default: all that the recipe exports.")  # fmt: skip
@click.option("--saved-models", type=click.Path(path_type=Path), default=Path("saved_models"), show_default=True,
              help="Where what passes the release gate goes.")  # fmt: skip
@json_option
def command(run: Path, formats: tuple[str, ...], saved_models: Path, as_json: bool) -> None:
    """Export a finished run again, as a new version.

    RUN is its folder, such as runs/apples/LATEST. ONNX and OpenVINO need an extra: pip install 'kt-transfer[onnx]'
    or 'kt-transfer[openvino]'. The exports are compared with the trained model on the run's test
    pictures, so these must still be there, unchanged. Exit code 6 means that nothing passed the release gate.
    """
    told = _report_of(run)
    recipe_file = run / "recipe.py"
    if not (run / "model.keras").is_file() or not recipe_file.is_file():
        raise ReleaseError(f"{run} is not a finished run: it has no model.keras or no recipe.py.")
    loaded = load_recipe(recipe_file, backend="tensorflow")
    asked = told["recipe"]
    recipe = changed(loaded, data=asked["data"], settings=tuple(asked["settings"]), seed=told["seed"])

    from kt import report
    from kt.export import from_run, release
    from kt.export.job import check_packages

    check_packages(formats or recipe.export)
    splits = recipe.data()
    if splits.digest != told["data"]["digest"]:
        raise DataError(f"The pictures are not those of {run} any more, so its exports can't be checked against them.")
    artifacts = from_run.export_again(run, recipe, splits, name=asked["name"], formats=formats or recipe.export)
    card = report.card(asked["name"], asked["description"], splits, told["test"])
    released_to = release(artifacts, name=asked["name"], saved_models=saved_models, card=card)
    results = {
        "recipe": asked,
        "artifacts": report.placed(artifacts, released_to),
        "released_to": str(released_to) if released_to else None,
    }
    click.echo(json.dumps(results) if as_json else report.summary(results))
    if not any(artifact.released for artifact in artifacts):
        raise ReleaseError("Nothing passed the release gate.")


def _report_of(run: Path) -> dict[str, Any]:
    try:
        told = json.loads((run / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ReleaseError(f"{run} is not a finished run: expected a folder such as runs/apples/LATEST.") from None
    assert isinstance(told, dict)
    return told
