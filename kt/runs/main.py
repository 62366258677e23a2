"""The main job, top to bottom: read, build, train, evaluate once, export, check, release, report."""

import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kt import freeze, report, runs
from kt.base.backend import running
from kt.base.beside import beside
from kt.base.console import say, shown, warn
from kt.base.energy import metered
from kt.base.files import beside_its_place, check_openable
from kt.base.names import is_plain
from kt.base.run_folder import ANSWERS, CARD, LEARNABILITY, LOGS, MODEL, RECIPE, REPORT, STEPS
from kt.base.stages import Stage, digest_of, key_of
from kt.data.splits import Split, Splits
from kt.errors import RecipeError, one_line
from kt.export import ArtifactResult, release, unreleased
from kt.export.artifact import keep_kind
from kt.export.learned import Learned, learned, withhold
from kt.export.sample import keep_sample
from kt.failures.find import find_failures
from kt.failures.results import Failures
from kt.findings import Finding
from kt.frozen.answers import answers
from kt.heads.classification.measure import evaluate
from kt.learnability import Probing, Scarcity, scarcity
from kt.linear import one_thread
from kt.network.model import Built, build, in_float32, predict
from kt.recipe import Recipe
from kt.releases.released import read_card
from kt.report.results import card, compose
from kt.runs import exports as from_run
from kt.runs.answers import keep_answers
from kt.runs.data import check_same_data
from kt.runs.explained import Looks, explain_run
from kt.runs.familiar import fit_familiarity
from kt.runs.found import find_by_features, keep_findings
from kt.runs.trust import trust
from kt.training import (
    Best,
    Calibrated,
    PhaseResult,
    calibrate,
    check_phases,
    seed_everything,
    train,
    training_key,
)


@dataclass(frozen=True)
class Origin:
    """What a run was asked for, so that it can be reported and repeated: the recipe's file, docstring and changes.

    name: of the recipe, its runs and its models; a folder in `saved_models` has this name. force: release a model even
    if the test pictures show that it has learned nothing.
    """

    name: str
    file: Path | None = None
    description: str = ""
    settings: tuple[str, ...] = ()
    data: str | None = None
    target: str | None = None
    target_labels: bool | None = False
    command: str = ""
    mixed_precision: bool = False
    cached: bool = True
    saved_models: Path = Path("saved_models")
    force: bool = False

    def __post_init__(self) -> None:
        if not self.name.strip() or self.name.startswith(".") or set(self.name) & set("/\\") or not is_plain(self.name):
            raise RecipeError(
                f"Origin: name is that of a folder in saved_models, such as 'mushrooms', not {self.name!r}."
            )


_ASKED: ContextVar[Origin | None] = ContextVar("asked", default=None)


@contextmanager
def asked_for(origin: Origin) -> Iterator[None]:
    """Within it, a `run` that is given no origin takes this one: for a recipe with its own `run`."""
    token = _ASKED.set(origin)
    try:
        yield
    finally:
        _ASKED.reset(token)


def _origin_by(out: Path) -> Origin:
    """The origin of a run from its folder alone: `runs/<name>/<time>`, or a folder with the model's name."""
    folder = out.absolute()
    in_runs = re.fullmatch(r"\d{8}-\d{6}(-\d+)?", folder.name) or folder.parent.parent.name == "runs"
    name = re.sub(r"[^\w.-]+", "_", (folder.parent if in_runs else folder).name).strip("._-")
    own = out / RECIPE
    return Origin(name=name or "model", file=own if own.is_file() else None)


@dataclass(frozen=True)
class Trained:
    """The result of training: the model with its best weights, the recipe as it was trained, its phases.

    scarce: gives what the number of pictures means, within seconds. told: further keys of `report.json`. The run writes
    none of them itself, except `notes`, to which it adds its own.
    """

    recipe: Recipe
    built: Built
    phases: Sequence[PhaseResult]
    best: Best
    scarce: Probing = field(default_factory=Probing)
    told: Mapping[str, Any] = field(default_factory=dict)


class Training(Protocol):
    """The training of a run: `as_written`, or one that tries several ways (`kt.strategy`) and gives the best."""

    def __call__(self, recipe: Recipe, splits: Splits, *, out: Path, cached: bool) -> Trained:
        """Build and train on train and validation alone. out: the run's folder, which keeps checkpoints."""
        ...


def as_written(recipe: Recipe, splits: Splits, *, out: Path, cached: bool) -> Trained:
    """Train the phases of the recipe in turn."""
    built = build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    say(f"weights: {built.pretrained.source.in_words()}")
    check_phases(recipe, built)
    key = training_key(built, recipe, splits, cached=cached)
    scarce = _kept(
        Stage(out / LEARNABILITY, key),
        lambda: scarcity(built, recipe, splits, cached=cached),
        lambda probing: find_by_features(probing.sample, splits, seed=recipe.seed),
    )
    phases, best = train(built, recipe, splits, logs=out / LOGS, steps=out / STEPS, cached=cached)
    return Trained(recipe, built, phases, best, scarce)


def _kept(stage: Stage, begin: Callable[[], Probing], find: Callable[[Probing], tuple[Finding, ...]]) -> Probing:
    """The result that an earlier process kept in the stage, or else that of `begin`, kept once it is computed.

    find: what the data's features tell of the data, for `Probing.found`.
    """
    kept = stage.kept()
    if kept is not None:
        before = Scarcity.from_json(kept.told)
        for warning in before.few_pictures:
            warn(warning)
        findings = tuple(map(Finding.from_json, kept.told.get("found", ())))  # an earlier kt kept none
        return Probing(lambda: before, lambda: before.likeness, found=lambda: findings)
    compute = begin()
    found = cache(partial(find, compute))

    def computed() -> Scarcity:
        result = compute()
        stage.keep({**report.plain(asdict(result)), "found": [finding.to_json() for finding in found()]})
        return result

    return Probing(computed, compute.likeness, compute.sample, found)


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
    origin = origin or _ASKED.get() or _origin_by(out)
    saved_models = saved_models or origin.saved_models
    for folder in (out, saved_models):
        check_openable(folder)
    with runs.at_work(out):
        record = runs.read(out)
        if record is None or record.state == "finished":
            runs.begin(out, _asked(origin, recipe, saved_models))
        elif record.state != "running":
            runs.go_on(out, forced=False)
        results = _released_before(out, saved_models / origin.name) or _run(
            recipe, out, origin=origin, saved_models=saved_models, training=training, started=started
        )
        runs.finish(out, headline=_headline(results))
    return results


def _asked(origin: Origin, recipe: Recipe, saved_models: Path) -> runs.Asked:
    """What a run was asked for, if it was not begun by the command line."""
    return runs.Asked(
        name=origin.name, file=str(origin.file) if origin.file else None, folder=str(Path.cwd()),
        data=origin.data, target=origin.target, target_labels=origin.target_labels,
        settings=origin.settings, seed=recipe.seed, backend=running(),
        mixed_precision=origin.mixed_precision, cached=origin.cached, saved_models=str(saved_models),
        force=origin.force, command=origin.command,
    )  # fmt: skip


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
        model = in_float32(trained.built, trained.recipe)
        alike = trained.scarce.likeness()
        calibrated = calibrate(model, trained.recipe, splits, best=trained.best, phases=trained.phases,
                               unlike=alike is not None and alike.large)  # fmt: skip
        # Otherwise the file holds the optimizer's state, twice the size of the weights.
        model.optimizer, model.compiled = None, False
        with beside_its_place(out / MODEL) as place:
            model.save(place)
            keep_kind(place, splits.kind)
        if trained.best.scores is not None:
            stage = Stage(out / ANSWERS / "validation", key_of(digest_of(model.get_weights()), splits.digest))
            _keep(stage, trained.best.scores, splits.validation, splits, recipe)
        by_parts = origin.cached and model is trained.built.model
        moving = freeze.moving(trained.recipe.phases[-1].trainable, trained.built.backbone)
        ask = partial(answers, trained.built, moving=moving) if by_parts else partial(predict, model)
        key = key_of(digest_of(model.get_weights()), splits.digest, splits.kind.to_json(), by_parts)
        failing = partial(find_failures, trained.recipe, trained.built, model, splits, cached=origin.cached)
        stage = Stage(out / ANSWERS / "test", key)
        looking = partial(explain_run, out, model, splits, ask=ask, key=key, seed=recipe.seed)
        measured = _Measured(
            ask, splits, recipe, stage, calibrated, trained.best.scores, force=origin.force, fail=failing,
            explain=looking,
        )  # fmt: skip
        unfamiliar = fit_familiarity(
            out, trained.built, model, trained.recipe, splits, kept_phase=trained.best.phase, key=key, cached=by_parts
        )
        sampled = beside(partial(keep_sample, out, splits))
        results: dict[str, Any] = {}
        artifacts: Sequence[ArtifactResult] = ()

        def write_report(released_to: Path | None, *notes: str) -> dict[str, str]:
            """Write it, and give what a released version has of it."""
            where, probed = measured.looks(), scarce()
            found = keep_findings(out, splits, trained.scarce.found())
            content = compose(
                origin=origin, recipe=trained.recipe, splits=splits, built=trained.built, phases=trained.phases,
                best=trained.best, told=trained.told, scarce=probed, test=measured.test, trusted=measured.trusted,
                learned=measured.learned, artifacts=artifacts, released_to=released_to, started=started,
                resumed=_resumed(out), energy_joules=energy.joules(),
            )  # fmt: skip
            content["notes"] += notes
            content |= {"explained": where.told, "unfamiliar": unfamiliar, **found.told}
            results.update(
                report.write(content, splits, measured.scores, out, failed=measured.failures(), looks=where.addresses,
                             found=found.pictures)
            )  # fmt: skip
            return {CARD: report.card_of(results)}

        try:
            artifacts = from_run.export_run(
                out, recipe, splits, scores=measured.scores_and_failures, name=origin.name, formats=recipe.export,
                worker=worker, key=key,
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


@dataclass(frozen=True)
class _Measured:
    """The trained model's scores for the test split, computed once: while the exports are made, or when needed."""

    ask: Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]
    splits: Splits
    recipe: Recipe
    stage: Stage
    calibrated: Calibrated
    validation: npt.NDArray[np.float32] | None
    force: bool
    fail: Callable[[npt.NDArray[np.float32]], Failures]
    explain: Callable[[npt.NDArray[np.float32]], Looks]

    @cached_property
    def scores(self) -> npt.NDArray[np.float32]:
        kept = self.stage.kept()
        if kept is not None:
            return kept.arrays["scores"]["scores"]
        scores = self.ask(self.splits.test.examples)
        _keep(self.stage, scores, self.splits.test, self.splits, self.recipe)
        return scores

    @cached_property
    def failures(self) -> Callable[[], Failures]:
        """Begins to find out where the model fails, beside other work; a call waits for the result."""
        return beside(partial(self.fail, self.scores))

    @cached_property
    def looks(self) -> Callable[[], Looks]:
        """Begins to find out where the model looks, after where it fails: two threads must not trace Keras at once."""
        failures, scores = self.failures, self.scores

        def explain() -> Looks:
            with suppress(Exception):  # whoever needs the failures is told
                failures()
            return self.explain(scores)

        return beside(explain)

    def scores_and_failures(self) -> npt.NDArray[np.float32]:
        """The scores; where the model fails, and where it looks, is then found out while the exports are made."""
        scores, _, _ = self.scores, self.failures, self.looks
        return scores

    @cached_property
    def test(self) -> dict[str, Any]:
        part = self.splits.test
        return evaluate(self.scores, part.labels, self.splits.classes, groups=part.groups, seed=self.recipe.seed)

    @cached_property
    def trusted(self) -> dict[str, Any]:
        return trust(self.scores, self.validation, self.splits, self.calibrated, seed=self.recipe.seed)

    @cached_property
    def learned(self) -> Learned:
        things = self.splits.test.things(len(self.splits.classes))
        return learned(self.test, things, force=self.force, nouns=self.splits.kind)


def _keep(stage: Stage, scores: npt.NDArray[np.float32], part: Split, splits: Splits, recipe: Recipe) -> None:
    keep_answers(stage, scores, part, classes=splits.classes, seed=recipe.seed, kind=splits.kind)


def _tell_how_to_go_on(out: Path) -> None:
    if (out / RECIPE).is_file():
        say(f"what was trained is kept; this exports and releases it: kt export {shlex.quote(shown(out))}")
