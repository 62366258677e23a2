"""How each kind of step trains. A recipe's own kind of step has a method `train`."""

from collections.abc import Mapping
from dataclasses import replace
from functools import singledispatch
from typing import Any

import keras

from kt.base.console import progress_bar, say
from kt.base.numbers import duration
from kt.freeze import inference_where_frozen
from kt.linear import Linear
from kt.recipe import AdaptedProbe, AdaptiveBatchNorm, LinearProbe, Phase, Shot
from kt.training.batch_norm import renew_statistics
from kt.training.batches import Order, batches, training_batches
from kt.training.checkpoints import seed_anew, seed_states
from kt.training.fitting import compile_for
from kt.training.joint import joint
from kt.training.layer_rates import rates_of
from kt.training.probe import fit_adapted, fit_probe, used
from kt.training.results import JUDGED_BY, PhaseResult
from kt.training.session import Session
from kt.training.shot import move_towards
from kt.training.watch import Watch


@singledispatch
def take(step: Any, session: Session) -> PhaseResult:
    """Do a step of a training: train the session's model, offer its weights as the best, and give the result."""
    result: PhaseResult = step.train(session)
    return result


@take.register
def _(step: Phase, session: Session) -> PhaseResult:
    built, recipe, splits, work = session.built, session.recipe, session.splits, session.work
    rates = rates_of(step, built.model, built.backbone)
    # Reseed, so that a phase does not depend on how many random numbers earlier steps drew.
    keras.utils.set_random_seed(recipe.seed + session.index)
    steps, classes = step.epochs * -(-len(splits.train) // splits.batch_size), len(splits.classes)
    model = work.model if step.objective is None else joint(built, work.cut, step.objective, steps=steps)
    compile_for(model, recipe, step, steps=steps, backbone=built.backbone)
    views = len(work.train) // len(splits.train)
    order = Order(len(splits.train), splits.batch_size, seed=(recipe.seed, session.index), views=views)
    pictures = training_batches(order, work, splits.train.labels, recipe=recipe, classes=classes)
    held_out = batches(work.validation, splits.validation.labels, classes=classes, batch_size=splits.batch_size)
    watch = Watch(
        step, session.best, whole=built.model, order=order, checkpoint=session.checkpoint, started=session.started,
        many=splits.kind.many,
    )  # fmt: skip
    drawn_from = seed_states(recipe.augment)
    seed_anew(drawn_from, recipe.seed, session.index)
    reached = session.reached
    if keras.backend.backend() != "tensorflow" and (drawn_from or reached is not None):
        # On these backends Keras builds a compiled model on a batch that it throws away. Build it on this one, for
        # which no random numbers are drawn.
        model.evaluate(held_out.take(1), verbose=0)
    if reached is not None:
        watch.go_on(reached, model)
    bar = progress_bar(step.name, len(splits.train), unit=f"{splits.kind.unit}s")
    with inference_where_frozen(built.backbone), bar as watch.bar:
        if not watch.is_over:
            model.fit(
                pictures, validation_data=held_out, initial_epoch=watch.epochs, epochs=step.epochs,
                callbacks=[watch, *session.callbacks], shuffle=False, verbose=0,
            )  # fmt: skip
    result = session.result(watch.history, seconds=watch.seconds, rates=rates)
    say(
        f"phase {step.name}: {duration(result.seconds)}; best validation loss {result.best_val_loss:.4f} in epoch "
        f"{result.best_epoch}"
    )
    return result


@take.register
def _(step: LinearProbe, session: Session) -> PhaseResult:
    solved = fit_probe(session.built, session.recipe, step, session.work, session.splits)
    figures = session.measured()
    session.offer(figures)
    return _told(session, solved, figures, classifier=step.classifier)


@take.register
def _(step: AdaptedProbe, session: Session) -> PhaseResult:
    solved = fit_adapted(session.built, session.recipe, step, session.work, session.splits)
    figures = session.measured()
    # Its loss on the source's validation can't be compared with that of a classifier for the source.
    session.offer({**figures, step.name: figures[JUDGED_BY]}, judged_by=step.name)
    return _told(session, solved, figures, classifier=step.method.name)


@take.register
def _(step: AdaptiveBatchNorm, session: Session) -> PhaseResult:
    examples = session.work.train if step.stream == "train" else session.work.streams[step.stream]
    layers = renew_statistics(session.built, examples)
    figures = session.measured()
    session.offer({**figures, step.name: figures[JUDGED_BY]}, judged_by=step.name)
    nothing = replace(session.trains, layers=0, parameters=0, first="none")
    result = replace(session, trains=nothing).result({name: [value] for name, value in figures.items()})
    say(
        f"phase {step.name}: statistics of {layers} BatchNormalization layers from {len(examples):,} "
        f"{session.splits.kind.many} of {step.stream}, {duration(result.seconds)}; validation loss "
        f"{figures['val_loss']:.4f}"
    )
    return result


@take.register
def _(step: Shot, session: Session) -> PhaseResult:
    return move_towards(step, session)


def _told(session: Session, solved: Linear, figures: Mapping[str, float], *, classifier: str) -> PhaseResult:
    """The result of a step that has put a linear classifier into the head, and a line about it."""
    step, taken = session.step, used(solved, session.built.taps)
    chosen = {
        "classifier": classifier,
        "C": solved.C,
        "features": taken,
        "path": [list(point) for point in solved.path],
    }
    result = session.result({name: [value] for name, value in figures.items()}, probe=chosen)
    depths = f"{len(taken)} depths" if len(taken) > 1 else next(iter(taken))
    features = f"{sum(taken.values()):,} of {len(solved.weights):,} features of {depths}"
    say(
        f"phase {step.name}: linear classifier ({classifier}) on {features}; C {solved.C:.3g}, "
        f"{duration(result.seconds)}; validation loss {figures['val_loss']:.4f}"
    )
    return result
