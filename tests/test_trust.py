"""How far scores can be trusted: the temperature, thresholds, leaving pictures unanswered, and sets of classes."""

import csv
import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats
from scipy.special import softmax

from kt import Classifier
from kt.base.chance import fewest_to_show, least_share, share_and_interval
from kt.data.splits import Split, Splits
from kt.errors import KtError
from kt.heads.classification.calibrate import COOLEST, at_temperature, fitted_temperature
from kt.heads.classification.conformal import fewest_for, in_sets, measured_sets, set_rule
from kt.heads.classification.measure import calibration_of
from kt.heads.classification.selective import POINTS, risk_coverage
from kt.heads.classification.thresholds import measured_threshold, threshold_for
from kt.kinds.pictures.kind import Pictures
from kt.predict.decide import UNSURE, Decision, Wanted, decided
from kt.predict.files import Prediction
from kt.predict.resumable import predict_to
from kt.predict.scorer import Scored
from kt.predict.table import table_for
from kt.report.entry import Entry
from kt.report.reported import ReportedRun
from kt.report.sections import calibration, unsure
from kt.runs.answers import answers_of
from kt.runs.trust import trust
from kt.training import Best, Calibrated, PhaseResult, calibrate

CLASSES = ("bad", "good")


def alone(number):
    return [str(index) for index in range(number)]


def guesses(number, *, classes=3, temperature=1.0, seed=0):
    """Scores that are right as often as they say, made surer by a factor, and the labels."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (number, classes))
    honest = softmax(logits, axis=1)
    labels = (honest.cumsum(axis=1) < random.random((number, 1))).sum(axis=1)
    return softmax(logits * temperature, axis=1), labels


# ----------------------------------------------------------------------------------------------------- temperature


def test_the_temperature_that_made_scores_too_sure_is_found():
    scores, labels = guesses(20_000, temperature=2.0)
    assert fitted_temperature(scores, labels, alone(20_000)) == pytest.approx(2.0, rel=0.05)


def test_honest_scores_keep_a_temperature_near_1():
    scores, labels = guesses(20_000)
    assert fitted_temperature(scores, labels, alone(20_000)) == pytest.approx(1.0, abs=0.03)


def test_scores_are_never_made_surer():
    scores, labels = guesses(20_000, temperature=0.5)
    assert fitted_temperature(scores, labels, alone(20_000)) == COOLEST == 1.0


def test_few_examples_move_the_temperature_less():
    """The same evidence, told once by many things and once by the frames of a few."""
    scores, labels = guesses(400, temperature=2.5)
    many = fitted_temperature(scores, labels, alone(400))
    few = fitted_temperature(scores, labels, [str(index // 100) for index in range(400)])
    assert 1 < few < many


def test_without_examples_the_temperature_is_1():
    assert fitted_temperature(np.zeros((0, 2)), [], []) == 1.0


def test_a_temperature_keeps_the_order_of_the_classes_and_can_be_taken_back():
    scores, _ = guesses(200)
    changed = at_temperature(scores, 1.7)
    np.testing.assert_array_equal(scores.argsort(axis=1), changed.argsort(axis=1))
    np.testing.assert_allclose(at_temperature(changed, 1 / 1.7), scores, atol=1e-12)
    assert (changed.max(axis=1) < scores.max(axis=1)).all()


def test_a_score_of_0_stays_finite():
    assert np.isfinite(at_temperature([[1.0, 0.0]], 2.0)).all()


# -------------------------------------------------------------------------------------------- in the model's weights


def a_part(features, labels):
    names = tuple(alone(len(labels)))
    return Split(features, labels, names, names)


def splits_of(part):
    parts = {"train": part, "validation": part, "test": part}
    return Splits(**parts, classes=("a", "b", "c"), batch_size=8, origin="made up", digest="0", kind=Pictures((8, 8)))


@dataclasses.dataclass(frozen=True)
class _Recipe:
    head: object


def too_sure(*, head=None, classes=3):
    """A model whose head is far too sure of noisy labels, its splits, and the scores of validation."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    features = random.normal(0, 1, (300, 8)).astype(np.float32)
    inputs = keras.Input((8,))
    model = keras.Model(inputs, (head or Classifier(dropout=0.1))(inputs, classes))
    dense = [layer for layer in model.layers if layer.weights][-1]
    dense.set_weights([np.asarray(dense.get_weights()[0]) * 8, np.array([0.5, -0.5, 0.0], np.float32)])
    honest = at_temperature(model.predict(features, verbose=0), 3.0)
    labels = (honest.cumsum(axis=1) < random.random((300, 1))).sum(axis=1)
    splits = splits_of(a_part(features, labels))
    return model, splits, Best(phase="only", scores=model.predict(features, verbose=0))


def test_the_model_gets_the_temperature_and_answers_the_same_classes():
    model, splits, best = too_sure()
    before, features = np.array(best.scores), splits.validation.examples
    told = calibrate(model, _Recipe(Classifier()), splits, best=best, phases=())
    after = model.predict(features, verbose=0)
    assert told.temperature == pytest.approx(3.0, rel=0.25)
    assert (told.examples, told.groups, told.reason) == (300, 300, "")
    np.testing.assert_allclose(after, at_temperature(before, told.temperature), atol=1e-5)
    np.testing.assert_allclose(after, best.scores, atol=1e-5)
    np.testing.assert_array_equal(after.argmax(axis=1), before.argmax(axis=1))


def apart(features, classes):
    """A head whose softmax is a layer of its own."""
    return keras.layers.Softmax()(keras.layers.Dense(classes)(features))


@pytest.mark.parametrize(
    ("head", "phase", "reason"),
    [
        (Classifier(calibrated=False), {}, "calibrated=False"),
        (apart, {}, "does not end in a Dense layer with a softmax"),
        (Classifier(), {"adapted_to": "target"}, "another domain"),
        (Classifier(), {"probe": {"path": [[1.0, 0.1, 0.5]]}}, "calibrates it already"),
    ],
)
def test_where_a_temperature_does_not_belong_nothing_changes_and_the_reason_is_told(head, phase, reason):
    model, splits, best = too_sure(head=head)
    before, scores = [np.array(each) for each in model.get_weights()], best.scores
    result = PhaseResult("only", 1, 1, None, 1, 1, 1, "head", "pixels", 1.0, {}, 1, 0.5, **phase)
    told = calibrate(model, _Recipe(head), splits, best=best, phases=[result])
    assert reason in told.reason and told.temperature == 1
    assert told.as_json()["fitted_on"] is None
    assert best.scores is scores
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_probe_whose_c_was_given_is_calibrated():
    model, splits, best = too_sure()
    result = PhaseResult("only", 1, 1, None, 1, 1, 1, "head", "pixels", 1.0, {}, 1, 0.5, probe={"path": []})
    assert calibrate(model, _Recipe(Classifier()), splits, best=best, phases=[result]).temperature > 1.5


@pytest.mark.parametrize("phase", [{}, {"probe": {"path": [[1.0, 0.1, 0.5]]}}])
def test_where_the_test_looks_otherwise_the_model_is_less_sure_also_if_no_temperature_was_fitted(phase):
    result = PhaseResult("only", 1, 1, None, 1, 1, 1, "head", "pixels", 1.0, {}, 1, 0.5, **phase)
    model, splits, best = too_sure()
    fitted = calibrate(model, _Recipe(Classifier()), splits, best=best, phases=[result]).temperature
    model, splits, best = too_sure()
    before = np.array(best.scores)
    told = calibrate(model, _Recipe(Classifier()), splits, best=best, phases=[result], unlike=True)
    assert (told.raised, told.temperature) == (1.25, pytest.approx(1.25 * fitted))
    after = model.predict(splits.validation.examples, verbose=0)
    np.testing.assert_allclose(after, at_temperature(before, told.temperature), atol=1e-5)
    np.testing.assert_allclose(after, best.scores, atol=1e-5)
    content = {
        "calibration": trust(best.scores, None, splits, told, seed=0)["calibration"],
        "test": {"calibration": []},
    }
    words = calibration._in_words(Entry(content, "report.json")["calibration"], Pictures((8, 8)))
    assert any("multiplied by 1.25, because the test pictures look otherwise" in sentence for sentence in words)


@pytest.mark.parametrize("head", [Classifier(calibrated=False), apart])
def test_a_head_that_is_not_to_be_changed_stays_where_the_test_looks_otherwise(head):
    model, splits, best = too_sure(head=head)
    told = calibrate(model, _Recipe(head), splits, best=best, phases=(), unlike=True)
    assert (told.temperature, told.raised) == (1, 1)


def test_a_training_step_without_scores_of_validation_changes_nothing():
    model, splits, best = too_sure()
    best.scores = None
    assert "kept no scores" in calibrate(model, _Recipe(Classifier()), splits, best=best, phases=()).reason


def test_the_report_says_what_the_temperature_changed_on_test():
    model, splits, best = too_sure()
    before = np.array(best.scores)
    told = calibrate(model, _Recipe(Classifier()), splits, best=best, phases=())
    content = trust(best.scores, best.scores, splits, told, seed=0)
    test = content["calibration"]["test"]
    truth = splits.test.labels
    assert test["before"]["log_loss"] == pytest.approx(-np.log(before[np.arange(300), truth]).mean(), rel=1e-3)
    assert test["gain"]["log_loss"] == pytest.approx(test["before"]["log_loss"] - test["after"]["log_loss"])
    low, high = test["intervals"]["log_loss"]
    assert 0 < low < test["gain"]["log_loss"] < high
    assert sum(row["count"] for row in test["bins_before"]) == 300
    json.dumps(content, allow_nan=False)


def test_without_a_temperature_there_is_nothing_to_compare():
    scores, labels = guesses(60)
    part = a_part(np.zeros((60, 1)), labels)
    splits = splits_of(part)
    content = trust(scores, None, splits, Calibrated(reason="why not"), seed=0)
    assert content["calibration"]["test"] is None
    assert content["sets"] == []


# --------------------------------------------------------------------------------------------------------- intervals


def test_the_interval_of_a_share_is_that_of_clopper_and_pearson():
    share, (low, high) = share_and_interval([True] * 18 + [False] * 2, alone(20))
    exact = stats.binomtest(18, 20).proportion_ci(0.95, method="exact")
    assert (share, low, high) == pytest.approx((0.9, exact.low, exact.high))
    assert share_and_interval([True] * 5, alone(5))[1][1] == 1.0
    assert share_and_interval([], []) is None


def test_frames_of_one_thing_make_the_interval_of_a_share_no_narrower():
    groups = [str(index % 20) for index in range(200)]
    hits = [index % 20 < 18 for index in range(200)]
    assert share_and_interval(hits, groups)[1] == pytest.approx(share_and_interval(hits[:20], groups[:20])[1])


@pytest.mark.parametrize("wanted", [0.8, 0.9, 0.95, 0.99])
def test_the_fewest_that_can_show_a_share_do_and_one_less_does_not(wanted):
    number = fewest_to_show(wanted)
    assert least_share(1.0, number) >= wanted > least_share(1.0, number - 1)


# ---------------------------------------------------------------------------------------------------------- thresholds


def told_by(number, seed):
    """Uniform scores t of a class, right with probability t ** 0.25, so that both figures from t on are known."""
    random = np.random.default_rng(seed)
    own = random.random(number)
    return np.stack([1 - own, own], axis=1), (random.random(number) < own**0.25).astype(np.int64)


def threshold(figure, wanted, scores, labels, groups=None):
    return threshold_for(
        figure, wanted, scores, labels, groups or alone(len(labels)), classes=CLASSES, label="good", many="pictures"
    )


@pytest.mark.parametrize(("figure", "wanted"), [("precision", 0.9), ("recall", 0.9), ("precision", 0.8)])
def test_a_threshold_breaks_its_promise_in_no_more_than_one_case_of_twenty(figure, wanted):
    tries = 400
    broken = given = 0
    for seed in range(tries):
        found = threshold(figure, wanted, *told_by(300, seed))
        if found.score is not None:
            given += 1
            recall = 1 - found.score**1.25
            truth = recall / (1.25 * (1 - found.score)) if figure == "precision" else recall
            broken += truth < wanted
            assert found.bound >= wanted
    assert given > tries / 2, "a promise that is hardly ever given would be kept for nothing"
    assert broken <= stats.binom.ppf(0.9999, tries, 0.05)


def test_a_recall_threshold_is_the_order_statistic_that_theory_names():
    """Of 100 examples, the k-th lowest score has a recall of 0.9 with confidence 1 - binom.cdf(k - 1, 100, 0.1)."""
    own = np.arange(1, 101) / 1000 + 0.5
    found = threshold("recall", 0.9, np.stack([1 - own, own], axis=1), np.ones(100, np.int64))
    highest = max(k for k in range(1, 101) if stats.binom.cdf(k - 1, 100, 0.1) <= 0.05)
    assert own[highest - 2] < found.score <= own[highest - 1]


def test_a_threshold_has_few_decimals_and_separates_the_same_examples():
    own = np.r_[np.full(60, 0.98765432), np.full(60, 0.31)]
    found = threshold("precision", 0.9, np.stack([1 - own, own], axis=1), np.r_[np.ones(60), np.zeros(60)])
    assert found.score == 0.98


def test_too_few_examples_give_no_threshold_and_say_how_many_are_needed():
    scores, labels = told_by(50, 0)
    found = threshold("precision", 0.99, scores, labels)
    assert found.score is None
    assert found.reason == (
        "validation has 50 independent pictures, and 299 are needed to show a precision of 0.99 even without a mistake"
    )
    assert "of 'good', and 59 are needed" in threshold("recall", 0.95, scores, labels).reason


def test_a_class_whose_surest_examples_are_often_wrong_gets_no_threshold():
    scores, labels = told_by(300, 0)
    found = threshold("precision", 0.9, scores, 1 - labels)
    assert found.score is None and "are right too seldom" in found.reason


def test_frames_of_one_thing_are_not_evidence_of_many():
    scores, labels = told_by(300, 0)
    groups = [str(index % 15) for index in range(300)]
    assert threshold("precision", 0.8, scores, labels).score is not None
    assert "15 independent" in threshold("precision", 0.9, scores, labels, groups).reason
    assert threshold("precision", 0.9, scores, labels, groups).score is None


def test_what_a_threshold_gives_is_counted():
    scores = np.array([[0.1, 0.9], [0.2, 0.8], [0.4, 0.6], [0.9, 0.1]])
    figures = measured_threshold(0.7, scores, [1, 0, 1, 0], alone(4), column=1)
    assert (figures["precision"], figures["recall"], figures["reached"], figures["examples"]) == (0.5, 0.5, 2, 4)
    assert measured_threshold(0.95, scores, [1, 0, 1, 0], alone(4), column=1)["precision"] is None


# ---------------------------------------------------------------------------------------------- leaving some unanswered


def test_the_area_is_the_mean_risk_over_all_coverages():
    scores, labels = guesses(80)
    order = np.argsort(-scores.max(axis=1))
    wrong = (scores.argmax(axis=1) != labels)[order]
    by_hand = np.mean([wrong[:count].mean() for count in range(1, 81)])
    told = risk_coverage(scores, labels)
    assert told["aurc"] == pytest.approx(by_hand)
    assert told["interval"][0] < by_hand < told["interval"][1]
    assert told["curve"][-1] == {
        "coverage": 1.0,
        "risk": pytest.approx(wrong.mean()),
        "score": scores.max(axis=1).min(),
    }


def test_scores_that_rank_perfectly_have_no_risk_but_where_all_are_answered():
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    told = risk_coverage(scores, [0, 0, 0, 1])
    assert [point["risk"] for point in told["curve"]] == [0, 0, 0, 0.25]
    assert told["aurc"] == pytest.approx(0.25 / 4)


def test_equal_scores_are_answered_in_no_order():
    scores = np.tile([[0.8, 0.2]], (10, 1))
    for labels in ([0] * 8 + [1] * 2, [1] * 2 + [0] * 8):
        told = risk_coverage(scores, labels)
        assert told["aurc"] == pytest.approx(0.2)
        assert told["curve"] == [{"coverage": 1.0, "risk": pytest.approx(0.2), "score": pytest.approx(0.8)}]


def test_a_curve_of_many_pictures_stays_short_and_ends_at_all():
    scores, labels = guesses(1000)
    curve = risk_coverage(scores, labels, resamples=10)["curve"]
    assert len(curve) == POINTS and curve[-1]["coverage"] == 1
    assert [point["coverage"] for point in curve] == sorted(point["coverage"] for point in curve)


# ---------------------------------------------------------------------------------------------------------------- sets


def test_the_rule_is_the_score_that_theory_names():
    """With nine examples, 0.9 needs the ninth of ten ranks: the lowest score that a true class has."""
    of_truth = np.arange(9, 0, -1) / 10
    scores = np.stack([of_truth, 1 - of_truth], axis=1)
    rule = set_rule(scores, np.zeros(9, int), alone(9), level=0.9)
    assert rule.least == pytest.approx(0.1)
    assert rule.between == pytest.approx(tuple(stats.beta.ppf([0.025, 0.975], 9, 1)))
    assert set_rule(scores, np.zeros(9, int), alone(9), level=0.8).least == pytest.approx(0.2)
    assert set_rule(scores, np.zeros(9, int), alone(9), level=0.91) is None


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95, 0.99])
def test_the_fewest_groups_of_a_level_do_and_one_less_does_not(level):
    scores, labels = guesses(200)
    number = fewest_for(level)
    assert set_rule(scores[:number], labels[:number], alone(number), level=level) is not None
    assert set_rule(scores[: number - 1], labels[: number - 1], alone(number - 1), level=level) is None


def test_sets_hold_the_true_class_as_often_as_promised_and_hardly_more():
    """Scores of the truth are uniform here, so a rule's coverage is known: 1 - least. Its mean is rank / (n + 1)."""
    number, tries, level = 25, 4000, 0.9
    random = np.random.default_rng(0)
    covered = []
    for _ in range(tries):
        of_truth = random.random(number)
        rule = set_rule(np.stack([of_truth, 1 - of_truth], axis=1), np.zeros(number, int), alone(number), level=level)
        covered.append(1 - rule.least)
    rank = 24  # the first above 0.9 * 26
    spread = stats.beta.std(rank, number + 1 - rank) / np.sqrt(tries)
    assert abs(np.mean(covered) - rank / 26) < 4 * spread
    low, high = rule.between
    inside = sum(low <= each <= high for each in covered)
    assert stats.binom.ppf(1e-4, tries, 0.95) <= inside <= stats.binom.ppf(1 - 1e-4, tries, 0.95)


def test_one_picture_of_each_thing_counts():
    scores, labels = guesses(400)
    assert set_rule(scores, labels, [str(index // 40) for index in range(400)], level=0.9).groups == 10
    assert set_rule(scores, labels, [str(index // 50) for index in range(400)], level=0.9) is None


def test_the_top_class_is_always_in_its_set():
    inside = in_sets(np.array([[0.5, 0.3, 0.2], [0.9, 0.06, 0.04]]), 0.6)
    assert inside.tolist() == [[True, False, False], [True, False, False]]
    assert in_sets(np.array([[0.5, 0.3, 0.2]]), 0.3).tolist() == [[True, True, False]]


@pytest.mark.parametrize("level", [0.8, 0.9, 0.95])
def test_sets_are_those_of_crepes(level):
    """crepes 0.9 (BSD), if it is installed: the same nonconformity, one minus the score of the class."""
    crepes = pytest.importorskip("crepes")
    scores, labels = guesses(600, classes=4, temperature=1.5, seed=3)
    held_out, new = slice(0, 150), slice(150, None)
    rule = set_rule(scores[held_out], labels[held_out], alone(150), level=level)
    other = crepes.ConformalClassifier().fit(1 - scores[held_out][np.arange(150), labels[held_out]], seed=0)
    theirs = other.predict_set(1 - scores[new], confidence=level, smoothing=False) == 1
    ours = scores[new] >= rule.least  # kt then adds the top class where a set is empty
    # kt rounds its limit down by at most a millionth, which may let in a class that lies just there.
    assert (ours != theirs).mean() < 0.001 and (theirs & ~ours).sum() == 0
    np.testing.assert_array_equal(rule.sets(scores[new]).any(axis=1), True)


def test_what_sets_give_is_counted():
    scores, labels = guesses(500)
    rule = set_rule(scores[:200], labels[:200], alone(200), level=0.9)
    figures = measured_sets(rule, scores[200:], labels[200:], alone(300))
    inside = rule.sets(scores[200:])
    assert figures["coverage"] == pytest.approx(
        np.mean([row[label] for row, label in zip(inside, labels[200:], strict=True)])
    )
    assert figures["mean_size"] == pytest.approx(inside.sum() / 300)
    low, high = figures["interval"]
    assert low < figures["coverage"] < high


# -------------------------------------------------------------------------------------------------------- a whole run


def test_a_run_keeps_the_answers_of_the_calibrated_model(ran):
    """What the saved model says of validation is what answers/validation holds, temperature included."""
    run = ran.folder / "runs/tiny/LATEST"
    told = ran.results["calibration"]
    assert told["temperature"] >= 1 and told["fitted_on"] == "validation" and told["reason"] == ""
    kept = answers_of(run, "validation")
    assert told["examples"] == len(kept.labels)
    model = keras.models.load_model(run / "model.keras", compile=False)
    dense = model.layers[-1]
    assert dense.activation is keras.activations.softmax
    again = fitted_temperature(at_temperature(kept.scores, 1 / told["temperature"]), kept.labels, kept.groups)
    assert again == pytest.approx(told["temperature"], rel=1e-3)


def test_a_release_has_the_sets_that_its_report_has(ran):
    card = json.loads((ran.folder / "saved_models/tiny/1/kt.json").read_text())
    assert card["sets"] == {
        f"{row['level']:g}": row["least"] for row in ran.results["sets"] if row["least"] is not None
    }
    assert all((row["least"] is None) == bool(row["reason"]) for row in ran.results["sets"])
    assert [row["level"] for row in ran.results["sets"]] == [0.8, 0.9, 0.95, 0.99]


def test_evaluate_gives_a_threshold_and_measures_it_on_test(ran, kt_ends):
    run = ran.folder / "runs/tiny/LATEST"
    code, out, err = kt_ends("evaluate", run, "--recall", "red=0.3", "--precision", "red=0.999", "--json")
    assert code == 0, err
    precision, recall = json.loads(out)["thresholds"]
    assert precision["score"] is None and "are needed" in precision["reason"] and precision["test"] is None
    assert recall["bound"] >= 0.3 and 0 < recall["score"] <= 1
    kept = answers_of(run)
    red = kept.classes.index("red")
    assert recall["test"]["reached"] == int((kept.scores[:, red] >= recall["score"]).sum())
    code, out, _ = kt_ends("evaluate", run, "--recall", "red=0.3", "--precision", "red=0.999")
    assert f"recall red=0.3: --threshold red={recall['score']:g}; on validation at least" in out
    assert "precision red=0.999: no threshold: validation has" in out


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--precision", "pink=0.9"), "has no class 'pink'"),
        (("--precision", "red"), "'red' is not a class and a number between 0 and 1, such as good=0.9"),
        (("--recall", "red=90"), "is not a class and a number between 0 and 1"),
        (("--recall", "red=0.9", "--data", "pictures"), "go with a run without --data"),
    ],
)
def test_evaluate_says_what_a_threshold_needs(ran, kt_ends, arguments, error):
    code, _, err = kt_ends("evaluate", ran.folder / "runs/tiny/LATEST", *arguments)
    assert code in (2, 3) and error in err


# ------------------------------------------------------------------------------------------------------- predictions


SCORES = np.array([[0.97, 0.03], [0.6, 0.4], [0.3, 0.7], [0.05, 0.95]], np.float32)


@pytest.mark.parametrize(
    ("decision", "places"),
    [
        (Decision(), [0, 0, 1, 1]),
        (Decision(below=0.65), [0, UNSURE, 1, 1]),
        (Decision(thresholds=((0, 0.9),)), [0, UNSURE, 1, 1]),
        (Decision(thresholds=((1, 0.35),)), [0, 1, 1, 1]),
        (Decision(thresholds=((0, 0.9),), below=0.8), [0, UNSURE, UNSURE, 1]),
        (Decision(thresholds=((1, 0.03), (0, 0.9))), [1, 1, 1, 1]),
        (Decision(thresholds=((0, 0.9), (1, 0.03))), [0, 1, 1, 1]),
    ],
)
def test_the_label_follows_from_thresholds_in_their_order_and_else_from_the_top_class(decision, places):
    assert decision.places(SCORES).tolist() == places


def test_a_prediction_gets_its_label_its_score_and_its_set():
    given = Prediction(Path("a.png"), "bad", 0.6, {"bad": 0.6, "good": 0.4})
    unsure = decided(given, Decision(below=0.8, least=0.3))
    assert (unsure.label, unsure.score, unsure.one_of) == (None, 0.6, ("bad", "good"))
    assert unsure.as_json()["label"] is None and unsure.as_json()["set"] == ["bad", "good"]
    other = decided(given, Decision(thresholds=((1, 0.35),)))
    assert (other.label, other.score, other.one_of) == ("good", 0.4, None)
    assert "set" not in other.as_json()
    broken = Prediction(Path("b.png"), error="no picture")
    assert decided(broken, Decision(below=0.8)) is broken


def test_a_table_has_empty_labels_where_it_is_unsure_and_a_column_of_sets(tmp_path):
    block = Scored(tuple(Path(f"{n}.png") for n in range(5)), np.r_[SCORES, [[np.nan, np.nan]]], ("",) * 4 + ("bad",))
    decision = Decision(below=0.65, least=0.35)
    sets = [["bad"], ["bad", "set"], ["set"], ["set"]]
    for name in ("scores.csv", "scores.parquet"):
        table = table_for(Path(name), ("bad", "set"), decision)
        with (tmp_path / name).open("wb") as file:
            table.write([block], file)
        assert [label for _, _, label in table.read(tmp_path / name)] == ["bad", "", "set", "set", ""]
        np.testing.assert_allclose(table.scored(tmp_path / name).scores, block.scores, atol=1e-6)
    rows = list(csv.reader((tmp_path / "scores.csv").read_text().splitlines()))
    assert [json.loads(row[5]) for row in rows[:4]] == sets and rows[4][1:] == ["", "", "", "", "", "", "bad"]
    assert rows[1][:3] == ["1.png", "", "0.600000"]
    whole = pq.read_table(tmp_path / "scores.parquet").to_pydict()
    assert whole["set"] == [*sets, None] and whole["label"] == ["bad", None, "set", "set", None]
    assert [*whole] == ["path", "label", "score", "bad", "set_", "set", "unfamiliar", "error"]


def test_predict_leaves_pictures_unlabelled_and_says_how_many(ran, kt_ends, tmp_path):
    model, photos = ran.folder / "saved_models/tiny", ran.folder / "pictures/green"
    code, out, err = kt_ends("predict", model, photos, "--abstain-below", "0.999", "--json")
    answers = [json.loads(line) for line in out.splitlines()]
    unsure = [answer for answer in answers if answer["label"] is None]
    assert code == 0 and unsure and all(answer["score"] < 0.999 for answer in unsure)
    assert f"{len(unsure)} of 30 pictures are unsure, and get no label" in err
    table = tmp_path / "scores.csv"
    code, out, _ = kt_ends("predict", model, photos, "--abstain-below", "0.999", "--out", table)
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert code == 0 and f"all read, {len(unsure)} unsure;" in out
    assert sum(not row["label"] for row in rows) == len(unsure)


def test_predict_writes_the_sets_of_a_level_that_the_release_has(ran, kt_ends):
    model, photos = ran.folder / "saved_models/tiny", ran.folder / "pictures/green"
    levels = {row["level"]: row["least"] for row in ran.results["sets"] if row["least"] is not None}
    level, least = max(levels.items())
    for name in (model, model / "1" / "tiny_float32.tflite"):
        code, out, err = kt_ends("predict", name, photos, "--sets", level, "--json")
        assert code == 0, err
        for answer in map(json.loads, out.splitlines()):
            top = max(answer["scores"], key=answer["scores"].get)
            assert answer["set"] == [
                label for label, score in answer["scores"].items() if score >= least or label == top
            ]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--sets", "0.5"), "There are no sets for 0.5"),
        (("--threshold", "pink=0.5"), "the model has no class 'pink'"),
        (("--threshold", "red=2"), "is not a class and a number between 0 and 1"),
        (("--sets", "0.8", "--label-shift", "--out", "x.csv"), "leave one out"),
    ],
)
def test_predict_says_what_can_not_be_had(ran, kt_ends, arguments, error):
    code, _, err = kt_ends("predict", ran.folder / "saved_models/tiny", ran.folder / "pictures/green", *arguments)
    assert code in (2, 3, 6) and error in err


def test_an_interrupted_table_does_not_go_on_with_other_thresholds(ran, tmp_path, monkeypatch):
    out, model = tmp_path / "scores.csv", ran.folder / "saved_models/tiny"

    def broken(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("kt.predict.resumable._fill", broken)
    with pytest.raises(KeyboardInterrupt):
        predict_to(out, model=model, pictures=[ran.folder / "pictures/green"])
    with pytest.raises(KtError, match="was begun with other thresholds or sets"):
        predict_to(out, model=model, pictures=[ran.folder / "pictures/green"], wanted=Wanted(below=0.9))


# ---------------------------------------------------------------------------------------------------------- the page


def told_of(temperature, *, reason="", gain=0.05, ends=(0.02, 0.08)):
    test = None
    if temperature != 1:
        figures = {"log_loss": 0.5, "brier_score": 0.2}
        test = {
            "before": figures,
            "after": {name: value - gain for name, value in figures.items()},
            "gain": dict.fromkeys(figures, gain),
            "intervals": {name: list(ends) for name in figures},
            "bins_before": calibration_of(SCORES, np.zeros(4, int)),
        }
    bins = calibration_of(at_temperature(SCORES, 1.5), np.zeros(4, int))
    told = {"temperature": temperature, "examples": 40, "groups": 40, "reason": reason, "test": test}
    return ReportedRun(Entry({"test": {"calibration": bins}, "calibration": told}, "report.json"))


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (told_of(1.3), "Log loss on test fell from 0.500 to 0.450 (gain 0.020 to 0.080): it helped."),
        (told_of(1.3, ends=(-0.01, 0.11)), "that may be chance"),
        (told_of(1.3, gain=-0.05, ends=(-0.08, -0.02)), "Log loss on test rose from 0.500 to 0.550"),
        (told_of(1.3, gain=-0.05, ends=(-0.08, -0.02)), "it did harm"),
        (told_of(1.0), "the scores stay as training left them"),
        (told_of(1.0, reason="the head is odd"), "No temperature was fitted: the head is odd."),
    ],
)
def test_the_page_says_whether_the_temperature_helped(told, words):
    assert words in " ".join(calibration.gather(told).in_words)


def test_the_page_shows_calibration_before_and_after():
    page = calibration.html(calibration.gather(told_of(1.3)))
    assert "before the temperature" in page
    assert "before the temperature" not in calibration.html(calibration.gather(told_of(1.0)))


def test_the_page_shows_the_curve_and_the_sets_or_why_there_are_none(ran):
    run = ReportedRun(Entry(ran.results, "report.json"))
    page = unsure.html(unsure.gather(run))
    assert "Errors among the answered pictures: " in page
    for row in ran.results["sets"]:
        assert (row["reason"] or f"{row['least']:.3f}") in page
    assert unsure.gather(ReportedRun(Entry({}, "report.json"))) is None
