"""kt.adaptation: each method gives the known answer, a distance of 0 is 0, and validators tell good from broken."""

import dataclasses
import functools
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import sqrtm
from scipy.optimize import linear_sum_assignment
from scipy.special import softmax
from sklearn.decomposition import PCA

from kt.adaptation import METHODS, VALIDATORS, Adapted, choose, mmd, proxy_a_distance
from kt.adaptation import covariance as covariances
from kt.adaptation.density import density_ratio
from kt.adaptation.features import drawn, drawn_by_class
from kt.adaptation.methods import (
    CorrelationAlignment,
    Ensemble,
    ImportanceWeighting,
    LinearTransport,
    Prototypes,
    SourceOnly,
    SubspaceAlignment,
    TransportedLabels,
)
from kt.adaptation.methods.coral import recolouring
from kt.adaptation.methods.ensemble import mean_of as ensemble_mean
from kt.adaptation.methods.ot_labels import relative_cost
from kt.adaptation.methods.ot_map import monge_map
from kt.adaptation.methods.prototypes import prototypes
from kt.adaptation.methods.subspace import bases
from kt.adaptation.sinkhorn import sinkhorn
from kt.adaptation.validators import circular, deep_embedded, entropy, importance_weighted, mix, soft_neighbourhood
from kt.errors import DataError, RecipeError, TrainingError
from kt.linear import Linear, fit


@pytest.fixture
def skada(monkeypatch):
    """skada, or POT without the other libraries that it would load if they are there."""
    return _with_numpy_alone(monkeypatch, "skada")


@pytest.fixture
def ot(monkeypatch):
    return _with_numpy_alone(monkeypatch, "ot")


def _with_numpy_alone(monkeypatch, name):
    for backend in ("TENSORFLOW", "PYTORCH", "JAX", "CUPY"):
        monkeypatch.setenv(f"POT_BACKEND_DISABLE_{backend}", "1")
    return pytest.importorskip(name)


def domain(count=150, features=6, classes=3, *, seed=0, apart=1.2):
    """Features in a normal cloud around a centre of its own for each class."""
    labels = np.arange(count) % classes
    centres = np.random.default_rng(5).normal(0, apart, (classes, features))
    return centres[labels] + np.random.default_rng(seed).normal(size=(count, features)), labels


def stretch(features=6):
    """A symmetric matrix with eigenvalues above 0, and an offset: another camera."""
    random = np.random.default_rng(6)
    turn = np.linalg.qr(random.normal(size=(features, features)))[0]
    return turn @ np.diag(np.exp(np.linspace(-0.5, 0.5, features))) @ turn.T, random.normal(0, 4, features)


def moved(count=90):
    """A labelled source, and a target of other examples seen by another camera, with labels to judge by."""
    (source, labels), (there, truth) = domain(count, seed=1), domain(count, seed=2)
    matrix, offset = stretch()
    return source, labels, there @ matrix + offset, truth


@functools.cache
def learnt_at_home(count, *, apart=1.2):
    """What the source of these tests teaches by itself."""
    return fit(*domain(count, seed=1, apart=apart), classes=3)


def accuracy(classifier, rows, labels):
    return (classifier.scores(rows).argmax(axis=1) == labels).mean()


def covariance(rows):
    return np.cov(rows, rowvar=False, bias=True)


# Methods


def test_adaptation_loads_neither_keras_nor_tensorflow():
    loaded = "import sys, kt.adaptation; print([n for n in ('keras', 'tensorflow') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_each_method_is_a_frozen_part_and_has_its_name():
    assert next(iter(METHODS)) == "none"
    for name, method in METHODS.items():
        assert method().name == name
        assert method.__dataclass_params__.frozen
        assert method() == method()


@pytest.mark.parametrize("name", [name for name in METHODS if name != "none"])
def test_domains_that_are_the_same_cost_no_method_accuracy(name):
    (source, labels), (target, truth) = domain(200, seed=1, apart=1.0), domain(400, seed=2, apart=1.0)

    # Two standard errors of the difference, if one example in fifteen is answered differently.
    at_home = accuracy(learnt_at_home(200, apart=1.0), target, truth)
    adapted = accuracy(METHODS[name]().fit(source, labels, target, classes=3), target, truth)

    assert 0.8 < at_home < 0.99
    assert adapted > at_home - 0.03


@pytest.mark.parametrize("name", ["coral", "ot_map", "ot_labels", "subspace", "prototypes", "ensemble"])
def test_another_camera_is_compensated(name):
    source, labels, target, truth = moved()

    without = accuracy(learnt_at_home(90), target, truth)
    adapted = accuracy(METHODS[name]().fit(source, labels, target, classes=3), target, truth)

    assert without < 0.8
    assert adapted > without + 0.1


@pytest.mark.parametrize(
    ("name", "hurts"),
    [(name, name in ("coral", "ot_map", "ot_labels", "subspace", "ensemble")) for name in METHODS if name != "none"],
)
def test_other_shares_of_the_classes_hurt_the_methods_that_suppose_the_same(name, hurts):
    source, labels = domain(200, classes=2, seed=1, apart=0.9)
    more, truth = domain(400, classes=2, seed=2, apart=0.9)
    unequal = np.sort(np.concatenate([np.flatnonzero(truth == 0), np.flatnonzero(truth == 1)[:20]]))
    target, truth = more[unequal], truth[unequal]

    alone = accuracy(fit(source, labels, classes=2), target, truth)
    adapted = accuracy(METHODS[name]().fit(source, labels, target, classes=2), target, truth)

    assert alone > 0.8
    assert (adapted < alone - 0.1) == hurts


@pytest.mark.parametrize("name", METHODS)
def test_more_features_than_examples_groups_balance_and_a_constant_feature_are_no_obstacle(name):
    source, labels = domain(40, 80, 2, seed=1, apart=1.0)
    target, truth = domain(50, 80, 2, seed=2, apart=1.0)
    source[:, 3] = target[:, 3] = 7.0
    groups = [str(place // 4) for place in range(40)]

    found = METHODS[name]().fit(source, labels, target, classes=2, groups=groups, balanced=True, seed=3)

    assert accuracy(found, target, truth) > 0.8


def test_source_only_is_the_plain_linear_fit():
    source, labels, target, _ = moved()

    assert (SourceOnly().fit(source, labels, target, classes=3).weights == learnt_at_home(90).weights).all()


@pytest.mark.parametrize("mapping", [recolouring, monge_map])
def test_a_mapped_source_has_the_mean_and_covariance_of_the_target(mapping):
    source, _, target, _ = moved()

    matrix, offset = mapping(source, target, shrinkage=0.0)
    mapped = source @ matrix + offset

    assert mapped.mean(axis=0) == pytest.approx(target.mean(axis=0), abs=1e-6)
    assert covariance(mapped) == pytest.approx(covariance(target), abs=1e-6)


def test_coral_is_whitening_and_colouring():
    source, _, target, _ = moved()

    matrix, _ = recolouring(source, target, shrinkage=0.0)

    closed = np.linalg.inv(sqrtm(covariance(source))) @ sqrtm(covariance(target))
    assert matrix == pytest.approx(np.real(closed), abs=1e-8)


def test_coral_undoes_any_stretch_of_a_source_that_is_white():
    source, _ = domain(seed=1)
    source = (source - source.mean(axis=0)) @ np.linalg.inv(np.real(sqrtm(covariance(source))))
    matrix, offset = stretch()

    found, shift = recolouring(source, source @ matrix + offset, shrinkage=0.0)

    assert found == pytest.approx(matrix, abs=1e-6)
    assert shift == pytest.approx(offset, abs=1e-6)


def test_the_transport_map_undoes_any_stretch():
    source, _ = domain(seed=1)
    matrix, offset = stretch()

    found, shift = monge_map(source, source @ matrix + offset, shrinkage=0.0)

    assert found == pytest.approx(matrix, abs=1e-6)
    assert shift == pytest.approx(offset, abs=1e-6)


def test_shrinkage_of_one_leaves_a_shift_and_one_factor_for_all():
    source, _, target, _ = moved()
    factor = np.sqrt(np.trace(covariance(target)) / np.trace(covariance(source)))

    for mapping in (recolouring, monge_map):
        assert mapping(source, target, shrinkage=1.0)[0] == pytest.approx(factor * np.eye(6), abs=1e-8)


def test_a_few_examples_give_a_map_that_stretches_less_than_their_covariances_say():
    random = np.random.default_rng(0)
    source, target = random.normal(size=(2, 30, 25))  # the true map is the identity

    estimated, exact = (monge_map(source, target, shrinkage=share)[0] for share in (None, 0.0))

    assert np.abs(estimated - np.eye(25)).max() < 0.2 * np.abs(exact - np.eye(25)).max()


def test_pot_finds_the_same_linear_map(ot):
    source, _, target, _ = moved()

    theirs, shift = ot.gaussian.empirical_bures_wasserstein_mapping(source, target, reg=1e-12)
    ours, offset = monge_map(source, target, shrinkage=0.0)

    assert ours == pytest.approx(theirs, abs=1e-6)
    assert offset == pytest.approx(shift.ravel(), abs=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs", "settings"),
    [
        (CorrelationAlignment(shrinkage=0.0), "CORALAdapter", {"reg": 0.0}),
        (LinearTransport(shrinkage=0.0), "LinearOTMappingAdapter", {"reg": 1e-12}),
        (SubspaceAlignment(dimensions=4), "SubspaceAlignmentAdapter", {"n_components": 4}),
    ],
    ids=["coral", "ot_map", "subspace"],
)
def test_skada_adapts_to_the_same_answers(skada, ours, theirs, settings):
    source, labels, target, _ = moved()
    # skada's CORAL leaves the mean as it is, and its linear map has an offset of its own; centred domains need neither.
    source, target = source - source.mean(axis=0), target - target.mean(axis=0)
    domains = np.repeat([1, -2], [len(source), len(target)])
    adapter = getattr(skada, theirs)(**settings)
    both = adapter.fit_transform(np.vstack([source, target]), np.append(labels, labels), sample_domain=domains)
    both = both["X"] if isinstance(both, dict) else both

    classifier = fit(both[: len(source)], labels, classes=3)

    adapted = ours.fit(source, labels, target, classes=3)
    assert adapted.scores(target) == pytest.approx(classifier.scores(both[len(source) :]), abs=1e-3)


def test_subspaces_are_the_principal_directions_and_their_alignment_is_the_closest():
    source, _, target, _ = moved()

    own, its = bases(source, target, dimensions=3)

    for rows, directions in ((source, own), (target, its)):
        theirs = PCA(3).fit(rows).components_
        assert np.abs(np.sum(theirs.T * directions, axis=0)) == pytest.approx(np.ones(3))  # up to the sign
    assert own.T @ its == pytest.approx(np.linalg.lstsq(own, its, rcond=None)[0])


def test_subspace_alignment_learns_from_the_aligned_source_and_answers_for_the_target():
    source, labels, target, _ = moved()
    own, its = bases(source, target, dimensions=3)

    aligned = fit((source - source.mean(axis=0)) @ own @ own.T @ its, labels, classes=3)
    adapted = SubspaceAlignment(dimensions=3).fit(source, labels, target, classes=3)

    expected = aligned.scores((target - target.mean(axis=0)) @ its)
    assert adapted.scores(target) == pytest.approx(expected)


def test_as_many_dimensions_are_kept_as_hold_the_variance():
    random = np.random.default_rng(0)
    wide, narrow = random.normal(size=(200, 5)), random.normal(size=(200, 5)) * [5, 5, 0.1, 0.1, 0.1]

    assert bases(wide, narrow)[0].shape == (5, 2)
    assert bases(wide, wide)[0].shape == (5, 5)


# Optimal transport


def test_a_plan_has_the_marginals_that_are_asked_for():
    cost = np.random.default_rng(0).random((20, 30))
    masses = np.random.default_rng(1).dirichlet(np.ones(20)), np.random.default_rng(2).dirichlet(np.ones(30))

    found = sinkhorn(cost, 0.05, source=masses[0], target=masses[1], tolerance=1e-9)

    assert found.converged
    assert found.error <= 1e-9
    assert found.plan.sum(axis=1) == pytest.approx(masses[0], abs=1e-9)
    assert found.plan.sum(axis=0) == pytest.approx(masses[1], abs=1e-9)


def test_a_plan_is_the_kernel_with_its_rows_and_columns_scaled():
    cost = np.random.default_rng(0).random((6, 7))

    scaled = np.log(sinkhorn(cost, 0.2, tolerance=1e-12).plan) + cost / 0.2

    assert scaled - scaled[:1] - scaled[:, :1] + scaled[0, 0] == pytest.approx(np.zeros((6, 7)), abs=1e-9)


def test_a_small_regularisation_does_not_underflow_and_gives_the_cheapest_assignment():
    random = np.random.default_rng(3)
    source, target = random.normal(size=(12, 2)), random.normal(size=(12, 2)) + 50  # e^(-5000 / 0.05) is 0

    cost = ((source[:, None] - target) ** 2).sum(axis=2)
    found = sinkhorn(cost, 0.02, tolerance=1e-4)

    assert found.converged
    rows, columns = linear_sum_assignment(cost)
    assert found.plan.argmax(axis=1)[rows].tolist() == columns.tolist()


def test_a_plan_that_has_not_converged_says_so():
    cost = np.random.default_rng(0).random((20, 20))

    found = sinkhorn(cost, 1e-4, iterations=60, tolerance=1e-9)

    assert not found.converged
    assert found.error > 1e-9


def test_pot_finds_the_same_plan(ot):
    cost = np.random.default_rng(0).random((20, 30))
    masses = np.random.default_rng(1).dirichlet(np.ones(20)), np.random.default_rng(2).dirichlet(np.ones(30))

    theirs = ot.sinkhorn(*masses, cost, 0.05, stopThr=1e-12)

    assert sinkhorn(cost, 0.05, source=masses[0], target=masses[1], tolerance=1e-10).plan == pytest.approx(
        theirs, abs=1e-9
    )


def test_labels_are_carried_with_the_mass():
    source, labels, target, _ = moved()
    method = TransportedLabels(regularisation=0.1)

    plan = sinkhorn(relative_cost(source, target), 0.1, tolerance=1e-9).plan
    expected = np.eye(3)[labels].T @ plan / plan.sum(axis=0)

    shares = method._shares(source, labels, target, classes=3)
    assert shares == pytest.approx(expected.T, abs=0.01)  # the method's plan is off by a thousandth of the mass
    assert shares.sum(axis=1) == pytest.approx(np.ones(len(target)))


def test_class_regularisation_gives_each_example_fewer_classes():
    source, labels, target, _ = moved()

    plain, sparse = (
        TransportedLabels(regularisation=0.3, class_regularisation=amount)._shares(source, labels, target, classes=3)
        for amount in (0.0, 0.5)
    )

    assert sparse.max(axis=1).mean() > plain.max(axis=1).mean() + 0.05


def test_transport_that_does_not_converge_ends_with_the_setting_to_change():
    source, labels, target, _ = moved()

    with pytest.raises(TrainingError, match=r"did not converge.* Raise regularisation above 1e-05"):
        TransportedLabels(regularisation=1e-5).fit(source, labels, target, classes=3)


def test_samples_are_seeded_and_keep_every_class():
    labels = np.repeat([0, 1, 2], [900, 98, 2])

    chosen = drawn_by_class(labels, 100, seed=0)

    assert len(chosen) == len(set(chosen)) == 100
    assert np.bincount(labels[chosen]).tolist() == pytest.approx([90, 10, 1], abs=1)
    assert (chosen == drawn_by_class(labels, 100, seed=0)).all()
    assert (chosen != drawn_by_class(labels, 100, seed=1)).any()
    assert len(set(drawn(500, 20, seed=0))) == 20
    assert drawn(5, 20, seed=0).tolist() == list(range(5))


def test_a_capped_sample_of_a_large_domain_is_enough():
    source, labels = domain(2000, seed=1)
    target, truth = domain(2000, seed=2)

    one, same, other = (
        TransportedLabels(examples=60).fit(source, labels, target, classes=3, seed=seed) for seed in (0, 0, 1)
    )

    assert accuracy(one, target, truth) > 0.85
    assert (one.weights == same.weights).all()
    assert (one.weights != other.weights).any()


# Importance weighting


def test_the_density_ratio_of_two_gaussians_is_found():
    random = np.random.default_rng(0)
    source, target = random.normal(size=(800, 1)), random.normal(size=(800, 1)) + 0.8

    ratio = density_ratio(source, target)

    known = 0.8 * source[:, 0] - 0.8**2 / 2
    assert np.abs(np.log(ratio) - known).mean() < 0.15
    assert ratio.mean() == pytest.approx(1.0, abs=0.15)


def test_the_density_ratio_counts_neither_domain_by_its_size():
    random = np.random.default_rng(0)

    assert np.abs(np.log(density_ratio(random.normal(size=(400, 2)), random.normal(size=(100, 2))))).mean() < 0.2


def test_weights_are_the_clipped_ratio():
    random = np.random.default_rng(0)
    source, target = random.normal(size=(80, 2)), random.normal([1.0, 0.0], size=(80, 2))
    labels = (source[:, 0] + random.normal(0, 0.5, 80) > 0).astype(int)

    ratio = density_ratio(source, target)
    weights = np.minimum(ratio / ratio.mean(), 1.5)

    assert (weights == 1.5).any()
    expected = fit(source, labels, classes=2, weights=weights)
    assert (ImportanceWeighting(largest=1.5).fit(source, labels, target, classes=2).weights == expected.weights).all()


def bent(count, *, seed, at):
    """Where the border between two classes bends, a line fits only one part; the target lies at one end."""
    random = np.random.default_rng(seed)
    rows = random.normal([at, 0.0], size=(count, 2))
    return rows, (rows[:, 1] > np.abs(rows[:, 0]) - 0.5).astype(int)


def test_importance_weighting_fits_the_part_where_the_target_is():
    (source, labels), (target, truth) = bent(400, seed=0, at=0.0), bent(400, seed=1, at=1.2)

    plain, weighted = (
        accuracy(METHODS[name]().fit(source, labels, target, classes=2), target, truth)
        for name in ("none", "importance")
    )

    assert weighted > plain + 0.05


# Prototypes


def test_a_prototype_is_the_mean_of_unit_vectors_of_the_weights_and_the_surest_examples():
    weights = np.array([[3.0, 0.0], [0.0, 2.0]])  # columns are classes
    target = np.array([[5.0, 0.0], [3.0, 4.0], [0.0, 1.0], [1.0, 1.0]])
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.55, 0.45]])

    found = prototypes(weights, target, scores, per_class=2)

    assert found[:, 0] == pytest.approx([(1 + 1 + 0.6) / 3, 0.8 / 3])
    assert found[:, 1] == pytest.approx([0.0, 1.0])


def test_a_class_that_no_example_is_assigned_to_keeps_the_direction_of_its_weights():
    found = prototypes(np.diag([3.0, 2.0]), np.ones((1, 2)), np.array([[0.9, 0.1]]), per_class=1)

    assert found[:, 1].tolist() == [0.0, 1.0]


def test_prototypes_answer_in_the_coordinates_that_the_source_is_standardised_in():
    source, labels, target, _ = moved()
    start = learnt_at_home(90)
    deviations = source.std(axis=0)
    scale = np.sqrt(
        deviations**2 + (0.05 * source.mean(axis=0)) ** 2 + (0.1 * np.median(deviations)) ** 2
    )  # as documented in kt.linear.space
    inside, standard = start.weights * scale[:, None], (target - source.mean(axis=0)) / scale
    length = np.linalg.norm(inside, axis=0).mean()

    means = prototypes(inside, standard, start.scores(target), per_class=5)

    adapted = Prototypes(per_class=5).fit(source, labels, target, classes=3)
    assert adapted.scores(target) == pytest.approx(softmax(length * standard @ means, axis=1))


# Ensemble


def test_an_ensemble_is_the_mean_of_logits_of_the_same_spread_whatever_the_sureness_of_a_member():
    random = np.random.default_rng(0)
    target = random.normal(size=(50, 3))
    calm, wild = (
        Linear(random.normal(size=(3, 4)) * size, random.normal(size=4) * size, C=1.0, kept=1.0, path=())
        for size in (1.0, 100.0)
    )

    found = ensemble_mean([calm, wild], target)

    logits = [target @ each.weights + each.bias for each in (calm, wild)]
    centred = [each - each.mean(axis=1, keepdims=True) for each in logits]
    unit = [each / each.std() for each in centred]
    together = (centred[0].std() + centred[1].std()) / 2 * (unit[0] + unit[1]) / 2
    assert found.scores(target) == pytest.approx(softmax(together, axis=1))
    again = ensemble_mean([calm, dataclasses.replace(wild, weights=wild.weights / 7, bias=wild.bias / 7)], target)
    assert (again.scores(target).argmax(axis=1) == together.argmax(axis=1)).all()


def test_a_member_that_gives_every_example_the_same_logits_changes_no_answer():
    _, _, target, _ = moved()
    start = learnt_at_home(90)
    silent = dataclasses.replace(start, weights=np.zeros_like(start.weights), bias=np.zeros_like(start.bias))

    found = ensemble_mean([start, silent], target)

    assert (found.scores(target).argmax(axis=1) == start.scores(target).argmax(axis=1)).all()


def test_an_ensemble_has_at_least_two_methods_as_members():
    with pytest.raises(RecipeError, match="members must be two methods or more, not 1"):
        Ensemble(members=(Prototypes(),))
    with pytest.raises(RecipeError, match="members are methods such as CorrelationAlignment"):
        Ensemble(members=(Prototypes, LinearTransport()))


# Distances


def test_mmd_is_the_double_sum_of_its_definition():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(7, 3)), random.normal(size=(9, 3)) + 1
    rows = np.vstack([a, b])
    squared = ((rows[:, None] - rows) ** 2).sum(axis=2)
    middle = np.median(squared[np.triu_indices(16, 1)])
    kernel = np.mean([np.exp(-squared / (2 * m**2 * middle)) for m in (0.25, 0.5, 1, 2, 4)], axis=0)
    off = kernel - np.diag(np.diag(kernel))

    expected = off[:7, :7].sum() / 42 + off[7:, 7:].sum() / 72 - 2 * kernel[:7, 7:].mean()

    assert mmd(a, b, permutations=1).squared == pytest.approx(expected)


def test_equal_distributions_have_an_mmd_of_0_on_average_and_raise_alarms_at_the_promised_rate():
    random = np.random.default_rng(0)
    found = [mmd(*random.normal(size=(2, 15, 3)), permutations=99, seed=draw) for draw in range(200)]
    squared, p = np.array([(each.squared, each.p) for each in found]).T

    assert abs(squared.mean()) < 3 * squared.std() / np.sqrt(200)
    assert stats.binom.ppf(0.001, 200, 0.05) <= (p <= 0.05).sum() <= stats.binom.ppf(0.999, 200, 0.05)
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_mmd_sees_a_shift_and_a_change_of_spread_and_never_says_p_0():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 60, 4))

    for other in (b + 1, b * 3):
        found = mmd(a, other, permutations=199)
        assert found.squared > 0.02
        assert found.p == pytest.approx(1 / 200)


def test_mmd_of_many_examples_takes_a_sample():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 3000, 2))

    assert mmd(a, b, examples=50, seed=1) == mmd(a, b, examples=50, seed=1)
    assert mmd(a, b, examples=50, seed=1) != mmd(a, b, examples=50, seed=2)


def test_mmd_of_copies_of_one_example_is_0():
    assert mmd(np.ones((5, 2)), np.ones((6, 2))).squared == pytest.approx(0.0)
    assert mmd(np.ones((5, 2)), np.ones((6, 2))).p == 1.0


def test_the_a_distance_is_0_for_one_distribution_and_2_for_two():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 150, 4))

    same, apart = proxy_a_distance(a, b), proxy_a_distance(a, b + 20)

    assert same.distance < 0.3
    assert same.interval[0] == 0.0
    assert apart.distance == 2.0
    assert 1.8 < apart.interval[0] < apart.interval[1] == 2.0


def test_the_a_distance_of_gaussians_is_that_of_the_best_line():
    random = np.random.default_rng(0)
    a, b = random.normal(size=(400, 3)), random.normal([1.5, 0.0, 0.0], size=(200, 3))

    found = proxy_a_distance(a, b)

    assert found.interval[0] < 2 * (1 - 2 * stats.norm.cdf(-0.75)) < found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.4


def test_frames_of_a_few_things_are_no_difference_of_domains_if_groups_are_known():
    random = np.random.default_rng(0)
    things = random.normal(size=(40, 60))
    frames = np.repeat(things, 5, axis=0) + random.normal(0, 0.01, (200, 60))
    names = [str(place // 5) for place in range(100)]

    blind = proxy_a_distance(frames[:100], frames[100:])
    told = proxy_a_distance(frames[:100], frames[100:], groups=(names, names))

    assert blind.distance > 1.9
    assert told.interval[0] < 0.5


# Validators


def of(classifier, method=None, *, source=None, **more):
    rows, labels, target, _ = moved() if source is None else source
    return Adapted(rows, labels, target, method or SourceOnly(), classifier, 3, **more)


@pytest.mark.parametrize("validator", [circular, entropy, soft_neighbourhood, mix])
def test_a_classifier_that_looks_at_the_classes_scores_higher_than_one_that_looks_at_noise(validator):
    noise = np.random.default_rng(9).normal(size=(2, 90, 6))
    (source, labels), (target, _) = domain(90, seed=2, apart=2.0), domain(90, seed=3, apart=2.0)
    source, target = np.hstack([source, noise[0]]), np.hstack([target, noise[1]])
    right = Quick().fit(source, labels, target, classes=3)
    blind = dataclasses.replace(right, weights=np.roll(right.weights, 6, axis=0))

    good, broken = (validator(of(each, Quick(), source=(source, labels, target, None))) for each in (right, blind))

    assert good > broken


@dataclasses.dataclass(frozen=True)
class Quick:
    """Learns from some features of the source, from one column to before another, without choosing C."""

    columns: tuple[int, int] = (0, 99)
    name = "quick"

    def fit(self, source, labels, target, *, classes, groups=None, balanced=False, seed=0):
        used = np.zeros_like(source)
        used[:, slice(*self.columns)] = source[:, slice(*self.columns)]
        return fit(used, labels, classes=classes, C=1.0)


def test_a_method_that_learns_the_classes_scores_higher_than_one_that_leaves_them_out():
    noise = np.random.default_rng(9).normal(size=(2, 60, 6))
    (source, labels), (target, _) = domain(60, seed=2), domain(60, seed=3)
    source, target = np.hstack([source, noise[0]]), np.hstack([target, noise[1]])

    good, broken = (
        of(method.fit(source, labels, target, classes=3), method, source=(source, labels, target, None))
        for method in (Quick((0, 6)), Quick((6, 12)))
    )

    assert importance_weighted(good) > importance_weighted(broken) + 0.2
    assert deep_embedded(good) > deep_embedded(broken) + 0.2


def constant():
    """A classifier that always answers the first class."""
    return Linear(np.zeros((6, 3)), np.array([9.0, 0.0, 0.0]), 1.0, 1.0, ())


def test_a_classifier_that_answers_one_class_gets_what_it_deserves_from_two_validators():
    assert circular(of(constant())) == pytest.approx(1 / 3)
    assert mix(of(constant())) == 0.0


def test_the_way_back_is_perfect_if_the_domains_are_clear_copies():
    source, labels = domain(90, seed=1, apart=6.0)
    target, _ = domain(90, seed=2, apart=6.0)
    method = CorrelationAlignment()

    assert circular(of(method.fit(source, labels, target, classes=3), method, source=(source, labels, target, 0))) == 1


def test_the_entropy_of_a_classifier_that_knows_nothing_is_that_of_a_die():
    nothing = Linear(np.zeros((6, 3)), np.zeros(3), 1.0, 1.0, ())

    assert entropy(of(nothing)) == pytest.approx(-np.log(3))
    assert entropy(of(constant())) > -0.01


def test_the_neighbourhood_of_answers_that_are_all_alike_is_as_dense_as_can_be():
    assert soft_neighbourhood(of(constant())) == pytest.approx(np.log(89))


def test_the_neighbourhood_of_clear_classes_is_the_class():
    target = np.repeat(np.eye(3), 10, axis=0)
    sure = Linear(100 * np.eye(3), np.zeros(3), 1.0, 1.0, ())

    found = soft_neighbourhood(Adapted(target, np.repeat([0, 1, 2], 10), target, SourceOnly(), sure, 3))

    others = np.array([np.exp(20.0)] * 9 + [1.0] * 20)  # cosines of 1 and 0, divided by 0.05
    assert found == pytest.approx(stats.entropy(others))


def test_a_mixture_is_answered_like_its_larger_part_if_the_margins_are_alike():
    target = np.array([[1.0, 0.0], [0.0, 1.0]] * 20)
    even, uneven = (Linear(np.diag([factor, 1.0]), np.zeros(2), 1.0, 1.0, ()) for factor in (1.0, 3.0))
    adapted = [Adapted(target, [0, 1] * 20, target, SourceOnly(), each, 2) for each in (even, uneven)]

    assert mix(adapted[0]) == 1.0
    assert 0.3 < mix(adapted[1]) < 0.7  # all mixtures are answered as the first class


def test_importance_weighted_accuracy_predicts_the_accuracy_on_the_target():
    (source, labels), (target, truth) = bent(300, seed=0, at=0.0), bent(300, seed=1, at=1.0)
    classifier = Quick().fit(source, labels, target, classes=2)
    adapted = Adapted(source, labels, target, Quick(), classifier, 2)

    there = accuracy(classifier, target, truth)
    here = accuracy(classifier, source, labels)

    for found in (importance_weighted(adapted), 1 + deep_embedded(adapted)):
        assert abs(found - there) < 0.5 * abs(here - there)


def test_all_validators_are_listed_and_are_the_same_again():
    source = domain(9, features=2, seed=1)
    target, _ = domain(9, features=2, seed=2)
    adapted = Adapted(*source, target, Quick(), fit(*source, classes=3, C=0.1), 3, seed=3)

    assert len(VALIDATORS) == 7
    for name, validator in VALIDATORS.items():
        assert validator.__name__ == name
        assert validator(adapted) == validator(dataclasses.replace(adapted))


# Choosing


def test_not_adapting_is_chosen_unless_another_is_better_each_time():
    steady = [[0.80, 0.81, 0.79], [0.90, 0.91, 0.90], [0.7, 0.7, 0.7]]
    shaky = [[0.80, 0.81, 0.79], [0.70, 0.99, 0.80], [0.7, 0.7, 0.7]]
    names = ["none", "coral", "ot_map"]

    assert choose(names, steady) == "coral"
    assert choose(names, shaky) == "none"
    assert choose(names, [[0.9] * 3, [0.8] * 3, [0.7] * 3]) == "none"
    assert choose(names, [[0.1], [0.9], [0.8]]) == "none"  # a single repeat proves nothing
    assert choose(["none"], [[0.5, 0.6]]) == "none"


def test_candidates_that_differ_by_chance_are_chosen_no_more_often_than_promised():
    random = np.random.default_rng(0)
    names = ["none", "a", "b", "c", "d"]

    wrong = sum(choose(names, random.normal(size=(5, 6))) != "none" for _ in range(1000))

    assert wrong <= stats.binom.ppf(0.999, 1000, 0.05)


@pytest.mark.parametrize(
    ("names", "scores", "error", "message"),
    [
        (["coral", "nine"], [[1, 2], [1, 2]], RecipeError, "'none', .* must be among the candidates"),
        (["none", "none"], [[1, 2], [1, 2]], RecipeError, "name of its own"),
        (["none", "coral"], [[1, 2]], DataError, r"\[2 candidates, repeats\], not of shape \[1, 2\]"),
        (["none", "coral"], [[1, 2], [1, np.nan]], DataError, "finite"),
    ],
)
def test_scores_that_cannot_be_compared_are_refused(names, scores, error, message):
    with pytest.raises(error, match=message):
        choose(names, scores)


# What can't be right


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": np.full((5, 6), np.nan)}, "target domain has features that are not finite"),
        ({"source": np.full((90, 6), np.inf)}, "source domain has features that are not finite"),
        ({"target": np.ones((5, 7))}, "have 6 and 7 features"),
        ({"target": np.ones((0, 6))}, "target domain has no examples"),
        ({"target": np.ones(6)}, r"must be \[examples, features\]"),
        ({"labels": np.zeros(90, int)}, "Class 1 .* no example in the source"),
        ({"labels": np.zeros(90, int), "classes": 1}, "one class only"),
        ({"labels": np.zeros(89, int)}, r"don't fit labels of shape \[89\]"),
        ({"labels": np.full(90, 7)}, "from 0 to 2, and one is 7"),
    ],
)
def test_domains_that_cannot_be_adapted_are_refused(name, change, message):
    source, labels, target, _ = moved()
    given = {"source": source, "labels": labels, "target": target, "classes": 3} | change

    with pytest.raises(DataError, match=message):
        METHODS[name]().fit(**given)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CorrelationAlignment(shrinkage=1.5), "CorrelationAlignment: shrinkage must be from 0 to 1"),
        (lambda: CorrelationAlignment(shrinkage="much"), "shrinkage must be a number or None, not 'much'"),
        (lambda: LinearTransport(shrinkage=-0.1), "LinearTransport: shrinkage must be from 0 to 1"),
        (lambda: SubspaceAlignment(dimensions=0), "dimensions must be 1 or more"),
        (lambda: SubspaceAlignment(dimensions=2.5), "dimensions must be an integer or None"),
        (lambda: TransportedLabels(regularisation=0.0), "regularisation must be above 0"),
        (lambda: TransportedLabels(class_regularisation=-1.0), "class_regularisation must be 0 or more"),
        (lambda: TransportedLabels(examples=1), "examples must be 2 or more"),
        (lambda: ImportanceWeighting(largest=0.5), "largest must be 1 or more"),
        (lambda: Prototypes(per_class=0), "per_class must be 1 or more"),
        (lambda: sinkhorn(np.ones((2, 2)), 0.0), "regularisation of optimal transport must be above 0"),
        (lambda: mmd(np.ones((3, 2)), np.ones((3, 2)), permutations=0), "1 permutation"),
        (lambda: proxy_a_distance(np.ones((3, 2)), np.ones((3, 2)), examples=1), "2 examples or more"),
        (lambda: mix(of(constant()), share=0.5), "share must be above 0.5"),
        (lambda: soft_neighbourhood(of(constant()), temperature=0.0), "temperature above 0"),
        (lambda: choose(["none"], [[1.0]], confidence=1.0), "confidence must be above 0 and below 1"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(make, message):
    with pytest.raises(RecipeError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sinkhorn([[np.nan]], 1.0), "finite"),
        (lambda: sinkhorn(np.ones((2, 2)), 1.0, source=[1.0, 1.0]), "2 numbers above 0 with a sum of 1"),
        (lambda: mmd(np.ones((1, 2)), np.ones((3, 2))), "two examples or more"),
        (lambda: mmd(np.ones((3, 2)), np.ones((3, 3))), "2 and 3 features"),
        (lambda: proxy_a_distance(np.ones((1, 2)), np.ones((3, 2))), "single independent example"),
        (lambda: proxy_a_distance(np.eye(3), np.eye(3), groups=(["a"], ["b"])), "1 groups don't fit 3"),
        (lambda: density_ratio(np.eye(3), np.eye(3), groups=["a", "a", "a"]), "single independent example"),
        (lambda: density_ratio(np.eye(3), np.eye(3), groups=["a", "b"]), "2 and 3 groups don't fit"),
        (lambda: CorrelationAlignment().fit(*moved()[:2], np.ones((4, 6)), classes=3), "no covariance to match"),
        (lambda: LinearTransport().fit(*moved()[:2], np.ones((1, 6)), classes=3), "no covariance to match"),
        (lambda: SubspaceAlignment(dimensions=9).fit(*moved()[:3], classes=3), "needs 9 dimensions .* has 6"),
        (lambda: SubspaceAlignment().fit(*moved()[:2], np.ones((1, 6)), classes=3), "needs 1 dimensions .* has 0"),
        (lambda: of(Linear(np.zeros((5, 3)), np.zeros(3), 1.0, 1.0, ())), r"weights of shape \[5, 3\]"),
    ],
)
def test_data_that_says_nothing_is_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()


@pytest.mark.parametrize("mapping", [recolouring, monge_map])
def test_wide_features_are_moved_in_the_directions_in_which_they_vary(mapping, monkeypatch):
    random = np.random.default_rng(0)
    basis = np.linalg.qr(random.normal(size=(30, 4)))[0].T
    source, target = random.normal(size=(200, 4)) @ basis, (random.normal(size=(150, 4)) * [3, 1, 0.5, 2] + 1) @ basis
    map_of = functools.partial(mapping, shrinkage=0.0)
    whole = covariances.moved(source, target, map_of)
    monkeypatch.setattr(covariances, "WIDEST", 20)
    few = covariances.moved(source, target, map_of)
    np.testing.assert_allclose(few, whole, atol=1e-6)
    np.testing.assert_allclose(covariance(few), covariance(target), atol=1e-6)
    np.testing.assert_allclose(few.mean(axis=0), target.mean(axis=0), atol=1e-8)


def test_what_the_directions_leave_out_stays_as_it_is(monkeypatch):
    random = np.random.default_rng(1)
    scales = np.r_[np.full(3, 100.0), np.full(27, 0.01)]
    source, target = random.normal(size=(40, 30)) * scales, random.normal(size=(40, 30)) * scales + 5 * np.eye(30)[0]
    monkeypatch.setattr(covariances, "WIDEST", 3)
    found = covariances.moved(source, target, functools.partial(recolouring, shrinkage=0.0))
    np.testing.assert_allclose(found[:, 3:], source[:, 3:], atol=0.5)
    np.testing.assert_allclose(found[:, 0].mean(), target[:, 0].mean(), atol=5.0)


@pytest.mark.parametrize(("count", "width"), [(60, 200), (150, 40)])
def test_subspaces_of_wide_and_of_many_rows_are_those_of_a_singular_value_decomposition(count, width):
    random = np.random.default_rng(0)
    hidden = random.normal(size=(2 * count, 12)) * np.linspace(4, 1, 12) @ random.normal(size=(12, width))
    rows = (hidden + random.normal(size=(2 * count, width)) + 50).astype(np.float32).astype(np.float64)
    for dimensions in (None, 30):
        found = bases(rows[:count], rows[count:], dimensions=dimensions)
        for domain, directions in zip((rows[:count], rows[count:]), found, strict=True):
            _, widths, known = np.linalg.svd(domain - domain.mean(axis=0), full_matrices=False)
            taken = directions.shape[1]
            np.testing.assert_allclose(np.abs(np.sum(known[:taken].T * directions, axis=0)), 1, atol=1e-9)
            np.testing.assert_allclose(directions.T @ directions, np.eye(taken), atol=1e-12)
        if dimensions is None:
            shares = np.cumsum(widths**2) / np.sum(widths**2)
            assert taken <= np.searchsorted(shares, 0.95) + 1


def test_all_directions_of_nearly_flat_domains_are_orthonormal_and_rounding_is_no_direction():
    random = np.random.default_rng(0)
    flat = random.normal(size=(30, 5)) * [1, 1, 1e-3, 1e-5, 1e-9] @ random.normal(size=(5, 90))
    own, _ = bases(flat, flat[::-1], dimensions=4)
    np.testing.assert_allclose(own.T @ own, np.eye(4), atol=1e-9)
    with pytest.raises(DataError, match="needs 5 dimensions in both domains, and one has 4"):
        bases(flat, flat[::-1], dimensions=5)


def test_the_cost_is_that_of_distances_pair_by_pair_also_far_from_the_origin():
    random = np.random.default_rng(0)
    source, target = random.normal(size=(20, 300)) + 1e4, random.normal(size=(30, 300)) + 1e4
    target[0] = source[0]
    by_pairs = ((source[:, None] - target) ** 2).sum(axis=-1)
    found = relative_cost(source, target)
    np.testing.assert_allclose(found, by_pairs / np.median(by_pairs), rtol=1e-9, atol=1e-10)
    assert found.min() >= 0
