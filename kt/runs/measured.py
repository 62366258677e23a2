"""The trained model as it is exported, its scores for the test split, and all that follows, each computed once."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kt import freeze
from kt.base.beside import beside
from kt.base.files import beside_its_place
from kt.base.run_folder import ANSWERS, MODEL
from kt.base.stages import Stage, digest_of, key_of
from kt.data.splits import Split, Splits
from kt.export.artifact import keep_kind
from kt.export.learned import Learned, learned
from kt.failures.find import find_failures
from kt.failures.results import Failures
from kt.frozen.answers import answers
from kt.heads.classification.measure import evaluate
from kt.network.model import in_float32, predict
from kt.recipe import Recipe
from kt.runs.answers import keep_answers
from kt.runs.explained import Looks, explain_run
from kt.runs.trained import Trained
from kt.runs.trust import trust
from kt.training import Calibrated, calibrate


@dataclass(frozen=True)
class Finished:
    """The trained model as it is exported: in full precision, calibrated, written to the run's folder.

    by_parts: whether it answers from cached activations of its frozen part. key: a hash of all that its answers depend
    on. ask: its scores for examples of the data's kind, float32 `[n, classes]`.
    """

    trained: Trained
    model: Any
    calibrated: Calibrated
    by_parts: bool
    key: str
    ask: Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]


def finish(trained: Trained, splits: Splits, *, out: Path, cached: bool) -> Finished:
    """Calibrate the trained model, and write it and its answers to validation into the run's folder."""
    model = in_float32(trained.built, trained.recipe)
    alike = trained.scarce.likeness()
    calibrated = calibrate(
        model,
        trained.recipe,
        splits,
        best=trained.best,
        phases=trained.phases,
        unlike=alike is not None and alike.large,
    )
    # Otherwise the file holds the optimizer's state, twice the size of the weights.
    model.optimizer, model.compiled = None, False
    with beside_its_place(out / MODEL) as place:
        model.save(place)
        keep_kind(place, splits.kind)
    weights = digest_of(model.get_weights())
    if trained.best.scores is not None:
        stage = Stage(out / ANSWERS / "validation", key_of(weights, splits.digest))
        _keep(stage, trained.best.scores, splits.validation, splits, trained.recipe)
    by_parts = cached and model is trained.built.model
    moving = freeze.moving(trained.recipe.phases[-1].trainable, trained.built.backbone)
    ask = partial(answers, trained.built, moving=moving) if by_parts else partial(predict, model)
    key = key_of(weights, splits.digest, splits.kind.to_json(), by_parts)
    return Finished(trained, model, calibrated, by_parts, key, ask)


@dataclass(frozen=True)
class Measured:
    """The finished model's scores for the test split, computed once: while the exports are made, or when needed.

    cached: whether activations are cached. force: whether a model may be released that shows no sign of having learned.
    """

    finished: Finished
    splits: Splits
    out: Path
    cached: bool
    force: bool

    @cached_property
    def scores(self) -> npt.NDArray[np.float32]:
        """Float32 `[n, classes]`; those that an earlier process of this run kept, if it did."""
        stage = Stage(self.out / ANSWERS / "test", self.finished.key)
        kept = stage.kept()
        if kept is not None:
            return kept.arrays["scores"]["scores"]
        scores = self.finished.ask(self.splits.test.examples)
        _keep(stage, scores, self.splits.test, self.splits, self._recipe)
        return scores

    @cached_property
    def failures(self) -> Callable[[], Failures]:
        """Begins to find out where the model fails, beside other work; a call waits for the result."""
        scores, trained = self.scores, self.finished.trained
        model = self.finished.model
        find = partial(find_failures, trained.recipe, trained.built, model, self.splits, scores, cached=self.cached)
        return beside(find)

    @cached_property
    def looks(self) -> Callable[[], Looks]:
        """Begins to find out where the model looks, after where it fails: two threads must not trace Keras at once."""
        failures, scores, finished = self.failures, self.scores, self.finished

        def explain() -> Looks:
            with suppress(Exception):  # whoever needs the failures is told
                failures()
            return explain_run(
                self.out, finished.model, self.splits, scores,
                ask=finished.ask, key=finished.key, seed=self._recipe.seed,
            )  # fmt: skip

        return beside(explain)

    def scores_and_failures(self) -> npt.NDArray[np.float32]:
        """The scores; where the model fails, and where it looks, is then found out while the exports are made."""
        scores, _, _ = self.scores, self.failures, self.looks
        return scores

    @cached_property
    def test(self) -> dict[str, Any]:
        """The figures on the test split, as in `report.json`."""
        part, seed = self.splits.test, self._recipe.seed
        return evaluate(self.scores, part.labels, self.splits.classes, groups=part.groups, seed=seed)

    @cached_property
    def trusted(self) -> dict[str, Any]:
        """How far scores can be trusted: calibration, abstention and sets, as in `report.json`."""
        validation, calibrated = self.finished.trained.best.scores, self.finished.calibrated
        return trust(self.scores, validation, self.splits, calibrated, seed=self._recipe.seed)

    @cached_property
    def learned(self) -> Learned:
        """Whether the test split shows that the model has learned anything."""
        things = self.splits.test.things(len(self.splits.classes))
        return learned(self.test, things, force=self.force, nouns=self.splits.kind)

    @property
    def _recipe(self) -> Recipe:
        return self.finished.trained.recipe


def _keep(stage: Stage, scores: npt.NDArray[np.float32], part: Split, splits: Splits, recipe: Recipe) -> None:
    keep_answers(stage, scores, part, classes=splits.classes, seed=recipe.seed, kind=splits.kind)
