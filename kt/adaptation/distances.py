"""How far two domains are apart, and whether that is more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from kt.adaptation.density import domain_probabilities
from kt.adaptation.features import drawn, pair
from kt.base.chance import mean_and_interval
from kt.base.metrics import CONFIDENCE
from kt.errors import DataError, RecipeError
from kt.linear.folds import Ints
from kt.linear.space import Floats

MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""The widths of the kernels, as multiples of the median distance between two examples."""


@dataclass(frozen=True)
class Discrepancy:
    """The distance of two domains and how unlikely it is by chance.

    squared: an estimate of the squared maximum mean discrepancy, 0 on average for domains that are the same, so it can
    be below 0; at most 2. p: the share of random divisions into two domains with at least this distance, above 0 to 1.
    """

    squared: float
    p: float


@dataclass(frozen=True)
class Separation:
    """How well a linear classifier tells two domains apart.

    distance: the proxy A-distance, from 0 (not at all) to 2 (always). interval: its 95% interval.
    """

    distance: float
    interval: tuple[float, float]


def mmd(
    a: npt.ArrayLike, b: npt.ArrayLike, *, permutations: int = 999, examples: int = 1000, seed: int = 0
) -> Discrepancy:  # fmt: skip
    """The squared maximum mean discrepancy of features `[N, D]` and `[M, D]`, with a permutation test.

    (Gretton et al., A Kernel Two-Sample Test, JMLR 2012: the unbiased estimate.) The kernel is the mean of Gaussians
    exp(-distance² / (2 width²)) with the widths `MULTIPLES`. permutations: 1 or more; p is never below
    1 / (permutations + 1), because the division as it is counts as one of them (Phipson and Smyth, Permutation P-values
    Should Never Be Zero, 2010). examples: the most of each domain, 2 or more; above that a random sample is used. The
    examples must be independent: p is too low if several are of one thing.

    Raises DataError if features don't fit or a domain has a single example.
    """
    if permutations < 1 or examples < 2:
        raise RecipeError(f"MMD needs 1 permutation and 2 examples or more, not {permutations} and {examples}.")
    first, second = pair(a, b)
    first, second = (rows[drawn(len(rows), examples, seed=seed)] for rows in (first, second))
    if min(len(first), len(second)) < 2:
        raise DataError("MMD needs two examples or more of each domain.")
    both = np.vstack([first, second])
    kernel = gaussians(np.asarray(cdist(both, both, "sqeuclidean")))
    random = np.random.default_rng(seed)
    is_first = np.zeros((len(kernel), permutations + 1))
    is_first[: len(first)] = 1.0
    is_first[:, 1:] = random.permuted(is_first[:, 1:], axis=0)
    squared = discrepancies(kernel, is_first)
    reached = squared[1:] >= squared[0] - 1e-12  # the same division in another order differs by rounding
    return Discrepancy(float(squared[0]), float((1 + reached.sum()) / (1 + permutations)))


def gaussians(squared: Floats) -> Floats:
    """The kernel of `mmd` at squared distances `[N, N]`, 0 in its diagonal.

    The unbiased estimate leaves out each example with itself.
    """
    middle = float(np.median(squared[np.triu_indices(len(squared), 1)]))
    if middle <= 0:  # most examples are copies of each other; any positive width is as good
        middle = float(squared.max()) or 1.0
    kernel = np.zeros_like(squared)
    for multiple in MULTIPLES:
        kernel += np.exp(squared / (-2 * multiple**2 * middle)) / len(MULTIPLES)
    np.fill_diagonal(kernel, 0.0)
    return kernel


def discrepancies(kernel: Floats, is_first: Floats) -> Floats:
    """The unbiased squared MMD of each division of the examples into two domains.

    kernel: of `gaussians`, `[N, N]`. is_first: `[N, divisions]`, 1 for the examples of the first domain and 0 for the
    others; all columns have the same number of ones.
    """
    count = is_first[:, 0].sum()
    rest = len(kernel) - count
    to_first = kernel @ is_first
    within_first = (is_first * to_first).sum(axis=0)
    across = to_first.sum(axis=0) - within_first
    within_rest = kernel.sum() - within_first - 2 * across
    return np.asarray(
        within_first / (count * (count - 1)) + within_rest / (rest * (rest - 1)) - 2 * across / (count * rest)
    )


def proxy_a_distance(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    *,
    groups: tuple[Sequence[str], Sequence[str]] | None = None,
    examples: int = 1000,
    seed: int = 0,
) -> Separation:
    """The proxy A-distance 2 (1 - 2 error) of features `[N, D]` and `[M, D]`.

    (Ben-David et al., Analysis of Representations for Domain Adaptation, NIPS 2006.) error: of a cross-validated linear
    domain classifier, both domains weighing the same. An error above a half, which only chance gives, counts as a half.
    groups: of a and of b; examples of one group are held out together, and count as one in the interval. This is
    Student's, for the error; where there is no error at all, Clopper and Pearson's bound keeps it from having no width.
    examples: the most of each domain, 2 or more; above that, a random sample is used.

    Raises DataError if features or groups don't fit, or a domain has a single group.
    """
    if examples < 2:
        raise RecipeError(f"The proxy A-distance needs 2 examples or more, not {examples}.")
    first, second = pair(a, b)
    places = drawn(len(first), examples, seed=seed), drawn(len(second), examples, seed=seed)
    names = [None if groups is None else _at(groups[0], first, places[0])]
    names.append(None if groups is None else _at(groups[1], second, places[1]))
    first, second = first[places[0]], second[places[1]]
    likely = domain_probabilities(first, second, groups=names[0], others=names[1], seed=seed)
    counts = np.repeat([len(first), len(second)], [len(first), len(second)])
    is_second = np.arange(len(likely)) >= len(first)
    # Each domain's errors are weighed so that the mean over all examples is the mean of both domains' errors.
    errors = ((likely > 0.5) != is_second) * len(likely) / (2 * counts)
    singles = (range(len(first)), range(len(second)))
    independent = [
        f"{domain} {name}"
        for domain, (given, single) in enumerate(zip(names, singles, strict=True))
        for name in (given or single)
    ]
    measured = mean_and_interval(errors, independent)
    assert measured is not None, "each domain has two groups or more"
    error, (low, high) = measured
    fewest = min(len({name for name in independent if name.startswith(domain)}) for domain in ("0 ", "1 "))
    high = max(high, 1 - ((1 - CONFIDENCE) / 2) ** (1 / fewest))
    return Separation(_distance(error), (_distance(high), _distance(low)))


def _at(groups: Sequence[str], rows: Floats, places: Ints) -> list[str]:
    if len(groups) != len(rows):
        raise DataError(f"{len(groups)} groups don't fit {len(rows)} examples.")
    return [groups[place] for place in places]


def _distance(error: float) -> float:
    return float(np.clip(2 * (1 - 2 * error), 0.0, 2.0))
