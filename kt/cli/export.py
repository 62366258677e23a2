"""`kt export`: export a finished run again."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kt.cli.options import changed, json_option, load_recipe
from kt.console import tell, tell_json
from kt.errors import DataError, ReleaseError
from kt.files import check_openable
from kt.recipe import EXPORTS

if TYPE_CHECKING:
    from kt.export.about import About


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "formats", multiple=True, type=click.Choice(EXPORTS),
              help="What to make; may be given more than once. Default: all that the recipe exports.")  # fmt: skip
@click.option("--saved-models", type=click.Path(path_type=Path), default=Path("saved_models"), show_default=True,
              help="Where what passes the release gate goes.")  # fmt: skip
@click.option("--labels", "translations", multiple=True, metavar="LOCALE=FILE",
              help="Class names in another language, such as de=labels_de.txt; may be repeated.")  # fmt: skip
@click.option("--score-threshold", type=float,
              help="Score below which phone apps leave a class out. Default: none.")  # fmt: skip
@click.option("--author", help="Author in the phone files. Default: __author__ of the recipe.")
@click.option("--license", "licence", help="Licence in the phone files. Default: __license__ of the recipe.")
@click.option("--force", is_flag=True,
              help="Release a model of which the test pictures show that it has learned nothing, too.")  # fmt: skip
@json_option
def command(
    run: Path,
    formats: tuple[str, ...],
    saved_models: Path,
    translations: tuple[str, ...],
    score_threshold: float | None,
    author: str | None,
    licence: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Export a finished run again, as a new version.

    RUN is its folder, such as runs/apples/LATEST. ONNX and OpenVINO need an extra, onnx or openvino; kt doctor says how
    to install it. The exports are compared with the trained model on the run's test pictures, so these must still be
    there, unchanged. Exit code 6 means that nothing passed the release gate, or that the
    model has learned nothing.
    """
    for folder in (run, saved_models):
        check_openable(folder)
    told = _report_of(run)
    recipe_file = run / "recipe.py"
    if not (run / "model.keras").is_file() or not recipe_file.is_file():
        raise ReleaseError(f"{run} is not a finished run: it has no model.keras or no recipe.py.")
    about = _about(run, translations=translations, score_threshold=score_threshold, author=author, licence=licence)
    loaded = load_recipe(recipe_file, backend="tensorflow")
    asked = told["recipe"]
    recipe = changed(loaded, data=asked["data"], settings=tuple(asked["settings"]), seed=told["seed"])

    from kt import report
    from kt.export import from_run, release
    from kt.export.job import check_packages
    from kt.export.learned import learned, refuse_untaught

    check_packages(formats or recipe.export)
    splits = recipe.data()
    if splits.digest != told["data"]["digest"]:
        raise DataError(f"The pictures are not those of {run} any more, so its exports can't be checked against them.")
    found = learned(told["test"], splits.test.things(len(splits.classes)), force=force)
    refuse_untaught(found.as_json(), formats or recipe.export)
    artifacts = from_run.export_again(
        run, recipe, splits, name=asked["name"], formats=formats or recipe.export, about=about
    )
    card = report.card(asked["name"], asked["description"], splits, told["test"])
    released_to = release(artifacts, name=asked["name"], saved_models=saved_models, card=card)
    results = {
        "recipe": asked,
        "artifacts": report.placed(artifacts, released_to),
        "released_to": str(released_to) if released_to else None,
    }
    if as_json:
        tell_json(results)
    else:
        tell(*report.summary(results).split("\n"))
    if not any(artifact.released for artifact in artifacts):
        raise ReleaseError("Nothing passed the release gate.")


def _about(
    run: Path,
    *,
    translations: tuple[str, ...],
    score_threshold: float | None,
    author: str | None,
    licence: str | None,
) -> "About":
    """What the phone files tell: what the recipe says of itself, as the options change it."""
    from kt.export.about import About, read_translation
    from kt.export.labels import LABELS, from_text

    told = About.of_recipe(run / "recipe.py")
    about = About(
        description=told.description,
        author=told.author if author is None else author,
        license=told.license if licence is None else licence,
        translations=dict(map(read_translation, translations)),
        score_threshold=score_threshold,
    )
    if about.translations:
        about.check(from_text((run / LABELS).read_bytes()))  # before the pictures are read
    return about


def _report_of(run: Path) -> dict[str, Any]:
    try:
        told = json.loads((run / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ReleaseError(f"{run} is not a finished run: expected a folder such as runs/apples/LATEST.") from None
    assert isinstance(told, dict)
    return told
