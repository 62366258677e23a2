"""SHOT: the backbone's top moves towards another domain, whose examples have no labels; the classifier stays."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from kt import freeze
from kt.base.console import progress_bar, say
from kt.base.numbers import duration
from kt.errors import RecipeError, TrainingError
from kt.frozen.encode import BATCH, Encode, by_backend
from kt.frozen.engine import Inputs
from kt.graph import leaves, nodes
from kt.network.model import Built
from kt.parts.objectives.information import entropy_and_diversity
from kt.recipe import Shot
from kt.training.batches import Order
from kt.training.fitting import by_xla
from kt.training.joint import logits_of, with_features
from kt.training.results import JUDGED_BY, PhaseResult
from kt.training.session import Session


class SourceFree(keras.Model):  # type: ignore[misc]  # keras ships no types
    """The model of the step: the same layers, and a loss that needs pseudo-labels alone."""

    def __init__(self, answering: Any, last: Any, step: Shot) -> None:
        """answering: a model that gives scores and features. last: its last layer."""
        super().__init__(name="source_free")
        self.answering, self._last, self._step = answering, last, step

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """The logits `[B, C]`."""
        scores, features = self.answering(inputs, training=training)
        return logits_of(self._last, features, scores)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Entropy less diversity, and the cross-entropy with pseudo-labels y, one-hot `[B, C]`."""
        del x, sample_weight, training
        entropy, diversity = entropy_and_diversity(y_pred)
        logarithms = keras.ops.log_softmax(keras.ops.cast(y_pred, "float32"))
        agreement = keras.ops.sum(keras.ops.cast(y, "float32") * logarithms, axis=-1)
        return entropy - self._step.diversity * diversity - self._step.weight * keras.ops.mean(agreement)


def pseudo_labels(features: npt.NDArray[np.float32], scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """The class of the nearest centroid for each example, by cosine, from features `[N, D]` and scores `[N, C]`.

    The first centroids are the means of the features, weighted by the scores. The second are the means of the examples
    that the first give to each class; a class without an example keeps its first. (Liang et al., 2020, section 3.3.)
    """
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    weights: npt.NDArray[Any] = scores.astype(np.float64)
    centroids = _means(unit, weights)
    labels = _nearest(unit, centroids)
    members = np.eye(scores.shape[1])[labels]
    there = members.any(axis=0)
    centroids[there] = _means(unit, members)[there]
    return _nearest(unit, centroids)


def _means(features: npt.NDArray[Any], weights: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The weighted mean of the features for each class: `[C, D]`."""
    return np.asarray(weights.T @ features / np.maximum(weights.sum(axis=0), 1e-12)[:, None])


def _nearest(unit: npt.NDArray[Any], centroids: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The centroid with the largest cosine. unit: features of length 1."""
    lengths = np.maximum(np.linalg.norm(centroids, axis=1), 1e-12)
    return np.asarray((unit @ (centroids / lengths[:, None]).T).argmax(axis=1), np.int64)


def check_trains(step: Shot, built: Built) -> None:
    """Raise RecipeError if the step trains nothing. The backbone's flags are as the step sets them."""
    if not any(leaf.trainable_weights for leaf in leaves(built.backbone)):
        raise RecipeError(
            f"Shot {step.name!r} keeps the classifier and trains the backbone's top, and its trainable freezes all of "
            "the backbone; take kt.freeze.last_blocks(1), for example."
        )


def move_towards(step: Shot, session: Session) -> PhaseResult:
    """Do the step: train on the stream alone, offer the last epoch's weights, and give the result."""
    built, recipe, splits = session.built, session.recipe, session.splits
    inputs, classes = session.work.streams[step.stream], len(splits.classes)
    keras.utils.set_random_seed(recipe.seed + session.index)
    answering, last = with_features(built, session.work.cut)
    answer, model = by_backend(answering), SourceFree(answering, last, step)
    order = Order(len(inputs), splits.batch_size, seed=(recipe.seed, session.index))
    history: dict[str, list[float]] = {}
    waiting = progress_bar(step.name, step.epochs, unit="epochs")
    with _head_frozen(built), freeze.inference_where_frozen(built.model), waiting as bar:
        trains = freeze.count_trainable(built.model, built.backbone)
        optimizer = step.optimizer(step.lr) if step.optimizer else keras.optimizers.Adam(step.lr)
        model.compile(optimizer=optimizer, jit_compile=by_xla())
        for epoch in range(step.epochs):
            order.epoch = epoch
            one_hot = np.eye(classes, dtype=np.float32)[pseudo_labels(*_answers(answer, inputs))]
            loss = _epoch(model, inputs, one_hot, order)
            if not np.isfinite(loss):
                raise TrainingError(f"Shot {step.name!r}: the loss is {loss} in epoch {epoch + 1}; take a lower lr.")
            for name, value in {**session.measured(), "shot": loss}.items():
                history.setdefault(name, []).append(value)
            bar.advance(1)
    figures = {name: values[-1] for name, values in history.items()}
    session.offer({**figures, step.name: figures[JUDGED_BY]}, epoch=step.epochs, judged_by=step.name)
    result = replace(
        replace(session, trains=trains).result(history),
        lr=step.lr, best_epoch=step.epochs, best_val_loss=figures[JUDGED_BY],
    )  # fmt: skip
    say(
        f"phase {step.name}: {step.epochs} epochs on {len(inputs):,} {splits.kind.many} of {step.stream}, "
        f"{duration(result.seconds)}; validation loss {figures[JUDGED_BY]:.4f}"
    )
    return result


def _answers(answer: Encode, inputs: Inputs) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Features `[N, D]` and scores `[N, C]` of all examples, in inference mode."""
    parts = [answer(np.asarray(inputs[chosen])) for chosen in _in_turn(len(inputs))]
    scores, features = (np.concatenate(part) for part in zip(*parts, strict=True))
    return features, scores


def _in_turn(count: int) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, count, BATCH):
        yield np.arange(start, min(start + BATCH, count))


def _epoch(model: Any, inputs: Inputs, one_hot: npt.NDArray[np.float32], order: Order) -> float:
    """Train one epoch; the mean loss."""
    model.reset_metrics()
    told: dict[str, Any] = {}
    for chosen in order():
        told = model.train_on_batch(np.asarray(inputs[chosen]), one_hot[chosen], return_dict=True)
    return float(told["loss"])


@contextmanager
def _head_frozen(built: Built) -> Iterator[None]:
    """Within it no layer of the head trains."""
    head = [node.operation for node in nodes([built.features], built.model.outputs)]
    before = [(layer, layer.trainable) for layer in head if hasattr(layer, "trainable")]
    for layer, _ in before:
        layer.trainable = False
    try:
        yield
    finally:
        for layer, flag in before:
            layer.trainable = flag
