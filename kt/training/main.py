"""Training: each phase compiles anew and trains only what its flags allow; the best weights of all phases are kept."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from kt import freeze
from kt.base.backend import accelerated
from kt.base.chance import losses, mean_and_interval
from kt.base.console import say
from kt.base.stages import digest_of, key_of
from kt.data.splits import Split, Splits
from kt.frozen.engine import Engine, Work
from kt.network.model import Built
from kt.recipe import AdaptiveBatchNorm, LinearProbe, Phase, Recipe, Shot, describe
from kt.training.batch_norm import batch_norms
from kt.training.batches import batches
from kt.training.checkpoints import Checkpoint, Checkpoints, Reached, put_seeds, seed_states, seeds_of
from kt.training.layer_rates import rates_of
from kt.training.probe import scores_layer
from kt.training.results import Best, PhaseResult
from kt.training.session import Session
from kt.training.shot import check_trains
from kt.training.steps import take


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy, the backend and tf.data, and make an accelerator's operations deterministic.

    On a CPU TensorFlow's training is bit-identical anyway, and op determinism would make it 1.4 times slower.
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
    steps: Path | None = None,
    cached: bool = True,
    trained: bool = False,
    first: int = 0,
    callbacks: Sequence[Any] = (),
) -> tuple[list[PhaseResult], Best]:
    """Train all phases in turn, each from the best weights so far. The model ends with the best weights of all phases.

    logs: a folder for TensorBoard. steps: a folder for checkpoints; if it holds those of the same training, training
    goes on from there, with the same result. cached: compute frozen layers once. trained: whether the model begins with
    weights of an earlier training, to which the first phase is compared. first: the index of the first phase to train,
    if the earlier training was that of the phases before it. callbacks: Keras's, for every phase that is fitted. Raises
    TrainingError, with phase and epoch, when a loss is not a number.
    """
    best, results = Best(), []
    engine = Engine(built, recipe, splits, cached=cached)
    kept = Checkpoints(steps, training_key(built, recipe, splits, cached=cached)) if steps else Checkpoints()
    for index, step in list(enumerate(recipe.phases))[first:]:
        with freeze.under(step.trainable, built.backbone):
            checkpoint = kept.of(
                index, step.name, built.model.get_weights(), random=partial(seed_states, recipe.augment)
            )
            reached = checkpoint.reached()
            if reached is not None and reached.result is not None:
                results.append(_done_before(built, best, reached))
            else:
                results.append(_train_step(
                    built, recipe, splits, index=index, engine=engine, best=best, checkpoint=checkpoint,
                    reached=reached, trained=trained and index == first, logs=logs, callbacks=callbacks,
                ))  # fmt: skip
    # Set the last phase's flags, for code that goes on with the model or saves it: BatchNorm, say, is still frozen.
    recipe.phases[-1].trainable(built.backbone)
    return results, best


def _train_step(
    built: Built,
    recipe: Recipe,
    splits: Splits,
    *,
    index: int,
    engine: Engine,
    best: Best,
    checkpoint: Checkpoint,
    reached: Reached | None,
    trained: bool,
    logs: Path | None,
    callbacks: Sequence[Any],
) -> PhaseResult:
    """Train one step, leave the model with the best weights so far, and keep the step's result in its checkpoint."""
    step, started = recipe.phases[index], time.perf_counter()
    if isinstance(step, Phase):
        _announce(step, built)
    work = engine.work(index)
    before = _answers(work, splits) if trained else best.scores
    trains = freeze.count_trainable(built.model, built.backbone)
    session = Session(built, recipe, splits, index, work, best, trains, started, checkpoint, reached, callbacks)
    result = take(step, session)
    if logs:
        _write_scalars(logs / step.name, result.history)
    built.model.set_weights(best.weights)
    own = best.phase == step.name
    if own:
        best.scores = _answers(work, splits)
        if result.adapted_to is None:  # what fits another domain is not judged on validation, which is of this one
            result = replace(result, gain=_gain(before, best.scores, splits.validation, looks=result.epochs_run))
    checkpoint.keep(
        Reached(
            history=result.history, best=best.as_kept(), best_weights=best.weights if own else None,
            scores=best.scores if own else None, seconds=result.seconds, seeds=seeds_of(built.model),
            result={**asdict(result), "history": {}},
        )
    )  # fmt: skip
    return result


def _announce(phase: Phase, built: Built) -> None:
    """Say what is about to train, before frozen layers are computed for it."""
    trains = freeze.count_trainable(built.model, built.backbone)
    rates = rates_of(phase, built.model, built.backbone)
    lowest = f", {rates[0].block} at {rates[0].lr:.2g}" if rates else ""
    say(
        f"phase {phase.name}: {phase.epochs} epochs at {phase.lr:g}{lowest}; trains {trains.layers} layers, "
        f"{trains.parameters:,} of {trains.total_parameters:,} parameters, from {trains.first} on"
    )


def training_key(built: Built, recipe: Recipe, splits: Splits, *, cached: bool) -> str:
    """A hash of all that a training depends on. On a CPU, the same key means the same weights to the last bit."""
    parts = ("backbone", "weights", "head", "phases", "augment", "class_weight", "seed")
    return key_of(
        {name: describe(getattr(recipe, name)) for name in parts},
        {name: _digest_of(part) for name, part in splits.parts().items() if name != "test"},
        {name: [part.names, digest_of([part.examples])] for name, part in splits.streams.items()},
        [splits.digest, splits.batch_size, splits.kind.to_json(), splits.classes],
        [keras.backend.backend(), keras.config.dtype_policy().name, cached],
        digest_of(built.model.get_weights()),
    )


def _digest_of(part: Split) -> str:
    """A hash of which pictures a split holds; their content is in the digest of all splits."""
    return key_of(part.names, part.labels.tolist())


def _done_before(built: Built, best: Best, reached: Reached) -> PhaseResult:
    """Restore a phase that an earlier process completed: the model and the best so far are as it left them."""
    assert reached.result is not None
    result = replace(PhaseResult.from_json(reached.result), history=reached.history)
    best.take(reached)
    if reached.scores is not None:
        best.scores = reached.scores
    built.model.set_weights(best.weights)
    put_seeds(built.model, reached.seeds or [])
    say(f"phase {result.name}: done before; best validation loss {result.best_val_loss:.4f}")
    return result


def _answers(work: Work, splits: Splits) -> npt.NDArray[np.float32]:
    """The scores that a phase's model gives for the validation pictures."""
    pictures = batches(
        work.validation, splits.validation.labels, classes=len(splits.classes), batch_size=splits.batch_size
    )
    return np.asarray(work.model.predict(pictures, verbose=0), np.float32)


def _gain(
    before: npt.NDArray[np.float32] | None, after: npt.NDArray[np.float32], validation: Split, *, looks: int
) -> dict[str, Any] | None:
    """How much lower the log loss on validation is than before, paired by picture; None where it can't be judged."""
    if before is None:
        return None
    labels, groups = validation.labels, validation.groups
    losses_before = losses(before, labels)
    gain = mean_and_interval(losses_before - losses(after, labels), groups, looks=looks)
    if gain is None:
        return None
    mean, interval = gain
    return {
        "log_loss": mean,
        "interval": interval,
        "before": float(losses_before.mean()),
        "images": len(labels),
        "things": len(set(groups)),
    }


def check_phases(recipe: Recipe, built: Built) -> None:
    """Raise RecipeError at once if a step does not fit the network: its flags, its rates, or what it needs there.

    Otherwise the error would come only when the phase begins.
    """
    for step in recipe.phases:
        with freeze.under(step.trainable, built.backbone):
            if isinstance(step, LinearProbe):
                scores_layer(built)
            elif isinstance(step, AdaptiveBatchNorm):
                batch_norms(built.backbone)
            elif isinstance(step, Shot):
                check_trains(step, built)
            elif isinstance(step, Phase):
                rates_of(step, built.model, built.backbone)


def _write_scalars(folder: Path, history: Mapping[str, Sequence[float]]) -> None:
    """The curves of a phase for TensorBoard, written by TensorFlow whichever backend trained."""
    with tf.device("CPU:0"):
        writer = tf.summary.create_file_writer(str(folder))
        with writer.as_default():
            for name, values in history.items():
                for epoch, value in enumerate(values):
                    tf.summary.scalar(name, value, step=epoch)
        writer.close()
