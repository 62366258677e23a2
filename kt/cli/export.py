"""`kt export`: exports a finished run again."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kt.base import backend
from kt.base.console import say, shown, tell, tell_json
from kt.base.files import check_openable
from kt.base.run_folder import CARD, MODEL, RECIPE, REPORT
from kt.base.scratch import WORK, scratch
from kt.cli.options import changed, json_option
from kt.cli.run_again import recipe_again
from kt.errors import DataError, ReleaseError, one_line
from kt.recipe import EXPORTS, Loaded, Recipe, load
from kt.runs import read

if TYPE_CHECKING:
    from kt.data.splits import Splits
    from kt.export.about import About


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "formats", multiple=True, type=click.Choice(EXPORTS),
              help="A format to make; may be repeated. Default: all that the recipe exports.")  # fmt: skip
@click.option("--saved-models", type=click.Path(path_type=Path), default=Path("saved_models"), show_default=True,
              help="The folder for exports that pass the release gate.")  # fmt: skip
@click.option("--labels", "translations", multiple=True, metavar="LOCALE=FILE",
              help="Class names in another language, such as de=labels_de.txt; may be repeated.")  # fmt: skip
@click.option("--score-threshold", type=float,
              help="Score below which phone apps leave a class out. Default: none.")  # fmt: skip
@click.option("--one-output", is_flag=True,
              help="Files for phones give scores alone, as ML Kit needs, not what is unfamiliar.")  # fmt: skip
@click.option("--author", help="Author in the files for phones. Default: __author__ of the recipe.")
@click.option("--license", "licence", help="Licence in the files for phones. Default: __license__ of the recipe.")
@click.option("--force", is_flag=True,
              help="Release even a model that has learned nothing, as the test pictures show.")  # fmt: skip
@json_option
def command(
    run: Path,
    formats: tuple[str, ...],
    saved_models: Path,
    translations: tuple[str, ...],
    score_threshold: float | None,
    one_output: bool,
    author: str | None,
    licence: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Export a finished run again, as a new version.

    RUN is its folder, such as runs/apples/LATEST. ONNX and OpenVINO need an extra, onnx or openvino; kt doctor says how
    to install it. The exports are compared with the trained model on the run's test pictures; if these are gone, on up
    to 200 of them that the run has kept. Exit code 6 means that nothing passed the release gate, or that the model has
    learned nothing.
    """
    for folder in (run, saved_models):
        check_openable(folder)
    report = _report_of(run)
    recipe_file = run / RECIPE
    if not (run / MODEL).is_file() or not recipe_file.is_file():
        raise ReleaseError(f"{run} is not a finished run: it has no model.keras or no recipe.py.")
    about = _about(
        run, translations=translations, score_threshold=score_threshold, one_output=one_output, author=author,
        licence=licence,
    )  # fmt: skip
    backend.start("tensorflow")
    asked = report["recipe"]
    loaded = load(recipe_file)

    from kt.export import release
    from kt.export.learned import learned, refuse_untaught
    from kt.report import card_of, summary
    from kt.report.results import card, placed
    from kt.runs import exports as from_run

    with _judges(loaded, report, run, formats=formats) as judges:
        export = formats or judges.recipe.export
        verdict = learned(report["test"], judges.things, nouns=judges.splits.kind, force=force)
        refuse_untaught(verdict.as_json(), export, nouns=judges.splits.kind)
        artifacts = from_run.export_again(
            run, judges.recipe, judges.splits, name=asked["name"], formats=export, about=about, note=judges.note
        )
    described = card(asked["name"], asked["description"], judges.splits, report["test"], sets=report.get("sets", ()))

    def model_card(version: Path) -> dict[str, str]:
        released = {
            "artifacts": placed(artifacts, version),
            "version": int(version.name),
            "released_to": shown(version),
        }
        return {CARD: card_of({**report, **released})}

    released_to = release(artifacts, name=asked["name"], saved_models=saved_models, card=described, before=model_card)
    results = {
        "recipe": asked,
        "artifacts": placed(artifacts, released_to),
        "released_to": str(released_to) if released_to else None,
    }
    if as_json:
        tell_json(results)
    else:
        tell(*summary(results).split("\n"))
    if not any(artifact.released for artifact in artifacts):
        raise ReleaseError("Nothing passed the release gate.")


@dataclass(frozen=True)
class _Judges:
    """The pictures that exports are judged by.

    things: the number of groups in the whole test split, by class. note: says that the pictures are a sample; "" if
    they are the whole split.
    """

    recipe: Recipe
    splits: "Splits"
    things: Sequence[int]
    note: str = ""


@contextmanager
def _judges(loaded: Loaded, report: Mapping[str, Any], run: Path, *, formats: Sequence[str]) -> Iterator[_Judges]:
    """The run's pictures; if they are gone, those that it kept, and a line says so.

    formats: those to make instead of the recipe's. Raises DataError if the pictures have changed, or are gone and the
    run kept none, as with earlier versions of kt. Raises EnvironmentProblem, before pictures are read, if a format
    can't be made here.
    """
    from kt.export.job import check_packages
    from kt.export.sample import kept_sample

    try:
        recipe = recipe_again(loaded, report, run)
        check_packages(formats or recipe.export)
        splits = recipe.data()
    except (DataError, OSError) as error:
        with scratch(run, WORK) as folder:
            sample = kept_sample(run, into=folder)
            if sample is None:
                raise
            number = len(sample.splits.test)
            say(f"{one_line(error)} The exports are judged by {number} test pictures that the run kept.")
            # Settings of the data are left out, since the data are not read.
            settings = tuple(setting for setting in report["recipe"]["settings"] if not setting.startswith("data."))
            recipe = changed(loaded, data=None, settings=settings, seed=report["seed"])
            check_packages(formats or recipe.export)
            yield _Judges(recipe, sample.splits, sample.things, f"judged by {number} test pictures that the run kept")
        return
    if splits.digest != report["data"]["digest"]:
        raise DataError(
            f"The pictures are not those of {run} any more ({splits.origin}), so its exports can't be checked against "
            "them."
        )
    yield _Judges(recipe, splits, splits.test.things(len(splits.classes)))


def _about(
    run: Path,
    *,
    translations: tuple[str, ...],
    score_threshold: float | None,
    one_output: bool,
    author: str | None,
    licence: str | None,
) -> "About":
    """The description in files for phones: that of the recipe, as the options change it."""
    from kt.export.about import About, read_translation
    from kt.export.labels import LABELS, from_text

    own = About.of_recipe(run / RECIPE)
    about = About(
        description=own.description,
        author=own.author if author is None else author,
        license=own.license if licence is None else licence,
        translations=dict(map(read_translation, translations)),
        score_threshold=score_threshold,
        one_output=one_output,
    )
    if about.translations:
        about.check(from_text((run / LABELS).read_bytes()))  # before the pictures are read
    return about


def _report_of(run: Path) -> dict[str, Any]:
    try:
        report = json.loads((run / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        record = read(run)
        if record is not None and record.state != "finished":
            what = (
                "at work" if record.state == "running" else f"{record.state}; this finishes it: kt run --resume {run}"
            )
            raise ReleaseError(f"{run} is not a finished run: it is {what}.") from None
        raise ReleaseError(f"{run} is not a finished run: expected a folder such as runs/apples/LATEST.") from None
    assert isinstance(report, dict)
    return report
