"""Few pictures: warns about them, evaluates a probe by cross-validation, and shows whether more pictures would help.

All results come from the frozen backbone's features. Probes see train and validation alone. `likeness` compares their
features with those of test, to say whether what was found on them holds there.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from kt import linear
from kt.base.beside import beside
from kt.base.console import say, warn
from kt.data.splits import Split, Splits
from kt.findings import Finding
from kt.kinds.kind import Nouns
from kt.learnability.counts import few_pictures, is_scarce
from kt.learnability.features import Known, chosen, frozen_features, not_probed
from kt.learnability.likeness import Likeness, likeness, sampled
from kt.learnability.probes import cross_validation, learning_curve
from kt.network.model import Built
from kt.recipe import Recipe
from kt.training.probe import shares_of

__all__ = ["ProbedSample", "Probing", "Scarcity", "scarcity"]


@dataclass(frozen=True)
class Scarcity:
    """What the number of pictures means for a run, under the keys of `report.json`.

    few_pictures: warnings, one line each. learning_curve: how good a probe is, by the number of training pictures.
    outlook: what more pictures would bring, in one sentence. cross_validation: the figures of a probe on train and
    validation; None unless validation is small. likeness: whether test looks like train and validation; None if it was
    not compared.
    """

    few_pictures: tuple[str, ...] = ()
    learning_curve: tuple[dict[str, Any], ...] = ()
    outlook: str = ""
    cross_validation: dict[str, Any] | None = None
    likeness: Likeness | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Scarcity":
        """The reverse of `dataclasses.asdict`, after JSON."""
        lists = {name: tuple(data[name]) for name in ("few_pictures", "learning_curve")}
        told = data.get("likeness")  # an earlier kt kept none
        return cls(
            **lists,
            outlook=data["outlook"],
            cross_validation=data["cross_validation"],
            likeness=told and Likeness.from_json(told),
        )


@dataclass(frozen=True, eq=False)
class ProbedSample:
    """Pictures of train and validation by their frozen features.

    names: of each. depths: where the features come from, each with its width, in their order.
    """

    known: Known
    names: tuple[str, ...]
    depths: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Probing:
    """What is still to be computed from frozen features. Called, it gives the whole within seconds.

    likeness: gives the comparison of test with train, which is computed beside the training. sample: the pictures of
    train and validation that are probed, for checks of the data; None if nothing is. found: gives what these found.
    """

    whole: Callable[[], Scarcity] = Scarcity
    likeness: Callable[[], Likeness | None] = lambda: None
    sample: ProbedSample | None = None
    found: Callable[[], tuple[Finding, ...]] = tuple

    def __call__(self) -> Scarcity:
        """Probe the features."""
        return self.whole()


def scarcity(built: Built, recipe: Recipe, splits: Splits, *, cached: bool = True) -> Probing:
    """Warn about few pictures, compute the frozen backbone's features, and return what probes them.

    The probes need only these features and take one core for seconds, so they can run beside other work. cached:
    whether the run computes frozen layers only once; if not, nothing is probed. Raises DataError if the backbone gives
    the same features for every picture.
    """
    warnings = few_pictures(splits)
    for warning in warnings:
        warn(warning)
    reason = not_probed(built, recipe) if cached else "frozen layers are not computed once"
    if reason:
        say(f"no learning curve: {reason}")
    shown = sampled(splits, seed=recipe.seed)
    features = None if reason else frozen_features(built, recipe, splits, test=shown)
    if features is None:
        return Probing(lambda: Scarcity(warnings))
    train, validation, test = features
    places = chosen(splits.train.labels, seed=recipe.seed)
    linear.refuse_constant(train.features)
    alike = beside(partial(_compared, train + validation, test, shown, recipe, splits.kind))
    keep, balanced = shares_of(built), recipe.class_weight == "balanced"

    def probed() -> Scarcity:
        curve, sentence = learning_curve(
            train, splits.classes, keep=keep, balanced=balanced, seed=recipe.seed, nouns=splits.kind
        )
        say(sentence)
        figures = None
        if len(train.labels) == len(splits.train) and is_scarce(splits.validation, len(splits.classes)):
            known = train + validation
            figures = cross_validation(known, splits.classes, keep=keep, balanced=balanced, seed=recipe.seed)
        return Scarcity(warnings, tuple(curve), sentence, figures, alike())

    known = train + validation
    depths = built.taps or (("top", known.features.shape[1]),)
    names = (*(splits.train.names[place] for place in places), *splits.validation.names)
    return Probing(probed, alike, ProbedSample(known, names, tuple(depths)))


def _compared(known: Known, test: Known, shown: Split, recipe: Recipe, nouns: Nouns) -> Likeness | None:
    """Compare test with train, and warn if they differ; None if there is no test example to compare."""
    found = likeness(known, test, shown.names, seed=recipe.seed) if len(shown) else None
    if found and (warning := found.warning(nouns)):
        warn(warning)
    return found
