"""Labels carried to the target's examples by optimal transport, and a classifier that learns from them there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kt.adaptation.features import checked, drawn, drawn_by_class
from kt.adaptation.sinkhorn import Coupling, sinkhorn
from kt.errors import RecipeError, TrainingError
from kt.linear import Linear, fit
from kt.linear.folds import Ints
from kt.linear.space import Floats
from kt.recipe import check_types

_ROUNDS = 10
"""How often the plan is computed anew with class regularisation; it hardly changes any more after that."""

_TOLERANCE = 1e-3
"""The share of all mass that the plan may be off by; labels are not known better than that."""

_NEGLIGIBLE = 0.01
"""A label that a target example has with a lower probability than this is not learnt from."""


@dataclass(frozen=True)
class TransportedLabels:
    """Label propagation by entropic optimal transport.

    Each target example gets the labels of the source examples whose mass it receives, as probabilities (Redko et al.,
    Optimal Transport for Multi-source Domain Adaptation under Target Shift, AISTATS 2019). A linear classifier learns
    from the target's examples with these as weights. The cost is the squared distance divided by its median.
    regularisation: of the plan's entropy, above 0, in the unit of this cost; more spreads the labels wider.
    class_regularisation: 0 or more; above 0, a target example receives mass from few classes (Courty et al., Optimal
    Transport for Domain Adaptation, PAMI 2017, with the square root of a class's mass as the penalty). examples: the
    most examples of each domain that are used, 2 or more; above that, a random sample, of the source stratified by
    class. It hurts if the domains hold the classes in other shares, because all of a class's mass must go somewhere.
    """

    regularisation: float = 0.05
    class_regularisation: float = 0.0
    examples: int = 1000

    name = "ot_labels"

    def __post_init__(self) -> None:
        check_types(self)
        if self.regularisation <= 0:
            raise RecipeError(f"TransportedLabels: regularisation must be above 0, not {self.regularisation}.")
        if self.class_regularisation < 0:
            raise RecipeError(
                f"TransportedLabels: class_regularisation must be 0 or more, not {self.class_regularisation}."
            )
        if self.examples < 2:
            raise RecipeError(f"TransportedLabels: examples must be 2 or more, not {self.examples}.")

    def fit(
        self,
        source: npt.ArrayLike,
        labels: npt.ArrayLike,
        target: npt.ArrayLike,
        *,
        classes: int,
        groups: Sequence[str] | None = None,  # noqa: ARG002
        balanced: bool = False,
        seed: int = 0,
    ) -> Linear:
        """A classifier for features of the target domain; arguments and errors as `kt.recipe.Adaptation.fit` says.

        groups: unused, since only target examples are learnt from. Raises TrainingError if the plan does not converge.
        """
        rows, known, others = checked(source, labels, target, classes=classes)
        own = drawn_by_class(known, max(self.examples, classes), seed=seed)
        others = others[drawn(len(others), self.examples, seed=seed)]
        shares = self._shares(rows[own], known[own], others, classes=classes)
        # Each class keeps its likeliest example, because a classifier can't learn a class without any.
        example, label = np.nonzero((shares >= _NEGLIGIBLE) | (shares == shares.max(axis=0)))
        return fit(
            others[example],
            label,
            classes=classes,
            groups=example.astype(str).tolist(),
            balanced=balanced,
            weights=np.maximum(shares[example, label], 1e-12),
            seed=seed,
        )

    def _shares(self, rows: Floats, labels: Ints, others: Floats, *, classes: int) -> Floats:
        """The probability `[M, C]` of each class for each target example."""
        belongs = np.eye(classes)[labels]
        cost = relative_cost(rows, others)
        carried = self._plan(cost).plan
        shares = belongs.T @ carried / carried.sum(axis=0)
        for _ in range(_ROUNDS if self.class_regularisation else 0):
            # The penalty is the sum of the roots of the classes' shares. It is replaced by its tangent at the present
            # plan, which lies above it, so each round lowers the objective.
            slope = 0.5 / np.sqrt(shares + 1e-3)
            carried = self._plan(cost + self.class_regularisation * belongs @ slope).plan
            shares = belongs.T @ carried / carried.sum(axis=0)
        return np.asarray(shares.T)

    def _plan(self, cost: Floats) -> Coupling:
        found = sinkhorn(cost, self.regularisation, tolerance=_TOLERANCE)
        if not found.converged:
            raise TrainingError(
                f"Optimal transport did not converge: its plan is off by {found.error:.1e} of all mass. Raise "
                f"regularisation above {self.regularisation:g}."
            )
        return found


def relative_cost(source: Floats, target: Floats) -> Floats:
    """Squared distances `[N, M]` divided by their median."""
    cost = _squared_distances(source, target)
    middle = np.median(cost)
    return cost / (middle if middle > 0 else 1.0)


def _squared_distances(source: Floats, target: Floats) -> Floats:
    """Squared distances `[N, M]` by one product of matrices, several times as fast as pair by pair.

    Both are centred first, so that a large common mean does not cost digits.
    """
    centre = (source.sum(axis=0) + target.sum(axis=0)) / (len(source) + len(target))
    first, second = source - centre, target - centre
    lengths = np.einsum("nd,nd->n", first, first)[:, None] + np.einsum("md,md->m", second, second)
    return np.asarray(np.maximum(lengths - 2 * first @ second.T, 0.0))
