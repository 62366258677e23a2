"""Whether an export that changes a few answers is released: on planted counts of pictures."""

import numpy as np
import pytest

from kt.export.evidence import Counts, count_changes, differ, judge
from kt.kinds.pictures.kind import Pictures


def judged(*, pictures, changed, unseen, lost=0, gained=0, tolerance=0.01):
    return judge(Counts(pictures, changed, unseen, lost, gained), tolerance=tolerance, nouns=Pictures)


def test_one_changed_answer_of_24_test_pictures_is_no_loss_where_hundreds_of_others_stay_the_same():
    found = judged(pictures=400, changed=2, unseen=24, lost=1)
    assert found.reason == "" and not found.doubtful
    assert found.loss == pytest.approx(1 / 24)
    assert found.loss_interval[1] < 0.02, "only a changed answer can lose"


def test_one_changed_answer_of_24_pictures_in_all_is_released_as_too_few_to_know():
    found = judged(pictures=24, changed=1, unseen=24, lost=1)
    assert found.reason == "" and not found.known
    assert found.told.startswith("24 pictures are too few to know that it loses no more than 1 point: up to ")


@pytest.mark.parametrize(("lost", "gained"), [(3, 0), (0, 3), (1, 2), (0, 0)])
def test_an_export_with_another_answer_on_an_eighth_of_the_pictures_is_refused_whatever_the_accuracy(lost, gained):
    assert judged(pictures=24, changed=3, unseen=24, lost=lost, gained=gained).reason
    assert judged(pictures=400, changed=50, unseen=24, lost=lost, gained=gained).reason


def test_changed_answers_past_the_limit_are_told_with_their_number():
    found = judged(pictures=400, changed=50, unseen=200, lost=5, gained=5)
    assert found.reason == (
        "it answers otherwise than the trained model on 50 of 400 pictures (12.5%; at most 4% may change)"
    )


def test_changed_answers_that_lose_nothing_are_released():
    found = judged(pictures=395, changed=8, unseen=215, lost=3, gained=4)
    assert found.reason == "" and found.loss < 0


def test_a_loss_beyond_chance_is_refused_and_one_within_chance_is_not():
    assert judged(pictures=100, changed=2, unseen=100, lost=2).reason == ""
    assert (
        judged(pictures=100, changed=4, unseen=100, lost=4).reason == "it loses 4.00 points of accuracy (tolerance 1)"
    )
    assert judged(pictures=2000, changed=60, unseen=2000, lost=50, gained=10).reason.startswith("it loses 2.00 points")
    assert judged(pictures=2000, changed=60, unseen=2000, lost=35, gained=15).reason == ""


def test_what_seems_to_lose_more_than_the_tolerance_is_doubtful_though_it_may_be_chance():
    assert judged(pictures=100, changed=2, unseen=100, lost=2).doubtful
    assert not judged(pictures=100, changed=1, unseen=100, lost=1).doubtful


def test_a_tolerance_of_the_recipe_moves_both_limits():
    assert judged(pictures=100, changed=15, unseen=100, lost=10, gained=5, tolerance=0.05).reason == ""
    assert judged(pictures=100, changed=40, unseen=100, lost=20, gained=20, tolerance=0.05).reason
    assert judged(pictures=100, changed=1, unseen=100, lost=1, tolerance=0.0).reason
    assert judged(pictures=100, changed=100, unseen=100, lost=100, tolerance=1.0).reason == ""


def test_a_thousand_same_answers_are_enough_to_know():
    found = judged(pictures=1000, changed=1, unseen=500)
    assert found.known and found.told == "" and found.more_needed is None


def test_how_many_more_pictures_are_needed_is_enough_when_they_have_come():
    found = judged(pictures=400, changed=2, unseen=100)
    assert not found.known and found.more_needed is not None
    pictures = 400 + found.more_needed
    assert judged(pictures=pictures, changed=pictures // 200, unseen=100 + found.more_needed).known
    assert f"about {found.more_needed:,} more would tell" in found.told


def test_no_number_of_pictures_is_promised_where_it_seems_to_lose_too_much():
    assert judged(pictures=100, changed=2, unseen=100, lost=2).more_needed is None


def test_counting_takes_accuracy_from_unseen_pictures_only():
    labels = np.array([0, 0, 1, 1, 0, 1])
    reference = np.array([0, 0, 1, 0, 0, 1])
    answers = np.array([1, 0, 1, 1, 1, 1])
    learned = np.array([False, False, False, False, True, True])
    assert count_changes(answers, reference, labels=labels, learned=learned) == Counts(6, 3, 4, 1, 1)


def test_two_ways_are_told_apart_by_pictures_on_which_only_one_of_them_changes_the_answer():
    none = np.zeros(100, bool)
    few, many = none.copy(), none.copy()
    few[:3], many[:40] = True, True
    assert not differ(few, none) and not differ(few, few)
    assert differ(many, few) and differ(few, many)
