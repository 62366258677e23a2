"""What a recipe is: a job and the steps of its training."""

import dataclasses
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kt.errors import RecipeError, did_you_mean
from kt.recipe.field_types import check_takes, check_types, check_unfinished, is_keras

EXPORTS = ("saved_model", "tflite", "keras", "onnx", "openvino")
"""Formats that `Recipe.export` takes by name; a function `(model, directory) -> Path` makes any other."""

TOP = "top"
"""Where a probe takes its features: the pooled output of the backbone."""

ALL = "all"
"""And all depths of it side by side."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Phase:
    """One stretch of training: which layers move, for how long, how fast.

    trainable: a function of the backbone that sets `layer.trainable`; the head always trains. lr: the peak learning
    rate. optimizer: a function of the learning rate that gives a Keras optimizer (default: Adam). schedule: a function
    `(lr, steps)` that gives a Keras schedule, such as `kt.Cosine()` (default: constant). patience: end the phase after
    so many epochs without a better validation loss. layer_rates: a function `(block, blocks)` that gives the factor of
    `lr` for each block, 0 being the stem and `blocks` the head, such as `kt.LayerwiseDecay()` (default: 1 for all).
    """

    name: str
    trainable: Callable[[Any], None]
    epochs: int
    lr: float
    optimizer: Callable[[Any], Any] | None = None
    schedule: Callable[[float, int], Any] | None = None
    patience: int | None = None
    layer_rates: Callable[[int, int], float] | None = None

    def __post_init__(self) -> None:
        check_types(self)
        where = f"Phase {self.name!r}"
        _check_name(self.name, where)
        if self.epochs < 1:
            raise RecipeError(f"{where}: epochs must be at least 1, not {self.epochs}.")
        if not 0 < self.lr < 100:
            raise RecipeError(f"{where}: lr must be above 0, such as 1e-3, not {self.lr}.")
        if self.patience is not None and self.patience < 1:
            raise RecipeError(f"{where}: patience must be at least 1 epoch, not {self.patience}.")
        check_unfinished(self.trainable, f"{where}: trainable")
        check_takes(self.trainable, ["backbone"], f"{where}: trainable")
        if self.schedule is not None:
            check_takes(self.schedule, ["lr", "steps"], f"{where}: schedule")
        if self.optimizer is not None:
            check_takes(self.optimizer, ["lr"], f"{where}: optimizer")


def _check_name(name: str, where: str) -> None:
    if not _NAME.fullmatch(name):
        raise RecipeError(f"{where}: a name has letters, digits, '_' and '-', and begins with a letter.")


@dataclass(frozen=True)
class LinearProbe:
    """A step like `Phase` that fits a convex classifier on frozen features, and puts its weights into the head.

    classifier: "softmax" (multinomial logistic regression) or "svm" (a linear SVM, its margins scaled to
    probabilities). C: the inverse strength of the L2 penalty on standardised features, as in scikit-learn; None chooses
    it by cross-validation on train. features: "top", the pooled output of the backbone; or the name of a layer or block
    of it (its end), pooled; or several of these side by side; "all" for the top and the last of each block's widest
    maps, some left out where there are more than 20 or 10,000 features. Of several depths the features are used that
    cross-validation finds to pay (Evci et al., Head2Toe, ICML 2022). A backbone of which the top is not taken ends at
    the last block that is.

    Later phases go on from the probe's weights (Kumar et al., Fine-Tuning can Distort Pretrained Features and
    Underperform Out-of-Distribution, ICLR 2022).
    """

    classifier: Literal["softmax", "svm"] = "softmax"
    C: float | None = None
    features: str | Sequence[str] = TOP
    name: str = "probe"

    def __post_init__(self) -> None:
        check_types(self)
        where = f"LinearProbe {self.name!r}"
        _check_name(self.name, where)
        if self.C is not None and self.C <= 0:
            raise RecipeError(f"{where}: C must be above 0, such as 0.01, not {self.C}.")
        if not self.depths or len(set(self.depths)) < len(self.depths):
            raise RecipeError(f"{where}: features must be 'top', a block, or a list of different ones.")

    @property
    def depths(self) -> tuple[str, ...]:
        """The places in the backbone that features are taken from."""
        return (self.features,) if isinstance(self.features, str) else tuple(self.features)

    def trainable(self, backbone: Any) -> None:
        """Nothing of the backbone moves."""
        backbone.trainable = False


Step = Phase | LinearProbe


@dataclass(frozen=True)
class Recipe:
    """A whole job: data, backbone, head, phases, exports.

    data: a function that gives `kt.data.Splits`. backbone: a constructor of keras.applications or kt.backbones, or a
    function `(include_top, weights, input_shape)` that gives a Keras model. head: a function `(features, num_classes)`
    that gives class scores, with `loss` and `metrics`. export: names of formats, or functions `(model, directory) ->
    Path`. weights: "imagenet", "none" or a local file. augment: a function of images, float `[N, H, W, 3]` in 0 to 255,
    used in training only and never exported. class_weight: "balanced" weighs each class by the inverse of its
    frequency. seed: of the head's weights, the order, dropout and augmentation; the split has its own, in `data`.
    tolerance: the accuracy, as a share, that a quantised export may lose and still be released.
    """

    data: Callable[[], Any]
    backbone: Callable[..., Any]
    head: Callable[[Any, int], Any]
    phases: Sequence[Step]
    export: Sequence[str | Callable[[Any, Path], Path]] = ("saved_model", "tflite")
    weights: str | None = "imagenet"
    augment: Callable[[Any], Any] | None = None
    class_weight: Literal["balanced"] | None = None
    seed: int = 0
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        self._check_meant()
        check_types(self)
        check_takes(self.data, [], "Recipe: data")
        check_takes(self.backbone, ["include_top", "weights", "input_shape"], "Recipe: backbone")
        for name in ("loss", "metrics"):
            if not callable(getattr(self.head, name, None)):
                raise RecipeError(f"Recipe: head has no function {name!r}; kt.Classifier shows what a head needs.")
        check_takes(self.head, ["features", "num_classes"], "Recipe: head")
        if not self.phases:
            raise RecipeError("Recipe: phases is empty; it needs at least one Phase.")
        names = [phase.name for phase in self.phases]
        if twice := {name for name in names if names.count(name) > 1}:
            raise RecipeError(f"Recipe: two phases are named {min(twice)!r}; names must differ.")
        if len(depths := {step.depths for step in self.phases if isinstance(step, LinearProbe)}) > 1:
            raise RecipeError(
                f"Recipe: its probes take features at {' and at '.join(map(str, sorted(depths)))}; the head has one "
                "place for them, so they must be the same."
            )
        if clash := set(names) & {field.name for field in dataclasses.fields(self)}:
            raise RecipeError(f"Recipe: a phase can't be named {min(clash)!r}, as a field of the recipe is.")
        for export in self.export:
            if isinstance(export, str) and export not in EXPORTS:
                raise RecipeError(f"Recipe: unknown export {export!r}. {did_you_mean(export, EXPORTS)}")
        if not 0 <= self.tolerance < 1:
            raise RecipeError(
                f"Recipe: tolerance is a share of accuracy from 0 to 1, such as 0.01, not {self.tolerance}."
            )
        if not 0 <= self.seed < 2**31:
            raise RecipeError(f"Recipe: seed must be from 0 to 2147483647, not {self.seed}.")

    def _check_meant(self) -> None:
        """Tell what is often given for the data and the backbone by mistake, and what to write instead."""
        data: Any = self.data
        if isinstance(data, str | Path):
            kind = "Table" if str(data).lower().endswith(".csv") else "Folder"
            raise RecipeError(f'Recipe: data is a path; write data=kt.data.{kind}("{data}").')
        backbone: Any = self.backbone
        if isinstance(backbone, str):
            raise RecipeError(
                f"Recipe: backbone must be a function, not {backbone!r}; write it without quotes, such as "
                f"keras.applications.{backbone if backbone.isidentifier() else 'MobileNetV2'}."
            )
        kind_of = type(backbone)
        if any(is_keras(kind_of, name) for name in ("Layer", "KerasTensor")) or kind_of.__module__.startswith("torch."):
            raise RecipeError(
                f"Recipe: backbone is a {kind_of.__name__} that is built already; give what builds it, without calling "
                "it, such as keras.applications.MobileNetV2, or a function (include_top, weights, input_shape) that "
                "returns your model."
            )
        for export in self.export if isinstance(self.export, list | tuple) else ():
            if not isinstance(export, str) and callable(export):
                check_takes(export, ["model", "directory"], "Recipe: export")


def depths_of(recipe: Recipe) -> tuple[str, ...]:
    """The places in the backbone that the head gets its features from: where the probe wants them, or else the top."""
    return next((step.depths for step in recipe.phases if isinstance(step, LinearProbe)), (TOP,))


def epochs_of(recipe: Recipe) -> int:
    """The epochs of all phases together; a linear probe is solved and has none."""
    return sum(phase.epochs for phase in recipe.phases if isinstance(phase, Phase))
