"""Training: each phase compiles anew, moves only what its flags allow, and the best weights of all phases are kept."""

import importlib
import sys
import time
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kt import freeze
from kt.backend import accelerated
from kt.batches import Order, batches, training_batches
from kt.chance import losses, mean_and_interval
from kt.console import Bar, progress_bar, say
from kt.data.splits import Split, Splits
from kt.errors import TrainingError
from kt.features.engine import Engine, Work
from kt.layerwise import BlockRate, highest_rate, optimizer_of, rates_of
from kt.model import Built
from kt.numbers import duration
from kt.probe import probe, scores_layer, used
from kt.progress import EpochLines
from kt.recipe import LinearProbe, Phase, Recipe, Step


@dataclass(frozen=True)
class PhaseResult:
    """What a phase did.

    inputs: what was trained on, pixels or stored outputs of frozen layers. history: a list for each of loss, accuracy,
    val_loss, val_accuracy, lr (with layer_rates the highest), one value an epoch. probe: what a linear probe chose; it
    counts as one epoch, and has no learning rate. layer_rates: the peak rate of each block that trains, the head last;
    empty where all train at `lr`. gain: how much lower the log loss on validation is than that of the weights it began
    from, on the same pictures, with an interval; None where it began from none, or where its weights were not kept.
    """

    name: str
    epochs: int
    epochs_run: int
    lr: float | None
    trainable_parameters: int
    total_parameters: int
    trainable_layers: int
    first_trainable: str
    inputs: str
    seconds: float
    history: dict[str, list[float]]
    best_epoch: int
    best_val_loss: float
    probe: dict[str, Any] | None = None
    layer_rates: tuple[BlockRate, ...] = ()
    gain: dict[str, Any] | None = None


@dataclass
class Best:
    """The best weights so far, over all phases, by the loss on validation; epochs count from 1.

    scores: what they answer on validation, float32 `[N, C]`, once their phase has ended.
    """

    phase: str = ""
    epoch: int = 0
    val_loss: float = float("inf")
    val_accuracy: float = 0.0
    weights: list[npt.NDArray[Any]] | None = None
    scores: npt.NDArray[np.float32] | None = None

    def offer(self, phase: str, epoch: int, *, val_loss: float, val_accuracy: float, model: Any) -> None:
        """Take the model's weights if its loss on validation is lower than any before."""
        if val_loss < self.val_loss:
            self.phase, self.epoch, self.val_loss, self.val_accuracy = phase, epoch, val_loss, val_accuracy
            self.weights = model.get_weights()

    def figures(self) -> dict[str, Any]:
        """Where it was found and how good it was, for the report."""
        return {name: getattr(self, name) for name in ("phase", "epoch", "val_loss", "val_accuracy")}


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy, the backend and tf.data, and make an accelerator's operations deterministic.

    On a CPU TensorFlow's training is bit-identical as it is, and asking for determinism makes it 1.4 times slower.
    """
    keras.utils.set_random_seed(seed)
    tf.random.set_seed(seed)  # augmentation runs in tf.data whichever backend trains
    if keras.backend.backend() == "tensorflow" and accelerated():
        tf.config.experimental.enable_op_determinism()


def train(
    built: Built,
    recipe: Recipe,
    splits: Splits,
    *,
    logs: Path | None = None,
    cached: bool = True,
    trained: bool = False,
    callbacks: Sequence[Any] = (),
) -> tuple[list[PhaseResult], Best]:
    """Train all phases in turn, each from the best weights so far; the model ends with the best of all.

    logs: a folder for TensorBoard. cached: compute frozen layers once. trained: the model begins with weights of an
    earlier training, which the first phase is held against. callbacks: Keras's, for every phase that is fitted. Raises
    TrainingError, with phase and epoch, when a loss is not a number.
    """
    best, results = Best(), []
    engine = Engine(built, recipe, splits, cached=cached)
    for index, step in enumerate(recipe.phases):
        started = time.perf_counter()
        step.trainable(built.backbone)
        if isinstance(step, Phase):
            _announce(step, built)
        work = engine.work(index)
        before = _answers(work, splits) if trained and not index else best.scores
        if isinstance(step, LinearProbe):
            result = _probe(built, recipe, splits, step=step, work=work, best=best, started=started)
        else:
            result = _train_phase(
                built, recipe, splits, index=index, work=work, best=best, started=started, callbacks=callbacks
            )
        if logs:
            _write_scalars(logs / step.name, result.history)
        built.model.set_weights(best.weights)
        if best.phase == step.name:
            best.scores = _answers(work, splits)
            result = replace(result, gain=_gain(before, best.scores, splits.validation, looks=result.epochs_run))
        results.append(result)
    return results, best


def _answers(work: Work, splits: Splits) -> npt.NDArray[np.float32]:
    """What a phase's model says of the validation pictures."""
    pictures = batches(
        work.validation, splits.validation.labels, classes=len(splits.classes), batch_size=splits.batch_size
    )
    return np.asarray(work.model.predict(pictures, verbose=0), np.float32)


def _gain(
    before: npt.NDArray[np.float32] | None, after: npt.NDArray[np.float32], validation: Split, *, looks: int
) -> dict[str, Any] | None:
    """How much lower the log loss on validation is than before, picture by picture; None where it can't be judged."""
    if before is None:
        return None
    labels, groups = validation.labels, validation.groups
    were = losses(before, labels)
    found = mean_and_interval(were - losses(after, labels), groups, looks=looks)
    if found is None:
        return None
    return {
        "log_loss": found[0],
        "interval": found[1],
        "before": float(were.mean()),
        "images": len(labels),
        "things": len(set(groups)),
    }


def check_phases(recipe: Recipe, built: Built) -> None:
    """Set each phase's flags and find its rates once, so that what does not fit the backbone is told at once.

    And look at the head where a linear probe is to go into it.
    """
    for step in recipe.phases:
        step.trainable(built.backbone)
        if isinstance(step, LinearProbe):
            scores_layer(built)
        else:
            rates_of(step, built.model, built.backbone)


def _probe(
    built: Built, recipe: Recipe, splits: Splits, *, step: LinearProbe, work: Work, best: Best, started: float
) -> PhaseResult:
    trains = freeze.count_trainable(built.model, built.backbone)
    found = probe(built, recipe, step, work, splits)
    head: Any = recipe.head
    work.model.compile(loss=head.loss(), metrics=list(head.metrics()), jit_compile=_by_xla())
    figures: dict[str, float] = {}
    for prefix, split, inputs in (("", splits.train, work.train), ("val_", splits.validation, work.validation)):
        pictures = batches(inputs, split.labels, classes=len(splits.classes), batch_size=splits.batch_size)
        found_here = work.model.evaluate(pictures, verbose=0, return_dict=True)
        figures |= {f"{prefix}{name}": float(value) for name, value in found_here.items()}
    best.offer(
        step.name, 1, val_loss=figures["val_loss"], val_accuracy=figures.get("val_accuracy", 0.0), model=built.model
    )  # fmt: skip
    taken = used(found, built.taps)
    seconds = round(time.perf_counter() - started, 2)
    depths = f"{len(taken)} depths" if len(taken) > 1 else next(iter(taken))
    features = f"{sum(taken.values()):,} of {len(found.weights):,} features of {depths}"
    say(
        f"phase {step.name}: linear classifier ({step.classifier}) on {features}; C {found.C:.3g}, "
        f"{duration(seconds)}; validation loss {figures['val_loss']:.4f}"
    )
    chosen = {
        "classifier": step.classifier,
        "C": found.C,
        "features": taken,
        "path": [list(one) for one in found.path],
    }
    history = {name: [value] for name, value in figures.items()}
    return _result(step, trains, inputs=work.inputs, seconds=seconds, history=history, chosen=chosen)


def _announce(phase: Phase, built: Built) -> None:
    """Say what is about to train, before frozen layers are computed for it."""
    trains = freeze.count_trainable(built.model, built.backbone)
    rates = rates_of(phase, built.model, built.backbone)
    lowest = f", {rates[0].block} at {rates[0].lr:.2g}" if rates else ""
    say(
        f"phase {phase.name}: {phase.epochs} epochs at {phase.lr:g}{lowest}; trains {trains.layers} layers, "
        f"{trains.parameters:,} of {trains.total_parameters:,} parameters, from {trains.first} on"
    )


def _train_phase(
    built: Built,
    recipe: Recipe,
    splits: Splits,
    *,
    index: int,
    work: Work,
    best: Best,
    started: float,
    callbacks: Sequence[Any],
) -> PhaseResult:
    phase = recipe.phases[index]
    assert isinstance(phase, Phase)
    trains = freeze.count_trainable(built.model, built.backbone)
    rates = rates_of(phase, built.model, built.backbone)
    # Again for each phase: how much was random in what came before, such as building parts on torch, is of no matter.
    keras.utils.set_random_seed(recipe.seed + index)
    steps = -(-len(splits.train) // splits.batch_size)
    compile_for(work.model, recipe, phase, steps=steps * phase.epochs, backbone=built.backbone)
    classes = len(splits.classes)
    views = len(work.train) // len(splits.train)
    order = Order(len(splits.train), splits.batch_size, seed=(recipe.seed, index), views=views)
    pictures = training_batches(order, work, splits.train.labels, recipe=recipe, classes=classes)
    held_out = batches(work.validation, splits.validation.labels, classes=classes, batch_size=splits.batch_size)
    watch = _Watch(phase, best, whole=built.model, order=order)
    heeded: list[Any] = [watch, *callbacks]
    if phase.patience:
        heeded.append(keras.callbacks.EarlyStopping("val_loss", patience=phase.patience, mode="min"))
    with freeze.inference_where_frozen(built.backbone), progress_bar(phase.name, len(splits.train)) as watch.bar:
        history = work.model.fit(
            pictures, validation_data=held_out, epochs=phase.epochs, callbacks=heeded, shuffle=False, verbose=0
        ).history
    seconds = round(time.perf_counter() - started, 2)
    history = {name: [float(value) for value in values] for name, values in {**history, "lr": watch.rates}.items()}
    result = _result(phase, trains, inputs=work.inputs, seconds=seconds, history=history, rates=rates)
    say(
        f"phase {phase.name}: {duration(result.seconds)}; best validation loss {result.best_val_loss:.4f} in epoch "
        f"{result.best_epoch}"
    )
    return result


def _result(
    step: Step,
    trains: freeze.Trainable,
    *,
    inputs: str,
    seconds: float,
    history: dict[str, list[float]],
    chosen: dict[str, Any] | None = None,
    rates: tuple[BlockRate, ...] = (),
) -> PhaseResult:
    return PhaseResult(
        name=step.name,
        epochs=step.epochs if isinstance(step, Phase) else 1,
        epochs_run=len(history["loss"]),
        lr=step.lr if isinstance(step, Phase) else None,
        trainable_parameters=trains.parameters,
        total_parameters=trains.total_parameters,
        trainable_layers=trains.layers,
        first_trainable=trains.first,
        inputs=inputs,
        seconds=seconds,
        history=history,
        best_epoch=int(np.argmin(history["val_loss"])) + 1,
        best_val_loss=min(history["val_loss"]),
        probe=chosen,
        layer_rates=rates,
    )


def compile_for(model: Any, recipe: Recipe, phase: Phase, *, steps: int, backbone: Any) -> None:
    """Compile the model for a phase: flags that changed after an earlier `compile` would be ignored by Keras.

    model: the whole one or its end behind a border; backbone: the whole one's, on which the depth of a layer counts.
    """
    optimizer = optimizer_of(phase, model, backbone, steps=steps)
    head: Any = recipe.head
    model.compile(optimizer=optimizer, loss=head.loss(), metrics=list(head.metrics()), jit_compile=_by_xla())


def _by_xla() -> bool:
    """XLA on a CPU makes depthwise convolutions about ten times slower; JAX has no other way."""
    return keras.backend.backend() == "jax" or (keras.backend.backend() == "tensorflow" and accelerated())


# ------------------------------------------------------------------------------------------------------- callbacks


class _Watch(keras.callbacks.Callback):  # type: ignore[misc]  # keras ships no types
    """Keeps the best weights, moves the bar, notes the learning rate, and stops at a loss that is no number."""

    bar: Bar

    def __init__(self, phase: Phase, best: Best, *, whole: Any, order: Order) -> None:
        super().__init__()
        self.phase, self.best, self.whole, self.order = phase, best, whole, order
        self.rates: list[float] = []
        self.epoch = 0
        self.lines = EpochLines(phase.name, phase.epochs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        self.epoch, self.order.epoch = epoch + 1, epoch
        self.lines.begin(self.epoch)
        self.bar.restart(f"{self.phase.name} {self.epoch}/{self.phase.epochs}", self.order.pictures)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        loss = float(logs["loss"])
        if not np.isfinite(loss):
            raise self._diverged(f"loss became {loss}", f"epoch {self.epoch}, batch {batch + 1}")
        left = self.order.pictures - batch * self.order.batch_size
        self.bar.advance(min(self.order.batch_size, left), note=f"loss {loss:.3f}")
        self.lines.batch(self.order.pictures - max(0, left - self.order.batch_size), self.order.pictures, loss=loss)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        # Asking for self.model also brings JAX's state back into the weights, which the whole model shares.
        self.rates.append(highest_rate(self.model.optimizer))
        if not np.isfinite(logs["val_loss"]):
            raise self._diverged(f"validation loss became {logs['val_loss']}", f"epoch {self.epoch}")
        accuracy = float(logs.get("val_accuracy", 0.0))
        self.best.offer(
            self.phase.name, self.epoch, val_loss=float(logs["val_loss"]), val_accuracy=accuracy, model=self.whole
        )
        self.lines.end(logs)

    def _diverged(self, what: str, when: str) -> TrainingError:
        lower = f"--set {self.phase.name}.lr={self.phase.lr / 10:g}"
        return TrainingError(f"The {what} in phase {self.phase.name!r}, {when}; a lower lr usually mends it: {lower}.")


def _write_scalars(folder: Path, history: Mapping[str, Sequence[float]]) -> None:
    """The curves of a phase for TensorBoard, written by TensorFlow whichever backend trained."""
    with tf.device("CPU:0"):
        writer = tf.summary.create_file_writer(str(folder))
        with writer.as_default():
            for name, values in history.items():
                for epoch, value in enumerate(values):
                    tf.summary.scalar(name, value, step=epoch)
        writer.close()


class _Callable(types.ModuleType):
    """Lets `kt.train("photos/")`, the one call for Python, share its name with this module (`kt/__init__.py`)."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        return importlib.import_module("kt.interactive").train(*args, **options)


sys.modules[__name__].__class__ = _Callable
