"""The main job, top to bottom: read, build, train, evaluate once, export, check, release, report."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kt import report
from kt.beside import beside
from kt.console import say, shown
from kt.data.splits import Pixels, Splits
from kt.errors import RecipeError, one_line
from kt.evaluate import evaluate
from kt.export import ArtifactResult, from_run, release, unreleased
from kt.export.learned import Learned, learned, withhold
from kt.export.value_range import keep
from kt.features.answers import answers
from kt.files import check_openable
from kt.linear import one_thread
from kt.model import Built, build, in_float32, predict
from kt.names import is_plain
from kt.recipe import Recipe
from kt.scarcity import Scarcity, scarcity
from kt.train import Best, PhaseResult, check_phases, seed_everything, train


@dataclass(frozen=True)
class Origin:
    """What was asked for, so that a run can be told and repeated: the recipe's file, docstring and changes to it.

    name: of the recipe, its runs and its models; a folder in `saved_models` gets it. force: release a model of which
    the test pictures show that it has learned nothing, too.
    """

    name: str
    file: Path | None = None
    description: str = ""
    settings: tuple[str, ...] = ()
    data: str | None = None
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
    """Within it, a `run` that is not told its origin takes this one: for a recipe that runs by itself."""
    token = _ASKED.set(origin)
    try:
        yield
    finally:
        _ASKED.reset(token)


def _origin_by(out: Path) -> Origin:
    """The origin of a run of which nothing but its folder is known: `runs/<name>/<time>`, or one named as its model."""
    folder = out.absolute()
    in_runs = re.fullmatch(r"\d{8}-\d{6}(-\d+)?", folder.name) or folder.parent.parent.name == "runs"
    name = re.sub(r"[^\w.-]+", "_", (folder.parent if in_runs else folder).name).strip("._-")
    own = out / "recipe.py"
    return Origin(name=name or "model", file=own if own.is_file() else None)


@dataclass(frozen=True)
class Trained:
    """What training leaves: the model with its best weights, the recipe as it was trained, its phases.

    scarce: tells what the number of pictures means, in seconds. told: further keys of `report.json`; its `notes` join
    those of the run.
    """

    recipe: Recipe
    built: Built
    phases: Sequence[PhaseResult]
    best: Best
    scarce: Callable[[], Scarcity] = Scarcity
    told: Mapping[str, Any] = field(default_factory=dict)


class Training(Protocol):
    """The training step of a run: `as_written`, or one that tries several ways (`kt.strategy`) and gives the best."""

    def __call__(self, recipe: Recipe, splits: Splits, *, logs: Path, cached: bool) -> Trained:
        """Build and train on train and validation alone. logs: a folder for TensorBoard."""
        ...


def as_written(recipe: Recipe, splits: Splits, *, logs: Path, cached: bool) -> Trained:
    """Train the phases of the recipe in turn."""
    built = build(recipe, image_size=splits.image_size, num_classes=len(splits.classes))
    say(report.weights_line(built.pretrained.source))
    check_phases(recipe, built)
    scarce = scarcity(built, recipe, splits, cached=cached)
    phases, best = train(built, recipe, splits, logs=logs, cached=cached)
    return Trained(recipe, built, phases, best, scarce)


def run(
    recipe: Recipe,
    out: Path,
    *,
    origin: Origin | None = None,
    saved_models: Path | None = None,
    training: Training = as_written,
) -> dict[str, Any]:
    """Do the whole job of a recipe and return its results, the content of `out/report.json`.

    out: the run's folder, `runs/<recipe>/<time>`. What passes the gate goes to `saved_models/<recipe>/<version>`.
    origin: where the recipe comes from; unless given, it is the one that `kt run` was called with, or else it is told
    from `out`. saved_models: where that one says, unless given.
    training: what trains; it never sees the test split's results, which are measured once, on what it gives.
    """
    started = datetime.now(UTC)
    origin = origin or _ASKED.get() or _origin_by(out)
    saved_models = saved_models or origin.saved_models
    for folder in (out, saved_models):
        check_openable(folder)
    seed_everything(recipe.seed)
    # In one thread, so that what is probed beside other work leaves no trace in its figures.
    with from_run.export_ahead(out, recipe.export) as worker, one_thread():
        splits = recipe.data()
        seed_everything(recipe.seed)  # again, for reading may draw random numbers: tfds does when it prepares a set
        from_run.record(out, splits, origin.file)
        say(report.data_line(splits))
        trained = training(recipe, splits, logs=out / "logs", cached=origin.cached)
        scarce = beside(trained.scarce)
        model = in_float32(trained.built, trained.recipe)
        model.save(out / "model.keras")
        keep(out / "model.keras", splits.value_range)
        by_parts = origin.cached and model is trained.built.model
        ask = partial(answers, trained.built) if by_parts else partial(predict, model)
        measured = _Measured(ask, splits, recipe, force=origin.force)
        results: dict[str, Any] = {}
        artifacts: Sequence[ArtifactResult] = ()

        def tell(released_to: Path | None, *notes: str) -> None:
            results.update(report.compose(
                origin=origin, recipe=trained.recipe, splits=splits, built=trained.built, phases=trained.phases,
                best=trained.best, told=trained.told, scarce=scarce(), test=measured.test,
                learned=measured.learned, artifacts=artifacts, released_to=released_to, started=started,
            ))  # fmt: skip
            results["notes"] += notes
            report.write(results, splits, measured.scores, out)

        try:
            artifacts = from_run.export_run(
                out, recipe, splits, scores=lambda: measured.scores, name=origin.name, formats=recipe.export,
                worker=worker,
            )  # fmt: skip
            artifacts = withhold(artifacts, measured.learned)
            card = report.card(origin.name, origin.description, splits, measured.test)
            # Just before the version appears, so that whatever happens next to it there is none without its report.
            released_to = release(artifacts, name=origin.name, saved_models=saved_models, card=card, before=tell)
        except BaseException as error:
            artifacts = unreleased(artifacts, why=one_line(error))
            with suppress(Exception):  # the same full disk may hold this too; the first error is the one to tell
                tell(None, f"exporting or releasing failed: {one_line(error)}")
                _tell_how_to_go_on(out)
            raise
        if released_to is None:
            tell(None)
    return results


@dataclass(frozen=True)
class _Measured:
    """What the trained model says of the test split, asked once: while the exports are made, or when it is needed."""

    ask: Callable[[Pixels], npt.NDArray[np.float32]]
    splits: Splits
    recipe: Recipe
    force: bool

    @cached_property
    def scores(self) -> npt.NDArray[np.float32]:
        return self.ask(self.splits.test.pixels)

    @cached_property
    def test(self) -> dict[str, Any]:
        part = self.splits.test
        return evaluate(self.scores, part.labels, self.splits.classes, groups=part.groups, seed=self.recipe.seed)

    @cached_property
    def learned(self) -> Learned:
        return learned(self.test, self.splits.test.things(len(self.splits.classes)), force=self.force)


def _tell_how_to_go_on(out: Path) -> None:
    if (out / "recipe.py").is_file():
        say(f"what was trained is kept; this exports and releases it: kt export {shlex.quote(shown(out))}")
