"""Domain adaptation on features: labels in one domain, the source; examples alone in another, the target.

A method (`METHODS`) gives a linear classifier for the target's features, so that kt can put it into the last layer of a
network. `kt.adaptation.distances` says how far two domains are apart; `kt.adaptation.validators` choose between methods
without target labels.
"""

from kt.adaptation.distances import Discrepancy, Separation, mmd, proxy_a_distance
from kt.adaptation.methods import METHODS
from kt.adaptation.validators import VALIDATORS, Adapted, choose

__all__ = [
    "METHODS",
    "VALIDATORS",
    "Adapted",
    "Discrepancy",
    "Separation",
    "choose",
    "mmd",
    "proxy_a_distance",
]
