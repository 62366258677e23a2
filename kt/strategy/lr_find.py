"""The learning-rate range test: a phase's rate rises at every step, and the rate of the steepest fall is suggested.

(Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017.) The loss is measured on the same training
pictures after each step, so that it does not depend on the luck of a batch. The test split is never used.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d

import kt
from kt import freeze
from kt.base.console import progress_bar
from kt.base.run_folder import STEPS
from kt.data.splits import Splits
from kt.errors import RecipeError, TrainingError, did_you_mean
from kt.frozen.engine import Engine, Inputs, Work
from kt.network.model import Built, build
from kt.recipe import Phase, Recipe
from kt.training import check_phases, compile_for, seed_everything, train
from kt.training.batches import Order, training_batches

FEWEST_STEPS = 20
"""With fewer steps the rate would jump by more than half a decade at each, and the curve would show nothing."""

DIVERGED = 4.0
"""The test ends when the loss is this many times the first loss, and above that of guessing."""

MEASURED_ON = 128
"""The most training pictures that the loss is measured on after each step."""

LEAST_FALL = 0.02
"""A rate is suggested only if the loss falls by at least this share of the first loss."""


@dataclass(frozen=True)
class Range:
    """The rates to try: from the lowest to the highest by equal factors, one training step at each."""

    lowest: float = 1e-7
    highest: float = 10.0
    steps: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.lowest < self.highest < 100:
            raise RecipeError(
                f"The rates must rise from above 0 to below 100, not from {self.lowest:g} to {self.highest:g}."
            )
        if self.steps < FEWEST_STEPS:
            raise RecipeError(f"{self.steps} steps tell too little: at least {FEWEST_STEPS} are needed, 100 are usual.")

    def rates(self) -> npt.NDArray[np.float64]:
        """The rate of each step."""
        return np.geomspace(self.lowest, self.highest, self.steps)

    def __call__(self, lr: float, steps: int) -> Any:
        """The Keras schedule that rises to `lr`; with layer-wise rates each block's rises to its own."""
        rise = self.highest / self.lowest
        return keras.optimizers.schedules.ExponentialDecay(lr / rise, decay_steps=steps - 1, decay_rate=rise)


@dataclass(frozen=True)
class Found:
    """The result of a range test.

    rates, losses, batch_losses: one value a step. A step's loss is measured after it, on the same pictures each time,
    in inference mode; its batch loss is that of training. smoothed: the losses, smoothed. suggested: None if the loss
    fell at no rate. why: the reason for that, or the rule of the suggestion. diverged_at: the rate at which the test
    ended early. layer_rates: whether blocks have their own rates. kind, pictures: the kind and number
    of training examples. measured_on: how many of them the loss was measured on.
    """

    phase: str
    lr: float
    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    first_loss: float
    suggested: float | None
    why: str
    diverged_at: float | None
    layer_rates: bool
    batch_losses: list[float] = field(default_factory=list)
    kind: str = "pictures"
    pictures: int = 0
    measured_on: int = 0


def lr_find(recipe: Recipe, *, phase: str | None = None, over: Range | None = None, out: Path | None = None) -> Found:
    """Try a range of rates in a phase and suggest one. The trained weights are not kept.

    phase: its name; by default the last phase with a rate. Phases before it are trained first, as in a run, since the
    rate for a new head does not suit a trained one. out: a folder for their checkpoints. Raises RecipeError for an
    unknown phase, and TrainingError if the loss is not a number from the start.
    """
    index = index_of(recipe, phase)
    seed_everything(recipe.seed)
    splits = recipe.data()
    seed_everything(recipe.seed)
    built = build(recipe, kind=splits.kind, num_classes=len(splits.classes))
    check_phases(recipe, built)
    recipe = dataclasses.replace(recipe, phases=recipe.phases[: index + 1])
    if index:
        Engine(built, recipe, splits).prepare()
        before = dataclasses.replace(recipe, phases=recipe.phases[:index])
        train(built, before, splits, steps=out / STEPS if out else None)
    return range_test(built, recipe, splits, index=index, over=over or Range())


def told(found: Found, recipe: Recipe, *, name: str, command: str, started: datetime) -> dict[str, Any]:
    """The content of `lr-find.json`: the result, how to apply it, and how to repeat the test."""
    values = dataclasses.asdict(found)
    for key in ("losses", "batch_losses"):  # a step that ended the test may have none, and JSON knows no NaN
        values[key] = [value if math.isfinite(value) else None for value in values[key]]
    return {
        "recipe": name,
        "phase": values.pop("phase"),
        "suggested": values.pop("suggested"),
        "set": f"--set {found.phase}.lr={found.suggested:g}" if found.suggested else None,
        **values,
        "seed": recipe.seed,
        "backend": str(keras.backend.backend()),
        "kt": kt.__version__,
        "command": command,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round((datetime.now(UTC) - started).total_seconds(), 1),
    }


def range_test(built: Built, recipe: Recipe, splits: Splits, *, index: int, over: Range) -> Found:
    """The range test of one phase from the model's present weights, which are restored afterwards."""
    work = Engine(built, recipe, splits).work(index)
    with freeze.under(recipe.phases[index].trainable, built.backbone):
        return _tested(built, recipe, splits, index=index, work=work, over=over)


def _tested(built: Built, recipe: Recipe, splits: Splits, *, index: int, work: Work, over: Range) -> Found:
    phase: Any = recipe.phases[index]
    keras.utils.set_random_seed(recipe.seed + index)
    rising = dataclasses.replace(phase, lr=over.highest, schedule=over)
    compile_for(work.model, recipe, rising, steps=over.steps, backbone=built.backbone)
    probed = _fixed_batches(work.train, splits)
    batches = _whole_batches(work, recipe, splits, seed=(recipe.seed, index))
    kept = built.model.get_weights()
    try:
        with freeze.inference_where_frozen(built.backbone):
            first = _loss(work.model, probed)
            if not math.isfinite(first):
                raise TrainingError(
                    f"The loss in phase {phase.name!r} is {first} before the first step, so no rate can "
                    f"mend it; look at the head's loss, and at the {splits.kind.many}."
                )
            limit = max(DIVERGED * first, math.log(len(splits.classes)))
            losses, batch_losses = _rise(work.model, batches, probed, over=over, limit=limit)
    finally:
        built.model.set_weights(kept)
    measured_on = sum(len(labels) for _, labels in probed)
    result = _result(phase, over, first, losses, diverged=not losses[-1] <= limit)
    return dataclasses.replace(
        result, batch_losses=batch_losses, kind=splits.kind.name, pictures=len(splits.train), measured_on=measured_on
    )


Batch = tuple[npt.NDArray[Any], ...]


def _rise(
    model: Any, batches: Iterator[Batch], probed: Sequence[Batch], *, over: Range, limit: float
) -> tuple[list[float], list[float]]:
    """The loss after each step on the probed batches, and on the step's own batch, until the loss is past the limit."""
    losses: list[float] = []
    batch_losses: list[float] = []
    with progress_bar("rates", over.steps, unit="step") as bar:
        for rate, batch in zip(over.rates(), batches, strict=False):
            batch_losses.append(float(model.train_on_batch(*batch, return_dict=True)["loss"]))
            losses.append(_loss(model, probed))
            bar.advance(note=f"rate {rate:.1e}, loss {losses[-1]:.3f}")
            if not losses[-1] <= limit:  # past it, or no number
                break
    return losses, batch_losses


def _loss(model: Any, probed: Sequence[Batch]) -> float:
    """The mean loss over batches of one size, in inference mode."""
    return float(np.mean([model.test_on_batch(*batch, return_dict=True)["loss"] for batch in probed]))


def _fixed_batches(inputs: Inputs, splits: Splits) -> list[Batch]:
    """Evenly spaced training pictures, at most `MEASURED_ON`, in batches of one size, since each size compiles."""
    labels = splits.train.labels
    wanted = min(len(labels), MEASURED_ON)
    count = -(-wanted // splits.batch_size)
    places = np.linspace(0, len(labels) - 1, wanted // count * count).astype(np.int64)
    one_hot = np.eye(len(splits.classes), dtype=np.float32)
    return [(np.asarray(inputs[chosen]), one_hot[labels[chosen]]) for chosen in np.split(places, count)]


def _whole_batches(work: Work, recipe: Recipe, splits: Splits, *, seed: tuple[int, ...]) -> Iterator[Batch]:
    """Training batches of one size, otherwise as in the phase itself, epoch after epoch without end."""
    views = len(work.train) // len(splits.train)
    order = Order(len(splits.train), splits.batch_size, seed=seed, views=views)
    pictures = training_batches(order, work, splits.train.labels, recipe=recipe, classes=len(splits.classes))
    size = min(splits.batch_size, len(splits.train))
    for epoch in itertools.count():
        order.epoch = epoch
        yield from (batch for batch in pictures.as_numpy_iterator() if len(batch[1]) == size)


def _result(phase: Phase, over: Range, first: float, losses: list[float], *, diverged: bool) -> Found:
    rates = over.rates()[: len(losses)]
    usable = losses[:-1] if diverged else losses
    if len(usable) < FEWEST_STEPS // 4:
        raise TrainingError(
            f"Phase {phase.name!r} diverges at once: the loss went from {first:.3g} to {losses[-1]:.3g} at the rate "
            f"{rates[-1]:.1e}, after {len(losses)} steps. Begin lower, such as --from {over.lowest / 1000:.0e}."
        )
    smoothed = smooth(usable, over)
    suggested, why = suggestion(rates[: len(usable)], smoothed, first)
    return Found(
        phase=phase.name,
        lr=phase.lr,
        rates=rates.tolist(),
        losses=losses,
        smoothed=smoothed.tolist(),
        first_loss=first,
        suggested=suggested,
        why=why,
        diverged_at=float(rates[-1]) if diverged else None,
        layer_rates=phase.layer_rates is not None,
    )


def smooth(losses: Sequence[float], over: Range) -> npt.NDArray[np.float64]:
    """The losses smoothed by a Gaussian a quarter of a decade wide, which does not shift them.

    Their logarithms are smoothed, so that the end, where the loss is ten times as high, does not hide a fall.
    """
    decades = math.log10(over.highest / over.lowest)
    logarithms = np.log(np.maximum(losses, 1e-7))
    return np.asarray(np.exp(gaussian_filter1d(logarithms, 0.25 * over.steps / decades, mode="nearest")), np.float64)


def suggestion(
    rates: npt.NDArray[np.float64], smoothed: npt.NDArray[np.float64], first: float
) -> tuple[float | None, str]:
    """The rate to take, and the rule in words. rates: rising by equal factors; smoothed: the losses at them.

    It is the rate of the steepest fall of the loss, over the logarithm of the rate, before the lowest loss. None if the
    loss does not fall by `LEAST_FALL`.
    """
    lowest = int(np.argmin(smoothed))
    fall = 1 - smoothed[lowest] / first
    if lowest < 2 or fall < LEAST_FALL:
        return None, (
            f"at no rate does the loss fall by {LEAST_FALL:.0%} of the {first:.3g} it begins with, so this phase has "
            f"little to learn, or has too few steps to show it"
        )
    steepest = int(np.argmin(np.gradient(smoothed[: lowest + 1])))
    return float(f"{rates[steepest]:.1e}"), (
        f"where the loss falls fastest; it is lowest, {smoothed[lowest]:.3g}, at {rates[lowest]:.1e}"
    )


def index_of(recipe: Recipe, name: str | None) -> int:
    """The index of the phase with this name; without a name, of the last phase with a rate."""
    with_rate = {step.name: index for index, step in enumerate(recipe.phases) if isinstance(step, Phase)}
    if not with_rate:
        raise RecipeError("The recipe has no phase with a learning rate: a linear probe needs none.")
    if name is None:
        return max(with_rate.values())
    if name not in with_rate:
        if name in [step.name for step in recipe.phases]:
            raise RecipeError(f"{name!r} is a linear probe, which has no learning rate. {did_you_mean('', with_rate)}")
        raise RecipeError(f"The recipe has no phase {name!r}. {did_you_mean(name, with_rate)}")
    return with_rate[name]
