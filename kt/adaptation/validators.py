"""Validators: how good a method seems for the target domain, judged without target labels.

Each is a function of an `Adapted` that gives a number, and higher is better. The numbers of different validators can't
be compared.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import entr, softmax
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier

from kt.adaptation.density import density_ratio
from kt.adaptation.features import checked, drawn
from kt.adaptation.methods.ot_map import LinearTransport
from kt.base.metrics import CONFIDENCE
from kt.errors import DataError, RecipeError, did_you_mean
from kt.linear import Linear, folds_of
from kt.linear.folds import Ints
from kt.linear.space import Floats
from kt.recipe import Adaptation

NONE = "none"
"""The name of the candidate that does not adapt."""

_FOLDS = 3
"""The folds of the source for `held_out`: each costs a fit."""

_PARTNERS = 10
"""The number of mixtures of each target example in `mix`."""


@dataclass(frozen=True, eq=False)
class Adapted:
    """A method with the classifier that it gave, and what it gave it from.

    source: `[N, D]`; labels: `[N]`, from 0 to below `classes`; target: `[M, D]`. classifier: for target features.
    groups, balanced, seed: as they were for `kt.recipe.Adaptation.fit`. Raises DataError if the arrays don't fit each
    other.
    """

    source: npt.ArrayLike
    labels: npt.ArrayLike
    target: npt.ArrayLike
    method: Adaptation
    classifier: Linear
    classes: int
    groups: Sequence[str] | None = None
    balanced: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        _, _, target = checked(self.source, self.labels, self.target, classes=self.classes)
        if self.classifier.weights.shape != (target.shape[1], self.classes):
            raise DataError(
                f"The classifier has weights of shape {list(self.classifier.weights.shape)}, and the target has "
                f"{target.shape[1]} features and {self.classes} classes."
            )

    @property
    def arrays(self) -> tuple[Floats, Ints, Floats]:
        """Source features, labels and target features."""
        return checked(self.source, self.labels, self.target, classes=self.classes)

    @cached_property
    def held_out(self) -> tuple[Floats, Floats]:
        """Whether each source example is answered correctly by a fit without it, and its density ratio; `[N]` each."""
        source, labels, target = self.arrays
        right = np.empty(len(labels))
        for train, others in folds_of(labels, self.groups, folds=_FOLDS, seed=self.seed):
            classifier = self.method.fit(
                source[train],
                labels[train],
                target,
                classes=self.classes,
                groups=None if self.groups is None else [self.groups[place] for place in train],
                balanced=self.balanced,
                seed=self.seed,
            )
            right[others] = classifier.scores(source[others]).argmax(axis=1) == labels[others]
        return right, density_ratio(source, target, groups=self.groups, seed=self.seed)


def circular(adapted: Adapted) -> float:
    """Reverse validation: the balanced accuracy, on the source, of a classifier that learnt from the target's answers.

    (Zhong et al., Cross Validation Framework to Choose amongst Models and Datasets for Transfer Learning, ECML 2010;
    Ganin et al., Domain-Adversarial Training of Neural Networks, JMLR 2016.) The same method goes back: from the
    target, with the classifier's answers as labels, to the source. From 0 to 1. A classifier that answers one class
    always has 1 / classes.
    """
    source, labels, target = adapted.arrays
    answers = adapted.classifier.scores(target).argmax(axis=1)
    answered, compact = np.unique(answers, return_inverse=True)
    if len(answered) == 1:
        return 1 / adapted.classes
    back = adapted.method.fit(
        target, compact, source, classes=len(answered), balanced=adapted.balanced, seed=adapted.seed
    )
    guesses = answered[back.scores(source).argmax(axis=1)]
    return float(balanced_accuracy_score(labels, guesses))


def reverse_neighbours(adapted: Adapted, *, neighbours: int = 5) -> float:
    """Reverse validation by nearest neighbours: their balanced accuracy on the source, from the target's answers.

    `circular` goes back by the method itself, which favours methods that undo themselves: a map to the target and back
    gives high accuracy whatever became of the classes. Here all methods go back in the same way. The source is moved
    to the target by `LinearTransport`, and each source example gets the answer of the majority of its nearest target
    examples. neighbours: 1 or more. From 0 to 1. A classifier that answers one class always has 1 / classes. It
    supposes that the classes have about the same shares in both domains.
    """
    if neighbours < 1:
        raise RecipeError(f"reverse_neighbours needs 1 neighbour or more, not {neighbours}.")
    source, labels, target = adapted.arrays
    answers = adapted.classifier.scores(target).argmax(axis=1)
    if len(np.unique(answers)) == 1:
        return 1 / adapted.classes
    moved, _ = LinearTransport().align(source, target)
    nearest = KNeighborsClassifier(min(neighbours, len(target))).fit(target, answers)
    return float(balanced_accuracy_score(labels, nearest.predict(moved)))


def importance_weighted(adapted: Adapted) -> float:
    """Importance-weighted cross-validation: accuracy on held-out source examples, weighted by how target-like they are.

    (Sugiyama, Krauledat and Müller, Covariate Shift Adaptation by Importance Weighted Cross Validation, JMLR 2007.)
    From 0 to 1; the weights sum to 1, which varies less than the paper's. Like `deep_embedded`, it supposes that the
    same features mean the same class in both domains, so it ranks methods that move the source low. Raises DataError if
    a class has a single group.
    """
    right, ratio = adapted.held_out
    return float(np.average(right, weights=ratio))


def deep_embedded(adapted: Adapted) -> float:
    """Deep embedded validation: importance-weighted error with a control variate, times -1.

    (You et al., Towards Accurate Model Selection in Deep Unsupervised Domain Adaptation, ICML 2019.) The weights' mean
    is known to be 1, so what it differs by corrects the error. About -1 to 0, outside of it by chance. Raises DataError
    if a class has a single group.
    """
    right, ratio = adapted.held_out
    weighted = ratio * (1 - right)
    spread = float(np.var(ratio))
    control = -float(np.mean((weighted - weighted.mean()) * (ratio - ratio.mean()))) / spread if spread > 0 else 0.0
    return -float(weighted.mean() + control * (ratio.mean() - 1))


def entropy(adapted: Adapted) -> float:
    """The mean entropy of the answers on the target, in nats, times -1.

    (Morerio, Cavazza and Murino, Minimal-Entropy Correlation Alignment, ICLR 2018.) From -ln(classes) to 0. It is high
    for a classifier that is sure and wrong, or that answers one class always.
    """
    return -float(entr(adapted.classifier.scores(adapted.arrays[2])).sum(axis=1).mean())


def soft_neighbourhood(adapted: Adapted, *, temperature: float = 0.05, examples: int = 2000) -> float:
    """Soft neighbourhood density: how many target examples are answered alike, as an entropy in nats.

    (Saito et al., Tune it the Right Way: Unsupervised Validation of Domain Adaptation via Soft Neighborhood Density,
    ICCV 2021.) The cosines between examples' probabilities, divided by the temperature, become shares by a softmax over
    all other examples; the score is the mean entropy of these shares, from 0 to ln(M - 1). It is high for a classifier
    that answers all alike. temperature: above 0. examples: the most that are used, 3 or more; above that, a random
    sample. Raises DataError if the target has fewer than 3 examples.
    """
    if temperature <= 0 or examples < 3:
        raise RecipeError(
            f"soft_neighbourhood needs a temperature above 0 and 3 examples or more, not {temperature} and {examples}."
        )
    target = adapted.arrays[2]
    if len(target) < 3:
        raise DataError("Soft neighbourhood density needs 3 target examples or more.")
    scores = adapted.classifier.scores(target[drawn(len(target), examples, seed=adapted.seed)])
    scores /= np.linalg.norm(scores, axis=1, keepdims=True)
    alike = scores @ scores.T / temperature
    np.fill_diagonal(alike, -np.inf)
    return float(entr(softmax(alike, axis=1)).sum(axis=1).mean())


def mix(adapted: Adapted, *, share: float = 0.55) -> float:
    """MixVal: how often a mixture of two target examples is answered like the one that makes up more of it.

    (Hu et al., Mixed Samples as Probes for Unsupervised Model Selection in Domain Adaptation, NeurIPS 2023.) The two
    are answered differently, and their features are mixed. The paper mixes examples with the same answer as well; a
    linear classifier always answers such a mixture alike, so these say nothing here and are left out. share: of the
    first example, above 0.5 to below 1. From 0 to 1; 0 if the classifier answers one class always.
    """
    if not 0.5 < share < 1:
        raise RecipeError(f"mix: share must be above 0.5 and below 1, not {share}.")
    target = adapted.arrays[2]
    answers = adapted.classifier.scores(target).argmax(axis=1)
    random = np.random.default_rng(adapted.seed)
    first = np.repeat(np.arange(len(target)), _PARTNERS)
    second = random.integers(0, len(target), len(first))
    differ = answers[first] != answers[second]
    if not differ.any():
        return 0.0
    first, second = first[differ], second[differ]
    mixed = share * target[first] + (1 - share) * target[second]
    return float((adapted.classifier.scores(mixed).argmax(axis=1) == answers[first]).mean())


VALIDATORS: Mapping[str, Callable[[Adapted], float]] = {
    "circular": circular,
    "importance_weighted": importance_weighted,
    "deep_embedded": deep_embedded,
    "entropy": entropy,
    "soft_neighbourhood": soft_neighbourhood,
    "mix": mix,
    "reverse_neighbours": reverse_neighbours,
}
"""The validators by name."""


def choose(
    candidates: Sequence[str], scores: npt.ArrayLike, *, confidence: float = CONFIDENCE, looks: int | None = None
) -> str:
    """The candidate to use: "none", unless another is better by more than chance.

    candidates: names of methods, "none" among them. scores: `[candidates, repeats]`, a validator's, higher is better,
    where each repeat is of another seed or another part of the data, the same for all candidates. The candidate with
    the highest mean is compared with "none" repeat by repeat, by Student's one-sided paired t-test. The level, 1 -
    confidence, is divided by `looks`, since the best of many seems good by chance (Bonferroni); by default that is the
    number of candidates besides "none". So a single repeat always gives "none". Repeats that share data vary too
    little, which makes the test too easy.

    Raises RecipeError if "none" is missing, names repeat or confidence isn't between 0 and 1, and DataError if the
    scores don't fit or are not finite.
    """
    if NONE not in candidates:
        raise RecipeError(
            f"'{NONE}', which does not adapt, must be among the candidates. {did_you_mean(NONE, candidates)}"
        )
    if len(set(candidates)) < len(candidates):
        raise RecipeError(f"Each candidate needs a name of its own, and these repeat: {', '.join(candidates)}.")
    if not 0 < confidence < 1:
        raise RecipeError(f"confidence must be above 0 and below 1, not {confidence}.")
    table = np.asarray(scores, np.float64)
    if table.ndim != 2 or len(table) != len(candidates) or not table.size or not np.isfinite(table).all():
        raise DataError(
            f"Scores must be finite numbers [{len(candidates)} candidates, repeats], not of shape {list(table.shape)}."
        )
    repeats = table.shape[1]
    best = int(table.mean(axis=1).argmax())
    gain = table[best] - table[candidates.index(NONE)]
    if repeats < 2 or gain.mean() <= 0:
        return NONE
    error = float(gain.std(ddof=1)) / np.sqrt(repeats)
    looks = max(1, len(candidates) - 1) if looks is None else looks
    least = float(stats.t.ppf(1 - (1 - confidence) / looks, repeats - 1))
    return candidates[best] if gain.mean() > least * error else NONE
