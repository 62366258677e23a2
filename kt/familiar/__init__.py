"""Whether an example is unlike anything that a model learned from, on features alone."""

from kt.familiar.carried import UNFAMILIAR, UNFAMILIARITY, Carried, as_rows
from kt.familiar.limit import FEWEST, RATE, Limit, limit_of
from kt.familiar.model import MOST, NAME, Familiarity
from kt.familiar.place import FROZEN, OWN, PREFIX, FeaturePlace

__all__ = [
    "FEWEST",
    "FROZEN",
    "MOST",
    "NAME",
    "OWN",
    "PREFIX",
    "RATE",
    "UNFAMILIAR",
    "UNFAMILIARITY",
    "Carried",
    "Familiarity",
    "FeaturePlace",
    "Limit",
    "as_rows",
    "limit_of",
]  # fmt: skip
