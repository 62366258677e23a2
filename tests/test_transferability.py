"""LogME, the H-score and nearest neighbours on cases whose answer is known."""

import numpy as np
import pytest
from scipy import optimize

from kt.strategy.transferability import h_score, logme, neighbours


def clouds(count, width, *, classes=3, apart=2.0, seed=0):
    """Features `[N, D]` of Gaussian clouds, one a class, and their labels."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return random.normal(size=(classes, width))[labels] * apart + random.normal(size=(count, width)), labels


def rotation(width, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]


# -------------------------------------------------------------------------------------------------------------- LogME


def evidence(features, label, prior, noise):
    """log p(y) / N from the normal distribution of all labels at once, without any of kt's algebra."""
    covariance = np.eye(len(label)) / noise + features @ features.T / prior
    spread = np.linalg.slogdet(2 * np.pi * covariance).logabsdet
    return -(spread + label @ np.linalg.solve(covariance, label)) / 2 / len(label)


@pytest.mark.parametrize(("count", "width", "apart"), [(40, 5, 1.0), (40, 5, 0.3), (20, 60, 0.2), (30, 30, 0.5)])
def test_logme_is_the_largest_evidence_that_a_search_over_both_precisions_finds(count, width, apart):
    features, labels = clouds(count, width, apart=apart)
    best = []
    for label in range(3):
        y = (labels == label).astype(float)

        def loss(logs, y=y):
            return -evidence(features, y, *np.exp(logs))

        grid = [(a, b) for a in np.linspace(-6, 12, 10) for b in np.linspace(-1, 12, 8)]
        start = min(grid, key=loss)
        best.append(-optimize.minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-9}).fun)
    assert logme(features, labels) == pytest.approx(np.mean(best), abs=1e-4)


def test_logme_of_features_that_are_all_zero_is_that_of_noise_alone():
    labels = np.array([0] * 30 + [1] * 10)
    noise = [-(np.log(2 * np.pi * share) + 1) / 2 for share in (0.75, 0.25)]  # the variance that fits a 0/1 label best
    assert logme(np.zeros((40, 4)), labels) == pytest.approx(np.mean(noise), abs=1e-9)


def test_logme_does_not_change_with_scale_rotation_the_order_of_pictures_or_the_names_of_classes():
    features, labels = clouds(50, 8)
    score = logme(features, labels)
    order = np.random.default_rng(1).permutation(50)
    assert logme(features * 1e5, labels) == pytest.approx(score, abs=1e-6)
    assert logme(features * 1e-5, labels) == pytest.approx(score, abs=1e-6)
    assert logme(features @ rotation(8), labels) == pytest.approx(score, abs=1e-6)
    assert logme(features[order], labels[order]) == pytest.approx(score, abs=1e-6)
    assert logme(features, 7 - 3 * labels) == pytest.approx(score, abs=1e-6)


def test_logme_ranks_features_by_how_well_the_classes_are_told_apart():
    scores = [logme(*clouds(120, 20, apart=apart)) for apart in (0.0, 0.3, 1.0, 3.0)]
    assert scores == sorted(scores)
    assert scores[3] > scores[0] + 0.5


def test_logme_stays_finite_where_features_are_the_labels():
    labels = np.arange(30) % 3
    assert np.isfinite(logme(np.eye(3)[labels], labels))
    assert logme(np.eye(3)[labels], labels) > logme(*clouds(30, 3))


# ------------------------------------------------------------------------------------------------------------ H-score


def test_the_h_score_of_one_hot_features_is_the_number_of_classes_less_one():
    for classes in (2, 3, 7):
        labels = np.arange(10 * classes) % classes
        assert h_score(np.eye(classes)[labels], labels, shrinkage=0) == pytest.approx(classes - 1)


def test_the_h_score_is_the_trace_of_its_definition():
    features, labels = clouds(60, 6)
    within = np.cov(features.T, bias=True)
    means = np.array([features[labels == label].mean(axis=0) for label in labels])
    assert h_score(features, labels, shrinkage=0) == pytest.approx(
        np.trace(np.linalg.inv(within) @ np.cov(means.T, bias=True))
    )


def test_the_shrunk_h_score_is_the_trace_of_its_definition_where_features_outnumber_pictures():
    from sklearn.covariance import ledoit_wolf

    features, labels = clouds(30, 80)
    covariance, share = ledoit_wolf(features)
    means = np.array([features[labels == label].mean(axis=0) for label in labels])
    expected = (1 - share) * np.trace(np.linalg.inv(covariance) @ np.cov(means.T, bias=True))
    assert h_score(features, labels) == pytest.approx(expected)
    assert 0 < share < 1


def test_the_h_score_of_one_feature_is_the_share_of_its_variance_between_the_classes():
    values, labels = np.array([0.0, 2.0, 10.0, 12.0]), np.array([0, 0, 1, 1])
    assert h_score(values[:, None], labels, shrinkage=0) == pytest.approx(25 / 26)


def test_the_h_score_does_not_change_under_any_invertible_map():
    features, labels = clouds(60, 6)
    map_ = np.random.default_rng(3).normal(size=(6, 6))
    assert h_score(features @ map_ + 7, labels, shrinkage=0) == pytest.approx(h_score(features, labels, shrinkage=0))


def test_the_shrunk_h_score_does_not_change_with_scale_shift_or_rotation():
    features, labels = clouds(30, 80)
    assert h_score(features @ rotation(80) * 50 + 3, labels) == pytest.approx(h_score(features, labels), rel=1e-6)


def test_the_h_score_without_shrinkage_calls_noise_perfect_where_features_outnumber_pictures_and_with_it_does_not():
    features, labels = clouds(30, 200, apart=0.0)
    assert h_score(features, labels, shrinkage=0) == pytest.approx(2.0)
    assert h_score(features, labels) < 0.8


def test_the_h_score_of_constant_features_is_zero():
    assert h_score(np.full((20, 5), 3.7), np.arange(20) % 2) == 0.0
    assert h_score(np.full((20, 5), 3.7), np.arange(20) % 2, shrinkage=0) == 0.0


# --------------------------------------------------------------------------------------------------------- neighbours


def test_neighbours_are_those_of_scikit_learn_leave_one_out():
    from sklearn.model_selection import LeaveOneOut, cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.preprocessing import StandardScaler

    features, labels = clouds(45, 6, classes=2, apart=0.8)
    scaled = StandardScaler().fit_transform(features)
    theirs = cross_val_predict(KNeighborsClassifier(5, metric="cosine"), scaled, labels, cv=LeaveOneOut())
    assert (neighbours(features, labels, k=5) == theirs).all()


def test_a_picture_s_own_group_has_no_vote():
    """Pairs of the same thing lie together with one label; apart from its twin, each is among the other class."""
    corners = np.array([[0.0, 1.0], [0.1, 1.0], [1.0, 0.0], [1.0, 0.1]])
    features, labels = np.repeat(corners, 2, axis=0), np.array([0, 0, 1, 1, 0, 0, 1, 1])
    groups = [str(index // 2) for index in range(8)]
    assert (neighbours(features, labels, k=1) == labels).all()
    assert (neighbours(features, labels, groups, k=1) == 1 - labels).all()


def test_a_tie_goes_to_the_nearest():
    angles = np.deg2rad([0, 10, -20, 120, 240])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert neighbours(features, np.array([0, 1, 0, 2, 2]), k=2)[0] == 1


def test_with_fewer_pictures_than_neighbours_all_of_them_vote():
    features, labels = clouds(6, 4, classes=2, apart=9.0)
    assert (neighbours(features, labels, k=50)[:1] == 1 - labels[:1]).all()  # three of the other class, two of its own


@pytest.mark.parametrize("score", [logme, h_score, neighbours])
def test_features_that_do_not_fit_are_refused(score):
    with pytest.raises(ValueError, match=r"shape \(4, 2\) do not fit labels of shape \(3,\)"):
        score(np.zeros((4, 2)), [0, 1, 0])
    with pytest.raises(ValueError, match="infinite or NaN"):
        score(np.array([[np.nan], [1.0]]), [0, 1])
