"""The head for classification: the layers from the backbone's features to class scores, and their loss."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kt.errors import RecipeError
from kt.recipe import check_types


@dataclass(frozen=True)
class Classifier:
    """Global average pooling, dropout and a softmax over the classes.

    dropout: share of features dropped in training, 0 to below 1. label_smoothing: share of each label spread over all
    classes, 0 to below 1 (Szegedy et al., CVPR 2016). hidden: units of an optional ReLU layer before the softmax; 0
    for none. calibrated: after training, divide the logits by one temperature that is fitted on validation
    (`kt.training.calibration`); never a change of the top class.
    """

    dropout: float = 0.2
    label_smoothing: float = 0.0
    hidden: int = 0
    calibrated: bool = True

    def __post_init__(self) -> None:
        check_types(self)
        for name in ("dropout", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise RecipeError(f"Classifier: {name} is a share from 0 to below 1, not {getattr(self, name)}.")
        if self.hidden < 0:
            raise RecipeError(f"Classifier: hidden must be 0 or more units, not {self.hidden}.")

    def __call__(self, features: Any, num_classes: int) -> Any:
        """Scores float32 `[N, num_classes]` that sum to 1, from a feature map `[N, h, w, c]` or features `[N, c]`."""
        from keras import layers

        x = layers.GlobalAveragePooling2D(name="pool")(features) if len(features.shape) == 4 else features
        if self.hidden:
            x = layers.Dense(self.hidden, activation="relu", name="hidden")(x)
        if self.dropout:
            x = layers.Dropout(self.dropout, name="dropout")(x)
        # float32 even with mixed precision: a softmax in float16 rounds small scores to 0.
        return layers.Dense(num_classes, activation="softmax", dtype="float32", name="scores")(x)

    def loss(self) -> Any:
        """Cross-entropy between one-hot labels and scores."""
        import keras

        return keras.losses.CategoricalCrossentropy(label_smoothing=self.label_smoothing)

    def metrics(self) -> Sequence[Any]:
        """The metrics to show beside the loss during training."""
        import keras

        return [keras.metrics.CategoricalAccuracy(name="accuracy")]
