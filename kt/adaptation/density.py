"""How much more frequent each source example is in the target domain."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from kt.adaptation.features import pair
from kt.errors import DataError
from kt.linear import cross_validated, fit
from kt.linear.space import Floats


def domain_probabilities(
    source: Floats, target: Floats, *, groups: Sequence[str] | None, others: Sequence[str] | None, seed: int
) -> Floats:
    """The probability `[N + M]` that each example is of the target domain, as likely as the source beforehand.

    It comes from a logistic regression that has seen neither the example nor its group. groups, others: of the source's
    and of the target's examples; None if each is on its own.
    """
    own = [f"source {name}" for name in (range(len(source)) if groups is None else groups)]
    its = [f"target {name}" for name in (range(len(target)) if others is None else others)]
    if (len(own), len(its)) != (len(source), len(target)):
        raise DataError(f"{len(own)} and {len(its)} groups don't fit {len(source)} and {len(target)} examples.")
    if min(len(set(own)), len(set(its))) < 2:
        raise DataError("A domain has a single independent example; a domain classifier needs at least two of each.")
    domain = np.repeat([0, 1], [len(source), len(target)])
    named = None if groups is None and others is None else own + its  # folds without groups are quicker to find
    both = np.vstack([source, target])
    # One strength for all folds takes a fifth of the time, and it was chosen on held-out examples too.
    strength = fit(both, domain, classes=2, groups=named, balanced=True, seed=seed).C
    scores = cross_validated(both, domain, classes=2, C=strength, groups=named, balanced=True, seed=seed)
    return scores[:, 1]


def density_ratio(
    source: npt.ArrayLike, target: npt.ArrayLike, *, groups: Sequence[str] | None = None, seed: int = 0
) -> Floats:
    """The density of the target divided by that of the source, `[N]`, at each source example; 1 if they are the same.

    A domain classifier's odds give it (Bickel, Brückner and Scheffer, Discriminative Learning Under Covariate Shift,
    JMLR 2009), here cross-validated, so that no example weighs little because its domain was learnt by heart. groups:
    of the source, whose examples are held out together. Raises DataError if a domain has a single group.
    """
    rows, others = pair(source, target)
    likely = domain_probabilities(rows, others, groups=groups, others=None, seed=seed)[: len(rows)]
    likely = np.clip(likely, 1e-6, 1 - 1e-6)
    return np.asarray(likely / (1 - likely))
