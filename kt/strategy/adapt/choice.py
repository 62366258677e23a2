"""Which candidate a validator chooses, from its scores of several trials."""

from collections.abc import Mapping, Sequence

from kt.adaptation import VALIDATORS, choose
from kt.adaptation.methods import Ensemble
from kt.adaptation.validators import NONE
from kt.errors import RecipeError, did_you_mean
from kt.strategy.adapt.trials import AdaptedTrial

VALIDATOR = "reverse_neighbours"
"""The validator that chooses unless another is named: the one that lost least (benchmarks/README.md)."""

SURE = 0.9
"""How sure it must be that the best candidate is better than none.

The level is not divided by the number of candidates: a wrong choice between candidates that seem alike costs little,
and a method that is not chosen costs all that it would have gained.
"""


def check_validator(name: str) -> None:
    """Raise RecipeError for an unknown validator."""
    if name not in VALIDATORS:
        raise RecipeError(f"There is no validator {name!r}. {did_you_mean(name, list(VALIDATORS))}")


def chosen_by(validator: str, trials: Mapping[str, Sequence[AdaptedTrial]]) -> str | None:
    """The name of the candidate that a validator chooses; None if it can't judge every candidate.

    trials: of each candidate, all with the same seeds, "none" among them.
    """
    table = [[trial.validators.get(validator) for trial in each] for each in trials.values()]
    known = [[score for score in scores if score is not None] for scores in table]
    if NONE not in trials or known != table:
        return None
    return choose(list(trials), known, confidence=SURE, looks=1)


def averaged(chosen: str | None, trials: Mapping[str, Sequence[AdaptedTrial]]) -> str | None:
    """The ensemble in place of one of its members, if it was tried; else what was chosen.

    Validators tell well whether adapting pays, and badly which of several methods pays most: their mean lost less than
    the one that seemed best (benchmarks/README.md, Adaptation).
    """
    members = {member.name for member in Ensemble().members}
    return Ensemble.name if chosen in members and Ensemble.name in trials else chosen
