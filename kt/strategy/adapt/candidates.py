"""The ways to adapt that are compared: methods on frozen features, and objectives that train the network."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kt.adaptation import METHODS
from kt.adaptation.validators import NONE
from kt.errors import RecipeError, did_you_mean
from kt.freeze import frozen, last_blocks
from kt.parts.objectives import Cdan, Coral, Dann, Mcc, Mmd
from kt.recipe import Adaptation, AdaptedProbe, AdaptiveBatchNorm, Phase, Recipe, Shot
from kt.recipe.without_target import features_of, source_steps

TRAINED: Mapping[str, Any] = {"deep_coral": Coral, "mmd": Mmd, "mcc": Mcc, "dann": Dann, "cdan": Cdan}
"""The objectives that adapt a network while it trains, by the names of their candidates."""

STEPS: Mapping[str, Callable[[Phase], Any]] = {
    "batch_norm": lambda phase: AdaptiveBatchNorm(),  # noqa: ARG005 - it trains nothing
    "shot": lambda phase: Shot(trainable=phase.trainable, epochs=phase.epochs, lr=phase.lr),
}
"""Steps that adapt a network to the target alone, by the names of their candidates; made like a phase."""

TITLES: Mapping[str, str] = {
    NONE: "no adaptation",
    "coral": "CORAL",
    "ot_map": "linear optimal transport",
    "subspace": "subspace alignment",
    "ot_labels": "transported labels",
    "importance": "importance weighting",
    "prototypes": "prototypes",
    "ensemble": "ensemble",
    "deep_coral": "Deep CORAL",
    "mmd": "MMD",
    "mcc": "minimum class confusion",
    "dann": "DANN",
    "cdan": "CDAN",
    "batch_norm": "adaptive BatchNorm",
    "shot": "SHOT",
}
"""Names for a person."""

ON_FEATURES, IN_TRAINING = "features", "training"
"""Names for all methods of one sort, for `--methods`."""


NEW_PHASE = Phase("adapt", trainable=last_blocks(2), epochs=10, lr=1e-4)
"""The phase that an objective is added to if the recipe has none that trains the backbone."""


@dataclass(frozen=True)
class WayToAdapt:
    """A way to adapt: a method on features, an objective of a phase, or a step made like a phase; two are None."""

    name: str
    method: Adaptation | None = None
    objective: Any = None
    step: Callable[[Phase], Any] | None = None

    @property
    def trains(self) -> bool:
        """Whether it changes the network and not the classifier alone."""
        return self.method is None

    @property
    def title(self) -> str:
        """The name for a person."""
        return TITLES.get(self.name, self.name)

    def phases(self, recipe: Recipe) -> list[Any]:
        """The steps of the recipe that adapts in this way: those that learn from the source, and one that adapts."""
        return [*source_steps(recipe), *self.adapting(recipe)]

    def adapting(self, recipe: Recipe) -> list[Any]:
        """The step that adapts; none for "none"."""
        if self.objective is not None:
            return [dataclasses.replace(phase_of(recipe), name="adapt", objective=self.objective)]
        if self.step is not None:
            return [self.step(phase_of(recipe))]
        if self.name == NONE or self.method is None:
            return []
        return [AdaptedProbe(features=features_of(recipe), method=self.method)]


def candidates(names: Sequence[str] = (ON_FEATURES,)) -> list[WayToAdapt]:
    """The candidates of these names, in the usual order; "none" is always the first.

    names: of methods, or "features" or "training" for all of a sort. Raises RecipeError for an unknown one, and if
    there is nothing to compare with "none".
    """
    known = [*METHODS, *TRAINED, *STEPS]
    wanted = {NONE}
    for name in names:
        if name == ON_FEATURES:
            wanted |= set(METHODS)
        elif name == IN_TRAINING:
            wanted |= {*TRAINED, *STEPS}
        elif name in known:
            wanted.add(name)
        else:
            raise RecipeError(f"There is no method {name!r}. {did_you_mean(name, [*known, ON_FEATURES, IN_TRAINING])}")
    if wanted == {NONE}:
        raise RecipeError(f"'{NONE}' is always compared; name a method beside it, such as coral.")
    return [_candidate(name) for name in known if name in wanted]


def _candidate(name: str) -> WayToAdapt:
    if name in METHODS:
        return WayToAdapt(name, method=METHODS[name]())
    return WayToAdapt(name, objective=TRAINED[name]()) if name in TRAINED else WayToAdapt(name, step=STEPS[name])


def phase_of(recipe: Recipe) -> Phase:
    """The phase that adapts like it: the recipe's last that trains the backbone; else a new one."""
    phases = [step for step in recipe.phases if isinstance(step, Phase) and step.trainable is not frozen]
    return phases[-1] if phases else NEW_PHASE
