"""Figures against scikit-learn and against cases worked out by hand, and everything odd a test split can be."""

import json
import warnings

import numpy as np
import pytest
from sklearn import metrics

from kt.base.metrics import HEADLINES
from kt.errors import DataError, TrainingError
from kt.heads.classification.measure import evaluate


@pytest.fixture(autouse=True)
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def guesses(images, classes, *, seed=0, dtype=np.float32):
    """Scores that are right rather often, with their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=images)
    logits = rng.normal(size=(images, classes))
    logits[np.arange(images), labels] += 1.5
    scores = np.exp(logits)
    return (scores / scores.sum(axis=1, keepdims=True)).astype(dtype), labels


def names(classes):
    return [f"class {i}" for i in range(classes)]


def test_the_keys_are_these_and_the_values_are_plain_json():
    scores, labels = guesses(40, 3)
    result = evaluate(scores, labels, names(3))
    assert list(result) == [
        "images", "groups", "accuracy", "balanced_accuracy", "roc_auc", "log_loss", "brier_score", "calibration_error",
        "confidence", "intervals", "per_class", "confusion_matrix", "calibration",
    ]  # fmt: skip
    assert set(result["intervals"]) == set(HEADLINES)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


@pytest.mark.parametrize("classes", [2, 5])
def test_figures_are_those_of_scikit_learn(classes):
    scores, labels = guesses(300, classes)
    result = evaluate(scores, labels, names(classes))
    predicted = scores.argmax(axis=1)
    exact = scores.astype(np.float64) / scores.astype(np.float64).sum(axis=1, keepdims=True)
    assert result["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert result["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    assert result["log_loss"] == pytest.approx(metrics.log_loss(labels, exact), abs=1e-6)
    expected = (
        metrics.roc_auc_score(labels, scores[:, 1])
        if classes == 2
        else metrics.roc_auc_score(labels, exact, multi_class="ovr", average="macro")
    )
    assert result["roc_auc"] == pytest.approx(expected)
    assert result["confusion_matrix"] == metrics.confusion_matrix(labels, predicted).tolist()
    f1 = metrics.f1_score(labels, predicted, average=None)
    assert [row["f1"] for row in result["per_class"]] == pytest.approx(list(f1))


@pytest.mark.parametrize("classes", [2, 4])
def test_each_resample_has_the_figures_that_scikit_learn_gives_it(classes, monkeypatch):
    """The drawn weights are caught, and every figure of every resample is computed again one by one."""
    import kt.heads.classification.measure as room

    caught, draw = [], room.draw
    intervals = {}
    monkeypatch.setattr(room, "draw", lambda *arguments: caught.append(draw(*arguments)) or caught[-1])
    monkeypatch.setattr(room, "FEW", 0)
    monkeypatch.setattr(room, "_interval", lambda draws: intervals.setdefault(len(intervals), draws).tolist())
    scores, labels = guesses(60, classes, dtype=np.float64)
    scores = np.round(scores, 1) + 1e-3  # many ties
    scores /= scores.sum(axis=1, keepdims=True)
    evaluate(scores, labels, names(classes), resamples=20)
    (weights,) = caught
    accuracy, balanced, auc, loss, brier, _ = intervals.values()
    predicted = scores.argmax(axis=1)
    for i in range(20):
        w = weights[:, i]
        assert accuracy[i] == pytest.approx(metrics.accuracy_score(labels, predicted, sample_weight=w))
        assert balanced[i] == pytest.approx(metrics.balanced_accuracy_score(labels, predicted, sample_weight=w))
        assert loss[i] == pytest.approx(metrics.log_loss(labels, scores, sample_weight=w))
        assert brier[i] == pytest.approx(
            metrics.brier_score_loss(labels, scores[:, 1] if classes == 2 else scores, sample_weight=w)
            / (1 if classes == 2 else 2)
        )
        columns = [1] if classes == 2 else range(classes)
        ranked = [metrics.roc_auc_score(labels == c, scores[:, c], sample_weight=w) for c in columns]
        assert auc[i] == pytest.approx(np.mean(ranked))


def test_a_case_worked_out_by_hand():
    scores = [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]]
    result = evaluate(scores, [0, 0, 1, 1], ["bad", "good"])
    assert result["accuracy"] == result["balanced_accuracy"] == 0.75
    assert result["roc_auc"] == 0.75  # of the pairs (.3, .8) x (.1, .4) only .3 < .4 is the wrong way round
    assert result["log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.3, 0.8]).mean())
    assert result["brier_score"] == pytest.approx((0.1**2 + 0.4**2 + 0.7**2 + 0.2**2) / 4)
    # Each picture is alone in its bin: |0.9 - 1|, |0.6 - 1|, |0.7 - 0|, |0.8 - 1|, a quarter each.
    assert result["calibration_error"] == pytest.approx((0.1 + 0.4 + 0.7 + 0.2) / 4)
    assert result["confusion_matrix"] == [[2, 0], [1, 1]]
    assert result["per_class"][0] == {
        "label": "bad", "precision": pytest.approx(2 / 3), "recall": 1.0, "f1": pytest.approx(0.8), "support": 2,
    }  # fmt: skip
    assert [row["count"] for row in result["calibration"]] == [0] * 8 + [1, 0, 1, 1, 0, 1, 0]
    assert (result["images"], result["groups"], result["confidence"]) == (4, 4, 0.95)


def test_the_interval_covers_what_theory_says_for_a_share():
    """For independent pictures and one share, the normal approximation is known."""
    labels = np.repeat([0, 1], 500)
    right = np.tile([True] * 8 + [False] * 2, 100)
    answer = np.where(right, labels, 1 - labels)
    scores = np.where(np.arange(2) == answer[:, None], 0.8, 0.2)
    low, high = evaluate(scores, labels, ["a", "b"])["intervals"]["accuracy"]
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert low == pytest.approx(0.8 - half, abs=0.004)
    assert high == pytest.approx(0.8 + half, abs=0.004)


def test_frames_of_one_thing_count_as_one_thing():
    """Twenty things of fifty like frames each tell as much as twenty pictures do: the interval must not narrow."""
    labels = np.repeat([0, 1], 20)
    scores = np.tile([[0.8, 0.2], [0.3, 0.7]], (20, 1))
    groups = [f"apple {i}" for i in range(40)]
    alone = evaluate(scores, labels, ["a", "b"], groups=groups)
    frames = evaluate(np.repeat(scores, 50, axis=0), np.repeat(labels, 50), ["a", "b"], groups=np.repeat(groups, 50))
    blind = evaluate(np.repeat(scores, 50, axis=0), np.repeat(labels, 50), ["a", "b"])
    assert frames["groups"] == 40
    assert frames["images"] == 2000
    for name in HEADLINES:
        assert frames["intervals"][name] == pytest.approx(alone["intervals"][name])
    width = {name: np.diff(result["intervals"]["accuracy"])[0] for name, result in
             {"frames": frames, "blind": blind}.items()}  # fmt: skip
    assert width["frames"] > 5 * width["blind"]


def test_no_class_vanishes_from_a_resample():
    """Two pictures of a rare class beside 98 others: drawn blindly, one resample in seven would lack it."""
    labels = np.array([0] * 98 + [1] * 2)
    scores = np.where(np.arange(2) == labels[:, None], 0.9, 0.1)
    result = evaluate(scores, labels, ["common", "rare"])
    assert result["intervals"]["roc_auc"] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("classes", "each", "truth"), [(2, 2, 0.9), (2, 3, 0.8), (2, 5, 0.9), (3, 5, 0.7), (10, 3, 0.8)]
)
def test_intervals_of_few_pictures_hold_the_truth_as_often_as_they_promise(classes, each, truth):
    """With the bootstrap alone they held it in 29 to 90 of 100 such sets, most often where all answers were right."""
    rng, held, labels = np.random.default_rng(0), 0, np.repeat(np.arange(classes), each)
    for _ in range(200):
        answers = np.where(rng.random(len(labels)) < truth, labels, (labels + 1) % classes)
        scores = np.eye(classes)[answers]
        low, high = evaluate(scores, labels, names(classes), resamples=100)["intervals"]["balanced_accuracy"]
        held += low <= truth <= high
    assert held >= 180


def test_intervals_of_many_pictures_are_the_bootstrap_s_alone(monkeypatch):
    import kt.heads.classification.measure as room

    scores, labels = guesses(300, 3)
    assert np.bincount(labels).min() >= room.FEW
    as_it_is = evaluate(scores, labels, names(3))
    monkeypatch.setattr(room, "FEW", 0)
    assert evaluate(scores, labels, names(3)) == as_it_is


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others():
    scores, labels = guesses(100, 3)
    first = evaluate(scores, labels, names(3), seed=3)
    assert evaluate(scores, labels, names(3), seed=3) == first
    other = evaluate(scores, labels, names(3), seed=4)
    assert other["intervals"] != first["intervals"]
    assert other["accuracy"] == first["accuracy"]


def test_a_class_without_test_pictures_leaves_its_figures_open():
    scores, labels = guesses(90, 4)
    labels = labels % 3
    result = evaluate(scores, labels, names(4))
    assert result["per_class"][3]["support"] == 0
    assert result["per_class"][3]["recall"] is None
    recalls = [row["recall"] for row in result["per_class"][:3]]
    assert result["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    expected = [metrics.roc_auc_score(labels == i, scores[:, i]) for i in range(3)]
    assert result["roc_auc"] == pytest.approx(np.mean(expected))
    assert len(result["confusion_matrix"]) == 4
    json.dumps(result, allow_nan=False)


def test_a_class_that_is_never_the_answer_has_no_precision():
    result = evaluate([[0.9, 0.1], [0.8, 0.2]], [0, 1], ["a", "b"])
    assert result["per_class"][1] == {"label": "b", "precision": None, "recall": 0.0, "f1": 0.0, "support": 1}


@pytest.mark.parametrize("classes", [2, 3])
def test_one_class_only_has_no_roc_auc(classes):
    scores, _ = guesses(20, classes)
    result = evaluate(scores, np.zeros(20, dtype=int), names(classes))
    assert result["roc_auc"] is None
    assert result["intervals"]["roc_auc"] is None
    assert result["accuracy"] == result["balanced_accuracy"]
    json.dumps(result, allow_nan=False)


def test_perfect_scores_are_perfect_figures():
    labels = np.arange(30) % 3
    result = evaluate(np.eye(3, dtype=np.float32)[labels], labels, names(3))
    assert [result[name] for name in ("accuracy", "balanced_accuracy", "roc_auc")] == [1.0, 1.0, 1.0]
    assert result["log_loss"] == pytest.approx(0, abs=1e-5)
    assert result["calibration_error"] == 0
    assert result["calibration"][-1] == {
        "lower": pytest.approx(14 / 15), "upper": 1.0, "count": 30, "confidence": 1.0, "accuracy": 1.0,
    }  # fmt: skip


def test_surely_wrong_scores_cost_much_but_not_infinity():
    result = evaluate(np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32), [1, 0], ["a", "b"])
    assert 10 < result["log_loss"] < 40
    assert result["calibration_error"] == 1.0
    assert result["roc_auc"] == 0.0


def test_a_single_picture_is_enough():
    result = evaluate([[0.3, 0.7]], [1], ["a", "b"])
    assert result["accuracy"] == 1.0
    low, high = result["intervals"]["accuracy"]
    assert low < 0.2
    assert high == 1.0
    assert result["roc_auc"] is None
    json.dumps(result, allow_nan=False)


def test_a_bin_includes_its_upper_edge():
    result = evaluate([[0.6, 0.4]], [0], ["a", "b"])  # 0.6 = 9 / 15
    assert [i for i, row in enumerate(result["calibration"]) if row["count"]] == [8]


@pytest.mark.parametrize(
    ("scores", "labels", "groups", "error", "message"),
    [
        ([[0.5, 0.5]], [0, 1], None, DataError, r"shape \[1, 2\] with labels of shape \[2\]"),
        ([[1.0]], [0], None, DataError, "a column for each of the 2 classes"),
        (np.zeros((0, 2)), [], None, DataError, "the test split is empty"),
        ([[0.5, 0.5]], [2], None, DataError, "expected 0 to 1"),
        ([[0.5, 0.5]], [-1], None, DataError, "Labels go from -1"),
        ([[0.5, 0.5]], [0], ["a", "b"], DataError, "2 groups for 1 examples"),
        ([[np.nan, 0.5]], [0], None, TrainingError, "NaN or infinity"),
        ([[-2.0, 3.0]], [0], None, TrainingError, "end in a softmax"),
        ([[0.9, 0.9]], [0], None, TrainingError, "a row sums to 1.8"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_line(scores, labels, groups, error, message):
    with pytest.raises(error, match=message):
        evaluate(np.asarray(scores), labels, ["a", "b"], groups=groups)
