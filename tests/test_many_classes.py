"""Many classes of few pictures: the figures are those of any other set, and no library warns of them."""

import warnings

import numpy as np
import pytest
from sklearn import metrics

from kt import linear
from kt.heads.classification.measure import balanced_accuracy, evaluate
from kt.kinds.pictures.kind import Pictures
from kt.learnability.features import Known
from kt.learnability.probes import cross_validation, learning_curve
from kt.strategy.advise.depths import DepthFeatures
from kt.strategy.advise.probes import probe_depth

CLASSES = [f"class_{number}" for number in range(60)]


def features(each: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(len(CLASSES)), each)
    random = np.random.default_rng(0)
    centres = random.normal(0, 1, (len(CLASSES), 12))
    return (centres[labels] + random.normal(0, 0.3, (len(labels), 12))).astype(np.float32), labels


def no_warning(recwarn: pytest.WarningsRecorder) -> None:
    assert [str(warning.message) for warning in recwarn if "sklearn" in warning.filename] == []


@pytest.mark.parametrize("each", [1, 2, 3])
def test_evaluating_does_not_warn(each: int, recwarn: pytest.WarningsRecorder) -> None:
    warnings.simplefilter("always")
    _, labels = features(each)
    scores = np.random.default_rng(1).dirichlet(np.ones(len(CLASSES)), len(labels))
    found = evaluate(scores, labels, CLASSES, resamples=20)
    assert found["images"] == len(labels)
    evaluate(scores[:25], labels[:25], CLASSES, resamples=20)
    no_warning(recwarn)


@pytest.mark.parametrize("each", [2, 3])
def test_probes_and_their_curves_do_not_warn(each: int, recwarn: pytest.WarningsRecorder) -> None:
    warnings.simplefilter("always")
    rows, labels = features(each)
    groups = np.arange(len(labels)).astype(str)
    known = Known(rows, labels, groups)
    assert cross_validation(known, CLASSES, balanced=True, seed=0) is not None
    learning_curve(known, CLASSES, balanced=False, seed=0, nouns=Pictures)
    linear.fit(rows[::each], labels[::each], classes=len(CLASSES))
    linear.fit(rows, labels, classes=len(CLASSES), kind="svm")
    probe_depth(DepthFeatures("top", 1.0, rows), labels, groups.tolist(), classes=CLASSES)
    no_warning(recwarn)


def test_the_figures_are_scikit_learn_s() -> None:
    random = np.random.default_rng(2)
    labels, names = random.integers(0, 4, 60), ["a", "b", "c", "d", "never"]
    scores = random.dirichlet(np.ones(5) * 0.5, 60)
    scores[:, 4] = 1e-9  # a class that is neither there nor answered
    scores /= scores.sum(axis=1, keepdims=True)
    found, predicted = evaluate(scores, labels, names, resamples=20), scores.argmax(axis=1)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(5), zero_division=np.nan
    )
    for row, *expected in zip(found["per_class"], precision, recall, f1, support, strict=True):
        got = [np.nan if row[key] is None else row[key] for key in ("precision", "recall", "f1", "support")]
        assert got == pytest.approx(expected, nan_ok=True)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy(labels, predicted, classes=5))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(labels, scores, labels=range(5)))
    assert found["confusion_matrix"] == metrics.confusion_matrix(labels, predicted, labels=range(5)).tolist()
