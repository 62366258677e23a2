"""kt.linear: the answer is the convex optimum, its strength is chosen without looking, and nothing leaks."""

import warnings

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold

from kt.errors import DataError
from kt.linear import FALLBACK, cross_validated, fit, folds_of


def blobs(count=60, features=80, classes=3, *, apart=1.0, seed=0):
    """Pictures' features: a normal cloud around a centre of its own for each class."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = np.random.default_rng(99).normal(0, apart, (classes, features))
    return centres[labels] + random.normal(0, 3, (count, features)) + 5, labels


def penalised(weights, rows, labels, *, C, classes):  # noqa: N803
    """Softmax regression's objective in scikit-learn's form, and its gradient, on standardised features."""
    kernel, bias = weights[:-classes].reshape(-1, classes), weights[-classes:]
    logits = rows @ kernel + bias
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    right = shares[np.arange(len(labels)), labels]
    wrong = shares - np.eye(classes)[labels]
    value = -C * np.log(right).sum() + 0.5 * (kernel**2).sum()
    return value, np.concatenate([(C * rows.T @ wrong + kernel).ravel(), C * wrong.sum(axis=0)])


def test_the_objective_of_these_tests_has_the_gradient_that_it_says():
    rows, labels = blobs(20, 5)
    start = np.random.default_rng(1).normal(size=5 * 3 + 3)
    both = [lambda w, part=part: penalised(w, rows, labels, C=0.3, classes=3)[part] for part in (0, 1)]

    assert check_grad(*both, start) < 1e-4


def scale_of(rows):
    """Standard deviations with the floor that the module documents."""
    deviations = rows.std(axis=0)
    return np.sqrt(deviations**2 + (0.05 * rows.mean(axis=0)) ** 2 + (0.1 * np.median(deviations)) ** 2)


@pytest.mark.parametrize("features", [20, 200], ids=["fewer features than pictures", "more features than pictures"])
def test_the_softmax_stands_where_the_gradient_vanishes(features):
    rows, labels = blobs(90, features)

    found = fit(rows, labels, classes=3, C=0.05)

    scale = scale_of(rows)
    standard = (rows - rows.mean(axis=0)) / scale
    inside = np.concatenate([(found.weights * scale[:, None]).ravel(), found.bias + rows.mean(axis=0) @ found.weights])
    _, slope = penalised(inside, standard, labels, C=0.05, classes=3)
    _, at_nothing = penalised(np.zeros_like(inside), standard, labels, C=0.05, classes=3)
    assert np.abs(slope).max() < 1e-3 * np.abs(at_nothing).max()


def test_two_classes_are_answered_as_scikit_learn_answers():
    rows, labels = blobs(60, 10, classes=2)
    standard = (rows - rows.mean(axis=0)) / scale_of(rows)
    theirs = LogisticRegression(C=0.1, tol=1e-8).fit(standard, labels).predict_proba(standard)

    assert fit(rows, labels, classes=2, C=0.1).scores(rows) == pytest.approx(theirs, abs=1e-3)


def test_an_svm_gives_probabilities_that_are_the_better_for_their_scale():
    rows, labels = blobs(120, 40, apart=0.6)
    fresh, truth = blobs(300, 40, apart=0.6, seed=5)

    found = fit(rows, labels, classes=3, kind="svm")

    def loss(factor):
        logits = factor * (fresh @ found.weights + found.bias)
        logits -= logits.max(axis=1, keepdims=True)
        return -(logits[np.arange(300), truth] - np.log(np.exp(logits).sum(axis=1))).mean()

    assert found.scores(fresh).sum(axis=1) == pytest.approx(np.ones(300))
    assert loss(1.0) < min(loss(4.0), loss(0.25))


def test_the_strength_is_the_one_with_the_lowest_held_out_loss_and_noise_gets_a_strong_penalty():
    rows, labels = blobs(apart=2.0)
    noise = np.random.default_rng(3).normal(size=rows.shape)

    clear, unclear = fit(rows, labels, classes=3), fit(noise, labels, classes=3)

    assert min(clear.path, key=lambda tried: tried[2])[1] == clear.C
    assert unclear.C < clear.C
    assert unclear.scores(noise).max() < 0.9


def test_a_share_of_the_features_is_kept_where_the_rest_is_noise():
    rows, labels = blobs(90, 20, apart=2.0)
    random = np.random.default_rng(4)
    padded = np.hstack([rows, random.normal(0, 3, (90, 980))])

    found = fit(padded, labels, classes=3, keep=(1.0, 0.1, 0.02))

    used = np.flatnonzero(np.abs(found.weights).sum(axis=1))
    assert found.kept < 1
    assert len(used) == round(found.kept * 1000)
    assert np.mean(used < 20) > 0.15  # one in fifty by chance
    assert {share for share, _, _ in found.path} == {1.0, 0.1, 0.02}


def test_cross_validation_of_noise_stays_at_chance_though_features_outnumber_pictures():
    random = np.random.default_rng(0)
    rows, labels = random.normal(size=(100, 400)), np.arange(100) % 2

    scores = cross_validated(rows, labels, classes=2, keep=(1.0, 0.1))

    assert 0.3 < balanced_accuracy_score(labels, scores.argmax(axis=1)) < 0.7


def test_cross_validation_sees_through_copies_when_it_is_told_of_groups():
    random = np.random.default_rng(0)
    labels = np.arange(40) % 2
    rows, labels = np.repeat(random.normal(size=(40, 200)), 3, axis=0), np.repeat(labels, 3)
    groups = [str(index // 3) for index in range(120)]

    blind = cross_validated(rows, labels, classes=2)
    told = cross_validated(rows, labels, classes=2, groups=groups)

    assert balanced_accuracy_score(labels, blind.argmax(axis=1)) > 0.9
    assert balanced_accuracy_score(labels, told.argmax(axis=1)) < 0.7


def test_folds_hold_out_every_picture_once_and_never_part_of_a_group():
    labels = np.repeat([0, 1], 30)
    groups = [f"thing {index // 5}" for index in range(60)]

    folds = folds_of(labels, groups, folds=3)

    assert sorted(np.concatenate([held_out for _, held_out in folds])) == list(range(60))
    for train, held_out in folds:
        assert not {groups[index] for index in train} & {groups[index] for index in held_out}
        assert set(labels[train]) == {0, 1}


def test_balanced_weights_bring_back_a_class_that_is_rare():
    rows, labels = blobs(400, 5, classes=2, apart=0.8)
    rare = np.flatnonzero((labels == 0) | (np.arange(400) % 20 == 1))
    fresh, truth = blobs(400, 5, classes=2, apart=0.8, seed=8)

    plain, weighed = (fit(rows[rare], labels[rare], classes=2, balanced=balanced) for balanced in (False, True))

    recall = [(one.scores(fresh).argmax(axis=1) == 1)[truth == 1].mean() for one in (plain, weighed)]
    assert recall[1] > recall[0]


def weighed(weights, balanced=False, kind="softmax"):
    rows, labels = blobs(60, 10, apart=0.6)
    return fit(rows, labels, classes=3, C=0.1, weights=weights, balanced=balanced, kind=kind)


@pytest.mark.parametrize("balanced", [False, True])
def test_a_whole_weight_counts_as_that_many_copies(balanced):
    rows, labels = blobs(60, 10, apart=0.6)
    standard = (rows - rows.mean(axis=0)) / scale_of(rows)
    times = np.random.default_rng(0).integers(0, 4, 60)
    theirs = LogisticRegression(
        C=0.1 * 60 / times.sum(), tol=1e-8, class_weight="balanced" if balanced else None, max_iter=1000
    )
    theirs.fit(np.repeat(standard, times, axis=0), np.repeat(labels, times))

    assert weighed(times, balanced=balanced).scores(rows) == pytest.approx(theirs.predict_proba(standard), abs=1e-3)


@pytest.mark.parametrize("kind", ["softmax", "svm"])
def test_equal_weights_of_any_size_change_nothing(kind):
    rows, _ = blobs(60, 10, apart=0.6)
    plain = weighed(None, kind=kind)

    assert weighed(np.full(60, 7.0), kind=kind).scores(rows) == pytest.approx(plain.scores(rows), abs=1e-3)


def test_weights_count_in_the_choice_of_the_strength():
    rows, labels = blobs(200, 10, classes=2, apart=3.0)
    shuffled = labels.copy()
    shuffled[:100] = np.random.default_rng(0).permutation(labels[:100])

    noise, signal = (fit(rows, shuffled, classes=2, weights=np.repeat(each, 100)) for each in ([1, 1e-6], [1e-6, 1]))

    assert noise.C < signal.C


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.ones(59), r"Weights of shape \[59\]"),
        (-np.ones(60), "0 or more"),
        (np.zeros(60), "not all 0"),
        (np.full(60, np.nan), "finite"),
        (np.arange(60) % 3, "Class 0 .* no example with a weight above 0"),
    ],
)
def test_weights_that_weigh_nothing_are_refused(weights, message):
    with pytest.raises(DataError, match=message):
        weighed(weights, balanced=True)


@pytest.mark.parametrize("kind", ["softmax", "svm"])
def test_a_class_with_a_single_picture_is_learnt_and_a_constant_feature_is_of_no_weight(kind):
    rows, labels = blobs(20, 6, classes=2, apart=3.0)
    rows[:, 2] = 7.0
    rows, labels = np.vstack([rows, np.full((1, 6), 40.0)]), np.append(labels, 2)
    rows[-1, 2] = 7.0

    found = fit(rows, labels, classes=3, kind=kind)

    assert found.scores(rows)[-1].argmax() == 2
    assert not found.weights[2].any()
    assert np.isfinite(found.weights).all()


def test_features_that_hardly_vary_get_no_weights_that_rounding_decides_by():
    rows, labels = blobs(60, 40)
    rows[:, :20] = 5 + (rows[:, :20] - 5) * 1e-4  # as far apart for their spread, which is next to nothing
    found = fit(rows, labels, classes=3)
    rounded = found.scores(rows * (1 + 1e-3 * np.random.default_rng(0).normal(size=rows.shape)))

    assert np.abs(found.weights[:20]).max() < 10 * np.abs(found.weights[20:]).max()
    assert np.abs(rounded - found.scores(rows)).max() < 0.02


def test_only_shares_that_are_asked_for_are_taken():
    rows, labels = blobs(90, 30)

    assert fit(rows, labels, classes=3, keep=(0.5,)).kept == 0.5
    assert {share for share, _, _ in fit(rows, labels, classes=3, keep=(0.5, 0.2)).path} == {1.0, 0.5, 0.2}
    assert {fit(rows, labels, classes=3, keep=(0.5, 0.2), seed=seed).kept for seed in range(3)} <= {0.5, 0.2}


def test_where_nothing_can_be_held_out_a_fixed_strength_is_taken():
    found = fit([[0.0, 1.0], [1.0, 0.0]], [0, 1], classes=2)

    assert (found.C, found.path) == (FALLBACK, ())
    assert found.scores([[0.0, 1.0], [1.0, 0.0]]).argmax(axis=1).tolist() == [0, 1]


def test_a_fold_of_copies_of_one_picture_is_learnt_from_though_it_teaches_nothing():
    rows = np.repeat(np.random.default_rng(0).normal(size=(2, 9)), 2, axis=0)

    found = fit(rows, [0, 1, 0, 1], classes=2, groups=["a", "a", "b", "b"])

    assert len(found.path) > 0
    assert np.isfinite(found.weights).all()


@pytest.mark.parametrize(
    ("rows", "labels", "classes", "message"),
    [
        (np.ones((6, 4)), [0, 1] * 3, 2, "All examples have the same features"),
        ([[1.0], [np.nan]], [0, 1], 2, "not finite"),
        ([[1.0], [2.0]], [0, 0], 2, "Class 1 .* has no example"),
        ([[1.0], [2.0]], [0, 0], 1, "one class only"),
        ([[1.0], [2.0]], [0, 1, 1], 2, r"shape \[2, 1\] don't fit"),
    ],
)
def test_features_that_teach_nothing_are_refused(rows, labels, classes, message):
    with pytest.raises(DataError, match=message):
        fit(rows, labels, classes=classes)


def test_a_class_with_one_independent_picture_cannot_be_cross_validated():
    rows, labels = blobs(21, 4)
    groups = ["same" if label == 2 else str(index) for index, label in enumerate(labels)]

    with pytest.raises(DataError, match=r"Class 2 .* single independent example"):
        cross_validated(rows, labels, classes=3, groups=groups)


def test_groups_are_shared_out_as_scikit_learn_does_it_and_very_many_in_seconds() -> None:
    for seed in range(24):
        random = np.random.default_rng(seed)
        number, classes, folds = int(random.integers(40, 300)), int(random.integers(2, 9)), int(random.integers(2, 6))
        groups = random.integers(0, number // (1, 3, 8)[seed % 3], number)
        labels = random.integers(0, classes, number) if seed % 2 else (7 * groups) % classes
        names = [f"group {group}" for group in groups]
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = [held.tolist() for _, held in splitter.split(names, labels, names)]
        try:
            found = [held.tolist() for _, held in folds_of(labels, names, folds=folds, seed=seed)]
        except DataError:  # a class with a single group
            continue
        if len(found) == folds:
            assert found == expected
    labels = np.arange(20_000) % 7
    held_out = [held for _, held in folds_of(labels, [str(place // 2) for place in range(20_000)])]
    assert sorted(np.concatenate(held_out).tolist()) == list(range(20_000))
    assert all(abs(len(held) - 4000) <= 8 for held in held_out)
    assert all(np.ptp(np.bincount(labels[held])) <= 8 for held in held_out)
