"""The release gate's rules, on an artefact whose answers are written down."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from kt.export import gate
from kt.kinds.pictures.kind import Pictures

CLASSES = ("bad", "good")
LABELS = np.array([0] * 60 + [1] * 40)


SIZE = Pictures((2, 2))


@dataclass(frozen=True)
class Recorded:
    """An artefact that gives written answers: the first value of a picture is its row."""

    answers: np.ndarray
    path: Path = Path(__file__)
    classes: tuple[str, ...] = CLASSES
    kind: Pictures = SIZE

    def scores(self, pixels):
        return self.answers[pixels[:, 0, 0, 0]]


def truth(*, wrong: int = 0) -> np.ndarray:
    """Scores that name the right class, but for the first `wrong` images."""
    scores = np.where(LABELS[:, None] == np.arange(2), 0.9, 0.1).astype(np.float32)
    scores[:wrong] = scores[:wrong, ::-1]
    return scores


def check(answers, *, reference=None, exact=False, classes=CLASSES, count=100, **changes):
    pixels = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 2, 2, 3))
    artifact = Recorded(answers, **changes)
    reference = truth() if reference is None else reference
    return gate.judge_artifact(
        artifact, reference[:count], labels=LABELS[:count], pixels=pixels, classes=classes, exact=exact, tolerance=0.01,
        nouns=Pictures,
    )  # fmt: skip


def test_an_artefact_that_answers_the_same_is_released_with_its_figures():
    verdict = check(truth(), exact=True)
    assert verdict.released and verdict.reason == ""
    assert (verdict.agreement, verdict.accuracy, verdict.accuracy_change) == (1.0, 1.0, 0.0)
    assert (verdict.largest_score_difference, verdict.images) == (0.0, 100)
    assert verdict.bytes == Path(__file__).stat().st_size
    assert verdict.latency_ms > 0


def test_an_exact_format_may_differ_by_a_rounding_but_not_by_more():
    assert check(truth() + np.float32(5e-5), exact=True).released
    off = truth()
    off[17, 1] += 2e-4
    verdict = check(off, exact=True)
    assert not verdict.released
    assert "a score differs by 0.0002 from the trained model's (limit 0.0001), on test image 17" in verdict.reason
    assert verdict.accuracy_change == 0.0
    assert check(off, exact=False).released


def test_a_quantised_format_may_lose_the_tolerance_and_what_chance_explains_but_not_more():
    one_lost = check(truth(wrong=1))
    assert one_lost.released and one_lost.accuracy_change == pytest.approx(-0.01)
    two_lost = check(truth(wrong=2))
    assert two_lost.released and two_lost.judged.doubtful
    four_lost = check(truth(wrong=4))
    assert not four_lost.released
    assert four_lost.reason == "it loses 4.00 points of accuracy (tolerance 1)"
    assert four_lost.agreement == pytest.approx(0.96)


def test_further_pictures_judge_a_quantised_format_where_the_test_split_is_small():
    """Ten test pictures of which one changed, and ninety others: the same answers, or a fifth of them changed."""
    pixels = np.broadcast_to(np.arange(100, dtype=np.uint8)[:, None, None, None], (100, 2, 2, 3))
    answers = LABELS.copy()
    further = gate.Further(pixels[10:], answers[10:], LABELS[10:], np.ones(90, bool))

    def judged(scores, further):
        return gate.judge_artifact(
            Recorded(scores), truth()[:10], labels=LABELS[:10], pixels=pixels[:10], classes=CLASSES, exact=False,
            further=further, nouns=Pictures,
        )  # fmt: skip

    one = judged(truth(wrong=1), further)
    assert one.released and one.agreement == 0.9 and one.images == 10
    assert (one.judged.counts.pictures, one.judged.counts.changed, one.judged.counts.unseen) == (100, 1, 10)
    assert one.judged.loss == pytest.approx(0.1) and one.judged.loss_interval[1] < 0.06
    many = truth(wrong=1)
    many[40:60] = many[40:60, ::-1]
    refused = judged(many, further)
    assert not refused.released
    assert refused.reason.startswith("it loses 10.00 points") or "21 of 100 pictures" in refused.reason
    assert refused.changed.sum() == 21


def test_an_artefact_may_be_better_than_the_trained_model():
    verdict = check(truth(), reference=truth(wrong=3))
    assert verdict.released and verdict.accuracy_change == pytest.approx(0.03)
    other = check(truth(), reference=truth(wrong=30))
    assert not other.released and "it answers otherwise than the trained model on 30 of 100 pictures" in other.reason


def test_scores_that_are_not_numbers_are_refused_whatever_the_accuracy():
    scores = truth()
    scores[5, 1] = np.nan
    for exact in (True, False):
        verdict = check(scores, exact=exact)
        assert not verdict.released and "(NaN) for 1 of 100 images" in verdict.reason
        assert verdict.largest_score_difference is None


def test_a_trained_model_that_gives_nan_releases_nothing():
    verdict = check(truth(), reference=np.full((100, 2), np.nan, np.float32))
    assert not verdict.released and "the trained model itself" in verdict.reason


def test_balanced_accuracy_counts_each_class_alike():
    verdict = check(truth(wrong=30))
    assert verdict.accuracy == pytest.approx(0.7)
    assert verdict.balanced_accuracy == pytest.approx((0.5 + 1.0) / 2)


def test_labels_in_another_order_are_refused():
    assert check(truth(), classes=("good", "bad")) == "its labels are bad, good, where the model has good, bad"


def test_an_exporter_of_ones_own_need_not_embed_labels():
    pixels = np.zeros((1, 2, 2, 3), np.uint8)
    artifact = Recorded(truth(), classes=())
    verdict = gate.judge_artifact(
        artifact, truth()[:1], labels=LABELS[:1], pixels=pixels, classes=CLASSES, exact=True, nouns=Pictures
    )
    assert verdict.released


def test_another_number_of_classes_is_refused():
    assert check(np.zeros((100, 3), np.float32)) == "it answers with [100, 3] scores where the model has [100, 2]"


def test_without_test_images_nothing_is_released():
    assert check(truth(), count=0) == "there are no test images to check it on"
