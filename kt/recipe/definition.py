"""What a recipe is: a job and the steps of its training."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kt.errors import RecipeError, did_you_mean
from kt.recipe.contracts import Adaptation, Objective, ObjectiveWithLayers, Step
from kt.recipe.exports import EXPORTS, Format, check_export
from kt.recipe.field_types import check_step_name, check_takes, check_types, check_unfinished, is_keras, shown
from kt.recipe.unlabelled import AdaptiveBatchNorm, Shot

TOP = "top"
"""The depth at which a probe takes its features: the pooled output of the backbone."""

ALL = "all"
"""The value of `LinearProbe.features` for features of all depths of the backbone, side by side."""


@dataclass(frozen=True)
class Phase:
    """One step of training: which layers train, for how long, and how fast.

    trainable: a function of the backbone that sets `layer.trainable`; the head always trains. lr: the peak learning
    rate. optimizer: a function of the learning rate that gives a Keras optimizer (default: Adam). schedule: a function
    `(lr, steps)` that gives a Keras schedule, such as `kt.Cosine()` (default: constant). patience: the phase ends after
    this many epochs without a better validation loss. layer_rates: a function `(block, blocks)` that gives the factor
    of `lr` for each block, where 0 is the stem and `blocks` the head, such as `kt.LayerwiseDecay()` (default: 1 for
    all). objective: what to train for besides the head's loss, such as `kt.Coral()` (default: nothing).
    """

    name: str
    trainable: Callable[[Any], None]
    epochs: int
    lr: float
    optimizer: Callable[[Any], Any] | None = None
    schedule: Callable[[float, int], Any] | None = None
    patience: int | None = None
    layer_rates: Callable[[int, int], float] | None = None
    objective: Objective | ObjectiveWithLayers | None = None

    def __post_init__(self) -> None:
        check_types(self)
        where = f"Phase {self.name!r}"
        check_step_name(self.name, where)
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
        if self.objective is not None:
            self._check_objective(f"{where}: objective")

    def _check_objective(self, where: str) -> None:
        objective: Any = self.objective
        lacking = [name for name in ("streams", "judged_by", "loss") if not hasattr(objective, name)]
        if isinstance(objective, type) or lacking:
            without = "a class; call it" if isinstance(objective, type) else f"without {' and '.join(lacking)}"
            raise RecipeError(f"{where} is {shown(objective)}, {without}; kt.Coral() shows what an objective needs.")
        given = ["answers"]
        if hasattr(objective, "layers"):
            check_takes(objective.layers, ["width", "classes"], f"{where}: layers")
            given += ["layers", "progress"]
        check_takes(objective.loss, given, f"{where}: loss")
        if "train" in objective.streams:
            raise RecipeError(f"{where}: the training split is there anyway; streams names what comes beside it.")


@dataclass(frozen=True)
class LinearProbe:
    """A step like `Phase` that fits a linear classifier on frozen features, and puts its weights into the head.

    classifier: "softmax" (multinomial logistic regression) or "svm" (a linear SVM, its margins scaled to
    probabilities). C: the inverse strength of the L2 penalty on standardised features, as in scikit-learn; None chooses
    it by cross-validation on train. features: "top", the pooled output of the backbone; the name of one of its blocks
    or layers, whose pooled output is taken; or a list of these, side by side. "all" takes the top and the last of each
    block's widest maps; it leaves some out where these are more than 20 or have more than 10,000 features. Of several
    depths, cross-validation chooses the share of features to use (Evci et al., Head2Toe, ICML 2022). If the top is not
    among the features, the backbone ends at the last block that is.

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
        check_step_name(self.name, where)
        if self.C is not None and self.C <= 0:
            raise RecipeError(f"{where}: C must be above 0, such as 0.01, not {self.C}.")
        if not self.depths or len(set(self.depths)) < len(self.depths):
            raise RecipeError(f"{where}: features must be 'top', a block, or a list of different ones.")

    @property
    def depths(self) -> tuple[str, ...]:
        """The depths of the backbone that features are taken from."""
        return (self.features,) if isinstance(self.features, str) else tuple(self.features)

    def trainable(self, backbone: Any) -> None:
        """Freeze the whole backbone."""
        backbone.trainable = False


@dataclass(frozen=True)
class AdaptedProbe(LinearProbe):
    """A linear probe for another domain, where the model is to work: it learns from the labelled examples and fits the
    other domain's, which have no labels.

    method: how, one of `kt.adaptation.methods`. stream: the name of the other domain's examples in the data
    (`kt.data.Domains` calls them "target"). features and name: as for `LinearProbe`. The method chooses the
    classifier and its penalty, so `classifier` and `C` are refused.

    Nothing that is known without the other domain's labels can compare its weights with those of earlier steps, so they
    replace them. Put it behind the steps that learn from the source alone.
    """

    name: str = "adapted"
    method: Adaptation = None  # type: ignore[assignment]  # required, behind fields that have defaults
    stream: str = "target"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.method, type) or not callable(getattr(self.method, "fit", None)):
            raise RecipeError(
                f"AdaptedProbe {self.name!r}: method is {shown(self.method)}; expected how to adapt, such as "
                "kt.adaptation.methods.CorrelationAlignment()."
            )
        if self.classifier != "softmax" or self.C is not None:
            raise RecipeError(f"AdaptedProbe {self.name!r}: its method chooses classifier and C; leave them out.")

    @property
    def streams(self) -> tuple[str, ...]:
        """The names of the parts of the data that it takes beside the training split."""
        return (self.stream,)

    @property
    def adapted_to(self) -> str:
        """The stream that its weights fit; validation, which is of the other domain, does not judge them."""
        return self.stream


@dataclass(frozen=True)
class Recipe:
    """A whole job: data, backbone, head, phases, exports.

    data: a function that gives `kt.data.Splits`. backbone: a constructor of keras.applications or kt.backbones, or a
    function `(include_top, weights, input_shape)` that gives a Keras model. head: a function `(features, num_classes)`
    that gives class scores, with `loss` and `metrics`. export: names of formats, functions `(model, directory) ->
    Path`, or formats of your own (`kt.Format`). weights: "imagenet", "none" or a local file. augment: a function of
    images, float `[N, H, W, 3]` in 0 to 255, or a list of functions that are called in turn; used in training only and
    never exported. class_weight: "balanced" weighs each class by the inverse of its frequency. seed: for the head's
    weights, the order, dropout and augmentation; the split has its own seed, in `data`. tolerance: how much accuracy,
    as a share, a quantised export may lose and still be released.
    """

    data: Callable[[], Any]
    backbone: Callable[..., Any]
    head: Callable[[Any, int], Any]
    phases: Sequence[Step]
    export: Sequence[str | Callable[[Any, Path], Path] | Format] = ("saved_model", "tflite")
    weights: str | None = "imagenet"
    augment: Callable[..., Any] | Sequence[Callable[..., Any]] | None = None
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
        for step in self.phases:
            if not isinstance(step, Phase | LinearProbe | AdaptiveBatchNorm | Shot) and not callable(
                getattr(step, "train", None)
            ):
                raise RecipeError(
                    f"Recipe: the step {step.name!r} is {shown(step)}, which has no function `train`; expected a "
                    "Phase, a LinearProbe, or an object with name, trainable and train."
                )
        first = next((step for step in self.phases if not isinstance(step, AdaptiveBatchNorm)), None)
        if isinstance(first, Shot):
            raise RecipeError(
                f"Recipe: {first.name!r} keeps the classifier, and no step before it has trained one; put a "
                "LinearProbe or a Phase before it."
            )
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
        own = [export.name for export in self.export if isinstance(export, Format)]
        if twice := {name for name in own if own.count(name) > 1}:
            raise RecipeError(f"Recipe: two formats in export are named {min(twice)!r}; names must differ.")
        if not 0 <= self.tolerance < 1:
            raise RecipeError(
                f"Recipe: tolerance is a share of accuracy from 0 to 1, such as 0.01, not {self.tolerance}."
            )
        if not 0 <= self.seed < 2**31:
            raise RecipeError(f"Recipe: seed must be from 0 to 2147483647, not {self.seed}.")

    def _check_meant(self) -> None:
        """Raise RecipeError for common mistakes in data, backbone and export, with what to write instead."""
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
            if isinstance(export, Format):
                check_export(export)
            elif not isinstance(export, str) and callable(export):
                check_takes(export, ["model", "directory"], "Recipe: export")


def depths_of(recipe: Recipe) -> tuple[str, ...]:
    """The depths of the backbone that the head gets its features from: those of the recipe's probe, or else the top."""
    return next((step.depths for step in recipe.phases if isinstance(step, LinearProbe)), (TOP,))


def streams_of(step: Step) -> tuple[str, ...]:
    """The names of the parts of the data that a step, or its objective, takes beside the training split."""
    return tuple(getattr(getattr(step, "objective", None) or step, "streams", ()))


def epochs_of(recipe: Recipe) -> int:
    """The epochs of all phases together; a linear probe has none."""
    return sum(phase.epochs for phase in recipe.phases if isinstance(phase, Phase))
