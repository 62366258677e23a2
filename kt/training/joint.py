"""A model that is trained on several streams of examples at once, with an objective beside the head's loss."""

from collections.abc import Mapping
from typing import Any

import keras

from kt.frozen.cut import Cut, Uncut, tail
from kt.graph import nodes
from kt.network.model import Built
from kt.recipe import Answers, Objective, ObjectiveWithLayers

TRAIN = "train"
"""The stream of the training split, which has labels."""


class Joint(keras.Model):  # type: ignore[misc]  # keras ships no types
    """The model of a phase with an objective: the same layers, another `compute_loss`, on all three backends.

    Called with a mapping from streams to inputs, it answers for each stream. Called with plain inputs, as in
    validation, it is the model itself. The value of the objective is a figure of each epoch, under its name. The
    objective's layers, if it has some, train too, and are no part of the model.
    """

    def __init__(self, answering: Any, last: Any, objective: Objective | ObjectiveWithLayers, *, steps: int) -> None:
        """answering: a model that gives scores and features. last: its last layer. steps: of the whole phase."""
        super().__init__(name="joint")
        self.answering, self.objective, self._last = answering, objective, last
        # Validation has no streams, so this figure would mean nothing.
        self.trained_only = (f"val_{type(objective).__name__.lower()}",)
        self._steps = steps
        self._beside: Any = None
        if isinstance(objective, ObjectiveWithLayers):
            scores, features = answering.outputs
            self._beside = objective.layers(int(features.shape[-1]), int(scores.shape[-1]))
            # A variable, for the optimizer's count of steps is a constant where JAX compiles the loss.
            self._done = self.add_weight(
                shape=(), initializer="zeros", dtype="int32", trainable=False, aggregation="only_first_replica",
                name="steps_done",
            )  # fmt: skip
        self.added = keras.metrics.Mean(name=type(objective).__name__.lower())

    @property
    def own_weights(self) -> list[Any]:
        """The weights that the model itself has not: those of the objective's layers, and the count of steps."""
        return [] if self._beside is None else [*self._beside.weights, self._done]

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Scores `[B, C]` for plain inputs; for a mapping, a list of scores, logits and features for each stream."""
        if not isinstance(inputs, Mapping):
            return self.answering(inputs, training=training)[0]
        return {name: self._answers(part, training) for name, part in inputs.items()}

    def _answers(self, inputs: Any, training: bool | None) -> list[Any]:
        scores, features = self.answering(inputs, training=training)
        return [scores, logits_of(self._last, features, scores), features]

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The head's loss on the training split's part of a batch, and what the objective adds."""
        if not isinstance(y_pred, Mapping):
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        loss = super().compute_loss(x, y, y_pred[TRAIN][0], sample_weight, training)
        added = self._added({name: Answers(*answers) for name, answers in y_pred.items()})
        self.added.update_state(added)
        return loss + keras.ops.cast(added, loss.dtype)

    def _added(self, answers: Mapping[str, Answers]) -> Any:
        if not isinstance(self.objective, ObjectiveWithLayers):
            return self.objective.loss(answers)
        progress = keras.ops.cast(self._done, "float32") / self._steps
        self._done.assign_add(1)
        return self.objective.loss(answers, self._beside, progress)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The head's metrics on the training split's part."""
        scores = y_pred[TRAIN][0] if isinstance(y_pred, Mapping) else y_pred
        return super().compute_metrics(x, y, scores, sample_weight)


def joint(built: Built, cut: Cut | Uncut, objective: Objective | ObjectiveWithLayers, *, steps: int) -> Joint:
    """The model of a phase with an objective, from the cut on; its layers are the whole model's own.

    steps: of the whole phase.
    """
    answering, last = with_features(built, cut)
    return Joint(answering, last, objective, steps=steps)


def with_features(built: Built, cut: Cut | Uncut) -> tuple[Any, Any]:
    """The model from the cut on, which gives scores and the features before its last layer; and this last layer."""
    last = nodes([built.features], built.model.outputs)[-1]
    outputs = [*built.model.outputs, last.inputs[0]]
    answering = keras.Model(built.model.inputs, outputs) if isinstance(cut, Uncut) else tail(built, cut, outputs)
    return answering, last.operation


def logits_of(last: Any, features: Any, scores: Any) -> Any:
    """The output of the last layer before its softmax; if it is no such layer, the logarithms of the scores."""
    if isinstance(last, keras.layers.Dense) and last.use_bias:
        return keras.ops.matmul(keras.ops.cast(features, "float32"), last.kernel) + last.bias
    return keras.ops.log(keras.ops.maximum(scores, keras.config.epsilon()))
