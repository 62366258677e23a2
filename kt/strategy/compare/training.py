"""One training of a comparison: a strategy, a seed, and all training pictures or a share of them."""

import dataclasses
import gc
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt import report
from kt.base.stages import Stage
from kt.data.splits import Split, Splits
from kt.heads.classification.measure import evaluate
from kt.network.model import build, in_float32, predict
from kt.recipe import Phase, Recipe
from kt.training import seed_everything, train


@dataclass(frozen=True, eq=False)
class TrainedStrategy:
    """One trained model: its strategy, seed and number of pictures, and its figures.

    right: `[N]`, whether each test picture was classified correctly. fitted: accuracy on the training pictures in the
    last epoch, None if the head has no such metric. steps: how many training steps there were. validation, test:
    figures of `kt.heads.classification.measure`.
    """

    strategy: str
    seed: int
    pictures: int
    seconds: float
    kept: dict[str, Any]
    fitted: float | None
    steps: int
    validation: Mapping[str, Any]
    test: Mapping[str, Any]
    right: npt.NDArray[np.bool_]

    def keep(self, stage: Stage, *, took: float) -> None:
        """Keep it, to resume a comparison. took: seconds of training and scoring."""
        names = [field.name for field in dataclasses.fields(self) if field.name != "right"]
        values = {name: getattr(self, name) for name in names}
        stage.keep({"took": took, "trained": report.plain(values)}, right={"right": self.right})

    @classmethod
    def kept_in(cls, stage: Stage) -> "tuple[TrainedStrategy, float] | None":
        """The model that `keep` wrote, and the seconds that it took; None if there is none."""
        kept = stage.kept()
        if kept is None:
            return None
        return cls(**kept.told["trained"], right=kept.arrays["right"]["right"]), float(kept.told["took"])


class OutOfTime(Exception):  # noqa: N818 - no failure, but the end of the allowed time
    """A training was stopped because the budget was spent."""


class Deadline(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """Ends a training, by raising OutOfTime, once the clock of `time.perf_counter` is past `until`."""

    def __init__(self, until: float) -> None:
        super().__init__()
        self._until = until

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Look at the clock."""
        if time.perf_counter() > self._until:
            raise OutOfTime


def train_once(
    recipe: Recipe, splits: Splits, *, strategy: str, seed: int, share: float, until: float = math.inf,
    steps: Path | None = None,
) -> TrainedStrategy:  # fmt: skip
    """Train a strategy's recipe with a seed on a share of the pictures, and measure it on validation and test once.

    until: the value of `time.perf_counter` at which the training is stopped by raising OutOfTime. steps: a folder for
    checkpoints.
    """
    recipe = dataclasses.replace(recipe, seed=seed)
    if share < 1:
        splits, recipe = subset(splits, share, seed=seed), lengthened(recipe, share)
    started = time.perf_counter()
    seed_everything(seed)
    built = build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    phases, best = train(built, recipe, splits, steps=steps, callbacks=[Deadline(until)])
    model = in_float32(built, recipe)
    seconds = time.perf_counter() - started
    assert best.scores is not None
    validation, _ = _figures(best.scores, splits.validation, splits.classes)
    test, right = _figures(predict(model, splits.test.examples), splits.test, splits.classes)
    accuracy = phases[-1].history.get("accuracy")
    return TrainedStrategy(
        strategy=strategy,
        seed=seed,
        pictures=len(splits.train),
        seconds=seconds,
        kept=best.figures(),
        fitted=accuracy[-1] if accuracy else None,
        steps=-(-len(splits.train) // splits.batch_size) * sum(phase.epochs_run for phase in phases if not phase.probe),
        validation=validation,
        test=test,
        right=right,
    )


def _figures(
    scores: npt.NDArray[np.float32], split: Split, classes: Sequence[str]
) -> tuple[dict[str, Any], npt.NDArray[np.bool_]]:
    """The figures of a model's scores, and whether each picture was classified correctly."""
    figures = evaluate(scores, split.labels, classes, groups=split.groups, resamples=0)
    return figures, scores.argmax(axis=1) == split.labels


def cut_down(splits: Splits, *, train: int, validation: int, test: int) -> Splits:
    """The splits with these numbers of pictures, drawn by class, and the same ones every time."""
    return dataclasses.replace(
        splits,
        train=_drawn(splits.train, train, classes=len(splits.classes)),
        validation=_drawn(splits.validation, validation, classes=len(splits.classes)),
        test=_drawn(splits.test, test, classes=len(splits.classes)),
    )


def _drawn(part: Split, pictures: int, *, classes: int) -> Split:
    """A random sample of a split, with each class in proportion and with at least one picture."""
    if pictures >= len(part):
        return part
    random, chosen = np.random.default_rng(0), list[int]()
    for label in range(classes):
        members = random.permutation(np.flatnonzero(part.labels == label))
        chosen += members[: max(1, round(pictures * len(members) / len(part)))].tolist()
    return part.take(np.sort(np.array(chosen, np.int64)))


def subset(splits: Splits, share: float, *, seed: int) -> Splits:
    """The same splits with a share of the training pictures."""
    return dataclasses.replace(splits, train=splits.train.take(share_of(splits, share, seed=seed)))


def share_of(splits: Splits, share: float, *, seed: int) -> npt.NDArray[np.int64]:
    """The indices of a share of the training pictures, drawn by class, at least 2 of each.

    Pictures are drawn, not groups. A larger share of the same seed contains the smaller one.
    """
    labels, random = splits.train.labels, np.random.default_rng(seed)
    chosen: list[int] = []
    for label in range(len(splits.classes)):
        members = random.permutation(np.flatnonzero(labels == label))
        chosen += members[: max(2, round(share * len(members)))].tolist()
    return np.sort(np.array(chosen, np.int64))


def lengthened(recipe: Recipe, share: float) -> Recipe:
    """The recipe with more epochs for fewer pictures: times 1 / sqrt(share), between equal epochs and equal steps.

    With equal epochs 5% of the pictures would get 5% of the steps, and the curve would show too little training, not
    too few pictures.
    """
    longer = 1 / math.sqrt(share)
    return dataclasses.replace(
        recipe,
        phases=[
            dataclasses.replace(phase, epochs=math.ceil(phase.epochs * longer)) if isinstance(phase, Phase) else phase
            for phase in recipe.phases
        ],
    )


def forget() -> None:
    """Free the memory of the last model."""
    keras.backend.clear_session()
    gc.collect()
