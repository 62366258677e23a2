"""The main job, top to bottom: read, build, train, evaluate once, export, check, release, report."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kt import report
from kt.console import say
from kt.evaluate import evaluate
from kt.export import from_run, release
from kt.model import build, in_float32, predict
from kt.recipe import Recipe
from kt.scarcity import scarcity
from kt.train import check_phases, seed_everything, train


@dataclass(frozen=True)
class Origin:
    """What was asked for, so that a run can be told and repeated: the recipe's file, docstring and changes to it."""

    name: str
    file: Path | None = None
    description: str = ""
    settings: tuple[str, ...] = ()
    data: str | None = None
    command: str = ""
    mixed_precision: bool = False
    cached: bool = True


def run(
    recipe: Recipe, out: Path, *, origin: Origin | None = None, saved_models: Path = Path("saved_models")
) -> dict[str, Any]:
    """Do the whole job of a recipe and return its results, the content of `out/report.json`.

    out: the run's folder, `runs/<recipe>/<time>`. What passes the gate goes to `saved_models/<recipe>/<version>`.
    """
    started = datetime.now(UTC)
    origin = origin or Origin(name=out.parent.name)
    seed_everything(recipe.seed)
    splits = recipe.data()
    seed_everything(recipe.seed)  # again, for reading may draw random numbers: tfds does when it prepares a set
    from_run.record(out, splits, origin.file)
    say(report.data_line(splits))
    built = build(recipe, image_size=splits.image_size, num_classes=len(splits.classes))
    say(report.weights_line(built.pretrained.source))
    check_phases(recipe, built)
    scarce = scarcity(built, recipe, splits, cached=origin.cached)
    phases, best = train(built, recipe, splits, logs=out / "logs", cached=origin.cached)
    model = in_float32(built, recipe)
    model.save(out / "model.keras")
    scores = predict(model, splits.test.pixels)
    test = evaluate(scores, splits.test.labels, splits.classes, groups=splits.test.groups, seed=recipe.seed)
    artifacts = from_run.export_run(out, recipe, splits, scores=scores, name=origin.name, formats=recipe.export)
    card = report.card(origin.name, origin.description, splits, test)
    released_to = release(artifacts, name=origin.name, saved_models=saved_models, card=card)
    results = report.compose(
        origin=origin, recipe=recipe, splits=splits, built=built, phases=phases, best=best, test=test,
        artifacts=artifacts, released_to=released_to, started=started, scarce=scarce,
    )  # fmt: skip
    report.write(results, splits, scores, out)
    return results
