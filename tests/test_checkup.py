"""What a backbone's features say about a data set: the features themselves, likely wrong labels, unlike pictures."""

import keras
import numpy as np
import pytest

from kt.checkup.answers import cross_validated, wrong_shares
from kt.checkup.features import Features, features_of, features_of_splits, probe_network
from kt.checkup.labels import judge_labels, label_errors, nearest
from kt.checkup.outliers import distances, outliers
from kt.checkup.shift import unlike_test
from kt.data.splits import Split, Splits
from kt.findings import Finding, read_findings, write_findings
from kt.kinds.pictures.kind import Pictures
from kt.linear.space import scale_of
from kt.network.model import predict

SIZE = (32, 32)


def tiny(include_top, weights, input_shape):
    inputs = x = keras.Input(input_shape)
    for block in (1, 2, 3):
        x = keras.layers.Conv2D(4 * block, 3, padding="same", activation="relu", name=f"block_{block}_conv")(x)
    return keras.Model(inputs, x, name="tiny")


tiny.preprocessing = "scale -1..1"


def pictures(count, *, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *SIZE, 3), np.uint8)


@pytest.fixture(scope="module")
def network():
    return probe_network(Pictures(SIZE), backbone=tiny, weights="none")


def test_features_are_those_of_all_depths_with_the_top_last(network):
    pixels = pictures(40)
    (found,) = features_of(network, [pixels])
    assert found.depths == network.taps
    assert found.depths[-1] == ("top", 12)
    assert sum(width for _, width in found.depths) == found.width == found.all().shape[1]
    expected = predict(keras.Model(network.model.input, network.features), pixels)
    np.testing.assert_allclose(found.all(), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found.top(), found.all()[:, -12:])
    np.testing.assert_array_equal(found.at(np.array([3, 0])), found.all()[[3, 0]])
    turn = np.random.default_rng(0).normal(size=(found.width, 3))
    np.testing.assert_allclose(found.reduced(turn), found.all() @ turn, rtol=1e-4, atol=1e-4)


def test_each_part_of_splits_has_the_features_of_its_own_pictures(network):
    parts = []
    for seed, count in enumerate((6, 3, 4)):
        names = tuple(f"{seed}/{number}.png" for number in range(count))
        parts.append(Split(pictures(count, seed=seed), np.arange(count) % 2, names, names))
    splits = Splits(*parts, classes=("one", "other"), batch_size=4, origin="a test", digest="")
    found = features_of_splits(splits, built=network)
    assert [(name, len(part)) for name, part in found.items()] == [("train", 6), ("validation", 3), ("test", 4)]
    (alone,) = features_of(network, [splits.test.examples])
    np.testing.assert_allclose(found["test"].all(), alone.all(), rtol=1e-5)


# -------------------------------------------------------------------------------------------------------------- labels

CLASSES = ("bean_rust", "healthy", "spot")


def clouds(each, *, apart=6.0, width=40, seed=0):
    """Features of `each` pictures of three classes, with the last ten as the top; labels; one group a picture."""
    random = np.random.default_rng(seed)
    labels = np.arange(3 * each) % 3
    centres = random.normal(0, apart / np.sqrt(width), (3, width))
    rows = np.abs(3 + centres[labels] + random.normal(0, 1, (3 * each, width)) / np.sqrt(3)).astype(np.float32)
    names = [f"train/{CLASSES[label]}/{place:03d}.jpg" for place, label in enumerate(labels)]
    return Features(rows, (("rest", width - 10), ("top", 10))), labels, names


def flip(labels, places):
    changed = labels.copy()
    changed[places] = (labels[places] + 1) % 3
    return changed


@pytest.mark.parametrize("count", [4, 30])
def test_flipped_labels_are_listed_and_their_classes_proposed(count):
    features, truth, names = clouds(100)
    wrong = np.random.default_rng(1).choice(300, count, replace=False)
    labels = flip(truth, wrong)
    found = label_errors(features, labels, names, names, classes=CLASSES)
    right = [finding for finding in found if names.index(finding.items[0]) in set(wrong.tolist())]
    assert len(right) >= 0.7 * count
    assert len(found) - len(right) <= 0.1 * count
    scores = [finding.score for finding in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    for finding in right:
        place = names.index(finding.items[0])
        (fix,) = finding.fixes
        assert (fix.path, fix.action, fix.value) == (names[place], "relabel", CLASSES[truth[place]])


def test_a_finding_says_what_is_seen_and_survives_the_file(tmp_path):
    features, truth, names = clouds(60)
    (finding,) = label_errors(features, flip(truth, [7]), names, names, classes=CLASSES)
    assert finding.words == (
        "train/healthy/007.jpg is labelled spot and looks like healthy: 10 of the 10 nearest pictures are healthy."
    )
    assert finding.figures["neighbours_of_other"] == 10
    assert len(finding.beside) == 4
    assert {name.split("/")[1] for name in finding.beside} == {"healthy"}
    write_findings(tmp_path / "findings.json", [finding])
    assert read_findings(tmp_path / "findings.json") == (finding,)


@pytest.mark.parametrize("apart", [2.0, 6.0])
def test_true_labels_are_left_alone_whether_classes_are_easy_or_hard(apart):
    for seed in range(3):
        features, labels, names = clouds(80, apart=apart, seed=seed)
        assert len(label_errors(features, labels, names, names, classes=CLASSES)) <= 1


def test_answers_know_nothing_of_a_pictures_own_label():
    features, _, names = clouds(100)
    labels = np.random.default_rng(0).integers(0, 3, 300)
    own = cross_validated(features, labels, names, classes=3)[np.arange(300), labels]
    assert abs(own.mean() - 1 / 3) < 0.05  # from answers in sample it is far above


def test_answers_know_nothing_of_other_pictures_of_the_group():
    features, _, _ = clouds(40)
    random = np.random.default_rng(0)
    rows = np.repeat(features.all(), 5, axis=0) + random.normal(0, 0.01, (600, features.width)).astype(np.float32)
    labels = np.repeat(random.integers(0, 3, 120), 5)
    copies = Features(rows, features.depths)
    groups = np.repeat([f"thing {number}" for number in range(120)], 5).tolist()
    own, blind = (
        cross_validated(copies, labels, names, classes=3)[np.arange(600), labels].mean()
        for names in ([str(place) for place in range(600)], groups)
    )
    assert own > 0.4
    assert abs(blind - 1 / 3) < 0.08


def test_a_picture_whose_group_has_another_label_is_listed():
    features, labels, names = clouds(60, apart=1.0)  # features tell little
    groups = [f"{label}/{place // 30}" for place, label in enumerate(labels)]
    found = label_errors(features, flip(labels, [10, 100]), groups, names, classes=CLASSES)
    assert {finding.items for finding in found} == {(names[10],), (names[100],)}


def test_groups_that_show_several_classes_say_nothing_about_labels():
    features, labels, names = clouds(80)
    patients = [f"patient {place // 12}" for place in range(240)]
    assert len(label_errors(features, labels, patients, names, classes=CLASSES)) <= 1
    found = label_errors(features, flip(labels, [10, 100]), patients, names, classes=CLASSES)
    assert {(names[10],), (names[100],)} <= {finding.items for finding in found}


def test_a_group_under_one_label_is_one_finding():
    features, labels, names = clouds(60)
    groups = [f"{label}/{place // 9}" for place, label in enumerate(labels)]
    wrong = [place for place, group in enumerate(groups) if group == "1/5"]
    (finding,) = label_errors(features, flip(labels, wrong), groups, names, classes=CLASSES)
    assert finding.items == tuple(names[place] for place in wrong)
    assert [fix.value for fix in finding.fixes] == ["healthy"] * len(wrong)
    such = "3 pictures of one thing, such as train/healthy/046.jpg, are labelled spot and look like healthy: "
    assert finding.words.startswith(such)


def test_a_class_with_a_single_group_is_not_judged():
    features, labels, names = clouds(40)
    groups = ["one thing" if label == 2 else name for label, name in zip(labels, names, strict=True)]
    judged = judge_labels(features, labels, groups, classes=3)
    np.testing.assert_array_equal(judged.judged, labels != 2)
    assert np.isnan(judged.own[labels == 2]).all()
    assert np.isfinite(judged.own[labels != 2]).all()
    alone = judge_labels(features, labels, [str(label) for label in labels], classes=3)
    assert not alone.judged.any()
    assert label_errors(features, labels, [str(label) for label in labels], names, classes=CLASSES) == []


def test_pictures_without_a_label_are_left_alone():
    features, truth, names = clouds(60)
    labels = flip(truth, [7])
    labels[100:110] = -1
    (finding,) = label_errors(features, labels, names, names, classes=CLASSES)
    assert finding.items == (names[7],)
    assert np.isnan(distances(features, labels, names).values[100:110]).all()


def test_the_estimated_share_of_wrong_labels_is_near_the_true_one():
    features, truth, names = clouds(200)
    for share in (0.0, 0.05, 0.2):
        random = np.random.default_rng(0)
        labels = truth.copy()
        wrong = random.choice(600, round(600 * share), replace=False)
        labels[wrong] = (truth[wrong] + random.integers(1, 3, len(wrong))) % 3
        assert abs(judge_labels(features, labels, names, classes=3).share - share) < 0.03


def test_a_label_with_no_chance_is_wrong_only_if_labels_may_be():
    own = np.concatenate([np.full(200, 0.98), [1e-6]])
    share, wrong = wrong_shares(own, 3)
    assert 0 < share < 0.02
    assert wrong[-1] > 0.99
    assert wrong[0] < 0.01


def test_the_nearest_are_those_of_all_pairs_without_the_own_group():
    features, _, _ = clouds(20)
    groups = [str(place // 3) for place in range(60)]
    rows = features.all().astype(np.float64)
    standard = (rows - rows.mean(axis=0)) / scale_of(rows)
    standard /= np.linalg.norm(standard, axis=1, keepdims=True)
    like = standard @ standard.T
    like[np.arange(60)[:, None] // 3 == np.arange(60)[None] // 3] = -2
    found = nearest(features, np.array([0, 31]), groups, count=4)
    np.testing.assert_array_equal(found, np.argsort(-like, axis=1)[[0, 31], :4])


# ------------------------------------------------------------------------------------------------------------ outliers


def test_foreign_pictures_are_listed_to_be_left_out_and_few_others():
    features, labels, names = clouds(100)
    random = np.random.default_rng(5)
    foreign = np.abs(random.normal(0, 3, (6, features.width))).astype(np.float32)
    rows = Features(np.concatenate([features.all(), foreign]), features.depths)
    labels, names = np.append(labels, [0, 1, 2, 0, 1, 2]), [*names, *(f"train/odd/{place}.jpg" for place in range(6))]
    found = outliers(rows, labels, names, names, classes=CLASSES)
    assert {finding.items[0] for finding in found[:6]} == set(names[-6:])
    assert len(found) <= 8
    assert {(fix.action, fix.value) for finding in found for fix in finding.fixes} == {("leave_out", "")}
    assert all(0.5 <= finding.score <= 1 for finding in found)
    assert isinstance(found[0], Finding)
    assert "is unlike the other pictures of" in found[0].words
    assert found[0].beside[0] != found[0].items[0]


def test_pictures_of_the_own_group_do_not_make_a_picture_usual():
    features, labels, names = clouds(60)
    odd = np.abs(np.random.default_rng(5).normal(0, 3, (1, features.width)))
    burst = np.repeat(odd, 8, axis=0).astype(np.float32)
    rows = Features(np.concatenate([features.all(), burst]), features.depths)
    labels, names = np.append(labels, [0] * 8), [*names, *(f"burst/{place}.jpg" for place in range(8))]
    found = outliers(rows, labels, [*names[:-8], *["burst"] * 8], names, classes=CLASSES)
    assert {finding.items[0] for finding in found} >= set(names[-8:])


def test_with_few_pictures_or_equal_ones_nothing_is_called_unlike():
    features, labels, names = clouds(5)
    assert outliers(features, labels, names, names, classes=CLASSES) == []
    same = Features(np.ones((90, 12), np.float32), (("top", 12),))
    names = [str(place) for place in range(90)]
    assert outliers(same, np.arange(90) % 3, names, names, classes=CLASSES) == []


def test_the_distance_is_that_to_the_fifth_of_the_class():
    features, labels, names = clouds(20)
    top = features.top().astype(np.float64)
    top /= np.linalg.norm(top, axis=1, keepdims=True)
    expected = np.sort(np.linalg.norm(top[0] - top[labels == 0], axis=1))[5]
    assert distances(features, labels, names).values[0] == pytest.approx(expected, abs=1e-3)


# ---------------------------------------------------------------------------------------------- a test unlike train


def unlike(features, labels, names, *, groups=None, given):
    return unlike_test(features, labels, groups or names, names, given, nouns=Pictures((8, 8)), seed=0)


def test_a_test_that_looks_otherwise_is_found_without_its_labels():
    features, labels, names = clouds(60)
    given = ["train", "train", "validation", "test"] * 45
    assert unlike(features, labels, names, given=given) == []
    tested = np.array([split == "test" for split in given])
    moved = Features(features.all() + 1.5 * tested[:, None].astype(np.float32), features.depths)
    (found,) = unlike(moved, np.where(tested, -1, labels), names, given=given)
    assert (found.kind, found.severity, found.fixes) == ("unlike_test", "warning", ())
    assert set(found.items) <= {name for name, is_test in zip(names, tested, strict=True) if is_test}
    assert found.words.startswith("The test pictures look otherwise than the training pictures: a classifier tells")
    assert found.figures["auc"] > 0.8 and found.figures["p"] <= 0.01


@pytest.mark.parametrize("given", [[None] * 180, ["train"] * 180, ["test"] * 180])
def test_without_a_test_that_the_data_gives_nothing_is_compared(given):
    features, labels, names = clouds(60)
    assert unlike(features, labels, names, given=given) == []


def test_many_pictures_of_one_thing_prove_no_difference():
    features, labels, names = clouds(60)
    given, groups = ["train"] * 120 + ["test"] * 60, [*names[:120], *["burst"] * 60]
    moved = Features(features.all() + 1.5 * np.repeat([0, 1], [120, 60])[:, None].astype(np.float32), features.depths)
    assert unlike(moved, labels, names, groups=groups, given=given) == []
    assert len(unlike(moved, labels, names, given=given)) == 1
