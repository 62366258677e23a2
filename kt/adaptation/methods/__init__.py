"""The methods of adaptation on features; one file for each."""

from collections.abc import Callable, Mapping

from kt.adaptation.methods.coral import CorrelationAlignment
from kt.adaptation.methods.ensemble import Ensemble
from kt.adaptation.methods.importance import ImportanceWeighting
from kt.adaptation.methods.none import SourceOnly
from kt.adaptation.methods.ot_labels import TransportedLabels
from kt.adaptation.methods.ot_map import LinearTransport
from kt.adaptation.methods.prototypes import Prototypes
from kt.adaptation.methods.subspace import SubspaceAlignment
from kt.recipe import Adaptation

METHODS: Mapping[str, Callable[[], Adaptation]] = {
    method.name: method
    for method in (
        SourceOnly,
        CorrelationAlignment,
        LinearTransport,
        SubspaceAlignment,
        TransportedLabels,
        ImportanceWeighting,
        Prototypes,
        Ensemble,
    )
}
"""The class of each method by its name. Called without arguments, each gives the method with its usual settings."""

__all__ = [
    "METHODS",
    "CorrelationAlignment",
    "Ensemble",
    "ImportanceWeighting",
    "LinearTransport",
    "Prototypes",
    "SourceOnly",
    "SubspaceAlignment",
    "TransportedLabels",
]
