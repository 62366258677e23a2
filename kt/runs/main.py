"""The main job, top to bottom: read, build, train, evaluate once, export, check, release, report."""

import json
import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from kt import report, runs
from kt.base.beside import beside
from kt.base.console import say, shown
from kt.base.energy import metered
from kt.base.files import check_openable
from kt.base.run_folder import CARD, RECIPE, REPORT
from kt.errors import one_line
from kt.export import ArtifactResult, release, unreleased
from kt.export.learned import withhold
from kt.export.sample import keep_sample
from kt.linear import one_thread
from kt.recipe import Recipe
from kt.releases.released import read_card
from kt.report.results import card, compose
from kt.runs import exports as from_run
from kt.runs.data import check_same_data
from kt.runs.familiar import fit_familiarity
from kt.runs.found import keep_findings
from kt.runs.measured import Measured, finish
from kt.runs.origin import Origin, asked, origin_of
from kt.runs.trained import Training, as_written
from kt.training import seed_everything


def run(
    recipe: Recipe,
    out: Path,
    *,
    origin: Origin | None = None,
    saved_models: Path | None = None,
    training: Training = as_written,
) -> dict[str, Any]:
    """Do the whole job of a recipe and return its results, the content of `out/report.json`.

    out: the run's folder, `runs/<recipe>/<time>`. Artefacts that pass the gate go to
    `saved_models/<recipe>/<version>`. If the folder holds an interrupted run of the same recipe, it goes on from there,
    with the same results.
    origin: where the recipe comes from; by default what `kt run` was called with, or else what `out` shows.
    saved_models: by default that of the origin.
    training: trains the model; it never sees results on the test split, which are measured once, on the final model.
    """
    started = datetime.now(UTC)
    origin = origin or origin_of(out)
    saved_models = saved_models or origin.saved_models
    for folder in (out, saved_models):
        check_openable(folder)
    with runs.at_work(out):
        record = runs.read(out)
        if record is None or record.state == "finished":
            runs.begin(out, asked(origin, recipe, saved_models))
        elif record.state != "running":
            runs.go_on(out, forced=False)
        results = _released_before(out, saved_models / origin.name) or _run(
            recipe, out, origin=origin, saved_models=saved_models, training=training, started=started
        )
        runs.finish(out, headline=_headline(results))
    return results


def _headline(results: Mapping[str, Any]) -> dict[str, Any]:
    test = results["test"]
    return {"balanced_accuracy": test["balanced_accuracy"], "interval": test["intervals"]["balanced_accuracy"]}


def _run(
    recipe: Recipe, out: Path, *, origin: Origin, saved_models: Path, training: Training, started: datetime
) -> dict[str, Any]:
    seed_everything(recipe.seed)
    # In one thread, so that the figures of probes don't depend on what runs beside them.
    with metered() as energy, from_run.export_ahead(out, recipe.export) as worker, one_thread():
        splits = recipe.data()
        seed_everything(recipe.seed)  # again, because reading may draw random numbers: tfds does when it prepares a set
        check_same_data(out, splits)
        from_run.record(out, splits, origin.file)
        say(f"data: {splits.in_words()}")
        trained = training(recipe, splits, out=out, cached=origin.cached)
        scarce = beside(trained.scarce)
        finished = finish(trained, splits, out=out, cached=origin.cached)
        measured = Measured(finished, splits, out, cached=origin.cached, force=origin.force)
        unfamiliar = fit_familiarity(
            out, trained.built, finished.model, trained.recipe, splits, kept_phase=trained.best.phase, key=finished.key,
            cached=finished.by_parts,
        )  # fmt: skip
        sampled = beside(partial(keep_sample, out, splits))
        results: dict[str, Any] = {}
        artifacts: Sequence[ArtifactResult] = ()

        def write_report(released_to: Path | None, *notes: str) -> dict[str, str]:
            """Write it, and give what a released version has of it."""
            looks, probed = measured.looks(), scarce()
            found = keep_findings(out, splits, trained.scarce.found())
            content = compose(
                origin=origin, recipe=trained.recipe, splits=splits, built=trained.built, phases=trained.phases,
                best=trained.best, told=trained.told, scarce=probed, test=measured.test, trusted=measured.trusted,
                learned=measured.learned, artifacts=artifacts, released_to=released_to, started=started,
                resumed=_resumed(out), energy_joules=energy.joules(),
            )  # fmt: skip
            content["notes"] += notes
            content |= {"explained": looks.told, "unfamiliar": unfamiliar, **found.told}
            results.update(
                report.write(content, splits, measured.scores, out, failed=measured.failures(), looks=looks.addresses,
                             found=found.pictures)
            )  # fmt: skip
            return {CARD: report.card_of(results)}

        try:
            artifacts = from_run.export_run(
                out, recipe, splits, scores=measured.scores_and_failures, name=origin.name, formats=recipe.export,
                worker=worker, key=finished.key,
            )  # fmt: skip
            artifacts = withhold(artifacts, measured.learned)
            sampled()
            # The report is written just before the version appears, so that no version is without its report.
            facts = card(origin.name, origin.description, splits, measured.test, sets=measured.trusted["sets"])
            described = {**facts, "run": _id_of(out)}
            released_to = release(
                artifacts, name=origin.name, saved_models=saved_models, card=described, before=write_report
            )
        except BaseException as error:
            artifacts = unreleased(artifacts, why=one_line(error))
            with suppress(Exception):  # the disk may still be full; the first error is the one to report
                write_report(None, f"exporting or releasing failed: {one_line(error)}")
                _tell_how_to_go_on(out)
            raise
        if released_to is None:
            write_report(None)
    return results


def _released_before(out: Path, models: Path) -> dict[str, Any] | None:
    """The results of a run that was killed right after its release, its last step; else None."""
    written, record = out / REPORT, runs.read(out)
    if record is None or not record.resumed or not written.is_file():
        return None
    for version in sorted(models.glob("[0-9]*")):
        if read_card(version).get("run") == record.id:
            say(f"it was released as {shown(version)} before it was ended: nothing is left to do")
            results: dict[str, Any] = json.loads(written.read_text(encoding="utf-8"))
            return results
    return None


def _resumed(out: Path) -> list[dict[str, Any]]:
    """When the run was resumed, for the report."""
    record = runs.read(out)
    return [{"at": each["at"], "forced": each["forced"]} for each in record.resumed] if record else []


def _id_of(out: Path) -> str | None:
    record = runs.read(out)
    return record.id if record else None


def _tell_how_to_go_on(out: Path) -> None:
    if (out / RECIPE).is_file():
        say(f"what was trained is kept; this exports and releases it: kt export {shlex.quote(shown(out))}")
