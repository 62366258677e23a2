"""One training of a comparison: a strategy, a seed, all of the training pictures or a share of them."""

import dataclasses
import gc
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt.data.splits import Split, Splits
from kt.evaluate import evaluate
from kt.model import build, in_float32, predict
from kt.recipe import Phase, Recipe
from kt.train import seed_everything, train


@dataclass(frozen=True, eq=False)
class Trained:
    """One trained model: which strategy, which seed, how many pictures, and how it did.

    right: `[N]`, for each test picture whether it was told. fitted: accuracy on the training pictures in the last
    epoch, None where the head has no such metric. steps: how many training steps there were. validation: the figures of
    `kt.evaluate`, as test.
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


class OutOfTime(Exception):  # noqa: N818 - no failure, but the end of what was allowed
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
    recipe: Recipe, splits: Splits, *, strategy: str, seed: int, share: float, until: float = math.inf
) -> Trained:
    """Train a strategy's recipe with a seed on a share of the pictures; each split but train is answered once.

    until: when a training is stopped, by raising OutOfTime, on the clock of `time.perf_counter`.
    """
    recipe = dataclasses.replace(recipe, seed=seed)
    if share < 1:
        splits, recipe = subset(splits, share, seed=seed), lengthened(recipe, share)
    started = time.perf_counter()
    seed_everything(seed)
    built = build(recipe, image_size=splits.image_size, num_classes=len(splits.classes))
    phases, best = train(built, recipe, splits, callbacks=[Deadline(until)])
    model = in_float32(built, recipe)
    seconds = time.perf_counter() - started
    assert best.scores is not None
    validation, _ = _figures(best.scores, splits.validation, splits.classes)
    test, right = _figures(predict(model, splits.test.pixels), splits.test, splits.classes)
    accuracy = phases[-1].history.get("accuracy")
    return Trained(
        strategy=strategy,
        seed=seed,
        pictures=len(splits.train),
        seconds=seconds,
        kept=best.figures(),
        fitted=accuracy[-1] if accuracy else None,
        steps=-(-len(splits.train) // splits.batch_size) * sum(one.epochs_run for one in phases if not one.probe),
        validation=validation,
        test=test,
        right=right,
    )


def _figures(
    scores: npt.NDArray[np.float32], split: Split, classes: Sequence[str]
) -> tuple[dict[str, Any], npt.NDArray[np.bool_]]:
    """The figures of a model's answers, and for each picture whether it was told."""
    figures = evaluate(scores, split.labels, classes, groups=split.groups, resamples=0)
    return figures, scores.argmax(axis=1) == split.labels


def cut_down(splits: Splits, *, train: int, validation: int, test: int) -> Splits:
    """The same splits with so many pictures of each, drawn class by class, and the same ones every time."""
    return dataclasses.replace(
        splits,
        train=_drawn(splits.train, train, classes=len(splits.classes)),
        validation=_drawn(splits.validation, validation, classes=len(splits.classes)),
        test=_drawn(splits.test, test, classes=len(splits.classes)),
    )


def _drawn(part: Split, pictures: int, *, classes: int) -> Split:
    """So many pictures of a split by lot, each class with its share, and one picture at least."""
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
    """The indices of a share of the training pictures, drawn class by class, at least 2 of each.

    Pictures are drawn, not the things they show. What a smaller share has, a larger one of the same seed has too.
    """
    labels, random = splits.train.labels, np.random.default_rng(seed)
    chosen: list[int] = []
    for label in range(len(splits.classes)):
        members = random.permutation(np.flatnonzero(labels == label))
        chosen += members[: max(2, round(share * len(members)))].tolist()
    return np.sort(np.array(chosen, np.int64))


def lengthened(recipe: Recipe, share: float) -> Recipe:
    """With more epochs for fewer pictures, by the square root: half way between as many epochs and as many steps.

    With the same epochs 5% of the pictures would get 5% of the steps, and the curve would show too little training,
    not too few pictures.
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
    """Let go of the last model's memory."""
    keras.backend.clear_session()
    gc.collect()
