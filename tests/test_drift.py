"""Drift: the promised rate of false alarms holds, real changes are found, and what is new is named."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binom

from kt.drift import (
    DRIFT,
    NONE,
    OF_EXAMPLES,
    OF_SHARES,
    TOO_FEW,
    UNTOLD,
    Observed,
    Reference,
    drawn_from,
    estimate,
    judge,
    numbered,
    why_untold,
)
from kt.drift.permuted import COMPARISONS, compare
from kt.drift.unlike import RATE, unlike
from kt.errors import DataError, RecipeError, ReleaseError

CLASSES, WIDTH = 3, 24


def world(counts, *, seed, shift=0.0, spread=1.0):
    """Features around a centre for each class, scores of a model that knows the centres, and the labels."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 1, (CLASSES, WIDTH))
    labels = np.repeat(np.arange(CLASSES), counts)
    features = centres[labels] + random.normal(0, spread, (len(labels), WIDTH)) + shift
    scores = softmax(-0.25 * ((features[:, None] - centres[None]) ** 2).sum(axis=2), axis=1)
    order = random.permutation(len(labels))
    return Observed.of(features[order], scores[order]), labels[order]


def held_out(counts=(60, 60, 60), *, seed=0):
    return Reference.of(*world(counts, seed=seed))


@cache
def judged(**how):
    """One judgement, which several tests look at."""
    counts = how.pop("counts", (20, 20, 20))
    return judge(held_out(), world(counts, seed=how.pop("seed", 1), **how)[0])


# ------------------------------------------------------------------------------------------------- the promised rate


def test_sets_that_come_alike_are_reported_as_drift_at_the_promised_rate_and_not_more():
    alarms, sets = 0, 300
    for seed in range(sets):
        random = np.random.default_rng(seed)
        features, scores = random.normal(size=(60, 10)), random.dirichlet(np.ones(3), 60)
        p = compare((features[:40], scores[:40]), (features[40:], scores[40:]), permutations=99, seed=seed).p
        alarms += p <= 0.05
    assert binom.cdf(alarms, sets, 0.05) > 0.01, "fewer than promised: the comparisons lose power"
    assert binom.sf(alarms - 1, sets, 0.05) > 0.01, "more than promised"


def test_asking_four_times_is_paid_for_once():
    """Each p is adjusted for all four; unadjusted ones would alarm in well over 5% of sets."""
    random, smallest, sets = np.random.default_rng(0), [], 200
    for seed in range(sets):
        features, scores = random.standard_t(3, (50, 10)), random.dirichlet(np.ones(3), 50)
        found = compare((features[:30], scores[:30]), (features[30:], scores[30:]), permutations=99, seed=seed)
        assert set(found.each) == set(COMPARISONS)
        assert found.p == min(found.each.values())
        smallest.append(found.p)
    for level in (0.05, 0.2, 0.5):
        assert binom.sf(np.sum(np.array(smallest) <= level) - 1, sets, level) > 0.01


def test_frames_of_few_things_alarm_only_if_one_does_not_say_that_they_are_of_one_thing():
    alarms = {True: 0, False: 0}
    for seed in range(12):
        random = np.random.default_rng(seed)
        things = random.normal(0, 1, (60, WIDTH))
        features = np.repeat(things, 5, axis=0) + random.normal(0, 0.1, (300, WIDTH))
        scores = softmax(features[:, :3], axis=1)
        groups = [f"thing {place // 5}" for place in range(300)]
        reference = Reference.of(Observed.of(features[:150], scores[:150]), scores[:150].argmax(axis=1), groups[:150])
        new = Observed.of(features[150:], scores[150:])
        for told in alarms:
            alarms[told] += judge(reference, new, groups[150:] if told else None, seed=seed).verdict == DRIFT
    assert alarms[True] <= 3  # 1 in 20 is expected
    assert alarms[False] > alarms[True]


def test_new_examples_that_come_alike_are_called_new_at_the_stated_rate():
    rates = [
        np.mean(unlike(held_out(seed=seed), world((100, 100, 100), seed=seed + 50)[0]).p <= RATE) for seed in range(20)
    ]
    assert 0.003 < np.mean(rates) < 0.02


# ------------------------------------------------------------------------------------------------------ what is found


def test_examples_that_come_alike_have_no_drift():
    drift = judged()
    assert (drift.verdict, drift.seems) == (NONE, "")
    assert drift.p > drift.alarm
    low, high = drift.compared.auc_interval
    assert low < drift.compared.auc < high


@pytest.mark.parametrize("change", [{"shift": 0.6}, {"spread": 1.6}], ids=["moved", "spread"])
def test_examples_that_look_otherwise_have_drift_of_the_examples(change):
    drift = judged(**change)
    assert (drift.verdict, drift.seems) == (DRIFT, OF_EXAMPLES)


def test_a_classifier_tells_moved_examples_apart_and_its_interval_excludes_chance():
    compared = judged(shift=0.6).compared
    assert compared.auc > 0.8
    assert compared.auc_interval[0] > 0.5


def test_other_shares_of_the_same_classes_are_drift_of_the_shares():
    drift = judged(counts=(50, 5, 5))
    assert (drift.verdict, drift.seems) == (DRIFT, OF_SHARES)
    assert drift.shares.new == pytest.approx([50 / 60, 5 / 60, 5 / 60], abs=0.05)
    assert drift.shares.changed[0]


def test_a_few_examples_from_elsewhere_are_found_and_named_first():
    usual, _ = world((30, 30, 30), seed=3)
    away = -2 * np.random.default_rng(99).normal(0, 1, (CLASSES, WIDTH)).sum(axis=0)  # from every class
    strange = away + np.random.default_rng(4).normal(0, 1, (6, WIDTH))
    new = Observed.joined([usual, Observed.of(strange, np.full((6, 3), 1 / 3))])
    drift = judge(held_out(), new)
    assert drift.verdict == DRIFT
    assert set(drift.unlike.places[:6].tolist()) == set(range(90, 96))
    assert (np.diff(drift.unlike.distances[drift.unlike.places]) <= 0).all()
    named = drift.as_json("abc", [f"{place}.png" for place in range(96)])["new"]
    assert named["examples"][0]["path"] == f"{drift.unlike.places[0]}.png"
    assert named["expected"] == pytest.approx(0.01 * 96)


def test_the_held_out_examples_themselves_have_no_drift():
    reference = held_out()
    drift = judge(reference, reference.seen)
    assert (drift.verdict, drift.unlike.copies) == (NONE, 180)
    assert judged().unlike.copies == 0


# -------------------------------------------------------------------------------------------------- too few, and wrong


def test_with_few_examples_only_a_large_drift_is_reported_and_else_that_they_are_few():
    assert judged(counts=(3, 3, 3)).verdict == TOO_FEW
    assert judged(counts=(3, 3, 3), shift=3.0).verdict == DRIFT
    single = judge(held_out(), world((1, 0, 0), seed=1)[0])
    assert (single.verdict, single.p, single.compared) == (TOO_FEW, None, None)
    none = judge(held_out(), world((0, 0, 0), seed=1)[0])
    assert (none.verdict, none.examples, none.as_json("abc")["new"]["count"]) == (TOO_FEW, 0, 0)
    few = judge(held_out((4, 4, 4)), world((20, 20, 20), seed=1)[0])
    assert (few.verdict, few.unlike) == (TOO_FEW, None)


def test_copies_of_one_example_count_as_one():
    one, _ = world((1, 0, 0), seed=1)
    drift = judge(held_out(), one.at(np.zeros(50, int)))
    assert (drift.examples, drift.independent, drift.verdict) == (50, 1, TOO_FEW)


def test_a_judgement_is_the_same_each_time_and_is_plain_data():
    first, again = (judge(held_out(), world((20, 20, 20), seed=1)[0]).as_json("abc") for _ in range(2))
    assert first == again == json.loads(json.dumps(first))


def test_what_cannot_be_compared_is_refused():
    new, _ = world((20, 20, 20), seed=1)
    with pytest.raises(RecipeError, match=r"rate of false alarms is from 0\.01 to 0\.5, not 0\.001"):
        judge(held_out(), new, alarm=0.001)
    with pytest.raises(DataError, match="have 24 features, and the new ones 5"):
        judge(held_out(), Observed.of(new.features[:, :5], new.scores))
    with pytest.raises(DataError, match="have 3 scores, and the new ones 2"):
        judge(held_out(), Observed.of(new.features, new.scores[:, :2]))
    with pytest.raises(DataError, match="2 groups don't fit 60 examples"):
        judge(held_out(), new, ["a", "b"])
    with pytest.raises(DataError, match="not finite"):
        Observed.of(np.full((2, 3), np.nan), np.ones((2, 3)))
    with pytest.raises(DataError, match="don't fit; expected"):
        Observed.of(np.ones((2, 3)), np.ones((3, 3)))
    with pytest.raises(DataError, match="60 held-out examples don't fit 2 labels"):
        Reference.of(new, [0, 1])
    with pytest.raises(DataError, match="from 0 to 2"):
        Reference.of(new, np.full(60, 3))


# ------------------------------------------------------------------------------------------------------------- shares


def test_estimated_shares_are_near_the_true_ones_and_their_intervals_contain_them():
    reference, contained = held_out((100, 100, 100)), []
    for seed, counts in enumerate([(80, 10, 10), (10, 80, 10), (50, 50, 0), (33, 33, 34)]):
        seen, _ = world(counts, seed=seed + 10)
        shares = estimate(reference, seen.scores, np.arange(len(seen)))
        true = np.array(counts) / 100
        assert shares.new == pytest.approx(true, abs=0.06)
        assert shares.new.sum() == pytest.approx(1)
        contained += list((shares.intervals[:, 0] - 1e-6 <= true) & (true <= shares.intervals[:, 1] + 1e-6))
    assert np.mean(contained) >= 0.9


def test_scores_corrected_for_the_shares_lose_less():
    seen, labels = world((90, 5, 5), seed=5, spread=2.0)
    reference = Reference.of(*world((100, 100, 100), seed=6, spread=2.0))
    corrected = estimate(reference, seen.scores, np.arange(100)).correct(seen.scores)
    assert corrected.sum(axis=1) == pytest.approx(np.ones(100), abs=1e-5)

    def loss(scores):
        return -np.log(scores[np.arange(100), labels] + 1e-9).mean()

    assert loss(corrected) < 0.8 * loss(seen.scores)
    assert (corrected.argmax(axis=1) == labels).mean() > (seen.scores.argmax(axis=1) == labels).mean()


def test_shares_are_not_told_where_examples_are_few_or_the_model_confuses_classes():
    assert why_untold(held_out(), 60) == ""
    assert "9 independent held-out examples of a class, and 10" in why_untold(held_out((9, 60, 60)), 60)
    assert "5 new ones, and 10" in why_untold(held_out(), 5)
    reference = held_out()
    blurred = reference.seen.scores.copy()
    blurred[:, 0] = blurred[:, 1] = (blurred[:, 0] + blurred[:, 1]) / 2
    confused = replace(reference, seen=Observed(reference.seen.features, blurred))
    assert "nearly singular" in why_untold(confused, 60)
    drift = judge(confused, world((20, 20, 20), seed=1, shift=1.0)[0])
    assert (drift.shares, drift.seems) == (None, UNTOLD)
    assert "nearly singular" in drift.as_json("abc")["shares_untold"]


def test_groups_count_once_when_examples_of_a_class_are_counted():
    seen, labels = world((20, 20, 20), seed=1)
    frames = Reference.of(seen, labels, [f"{label}" for label in labels])
    assert "1 independent held-out example" in why_untold(frames, 60)


# ---------------------------------------------------------------------------------------------------------- reference


def test_a_reference_comes_back_as_it_was_written(tmp_path):
    seen, labels = world((20, 20, 20), seed=1)
    groups = [str(place // 2) for place in range(60)]
    reference = Reference.of(seen, labels, groups, model="abc")
    reference.write(tmp_path / "one.npz")
    reference.write(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    again = Reference.read(tmp_path / "one.npz", model="abc")
    np.testing.assert_array_equal(again.seen.features, seen.features)
    np.testing.assert_array_equal(again.seen.scores, seen.scores)
    assert (again.labels.tolist(), again.groups.tolist()) == (labels.tolist(), numbered(groups).tolist())


def test_a_reference_that_is_absent_damaged_or_of_another_model_is_refused(tmp_path):
    file = tmp_path / "reference.npz"
    with pytest.raises(ReleaseError, match=r"carries no held-out examples .* kt export RUN"):
        Reference.read(file, model="abc")
    replace(held_out(), model="abc").write(file)
    with pytest.raises(ReleaseError, match="belongs to another model"):
        Reference.read(file, model="abd")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ReleaseError, match="is damaged; export the run again"):
        Reference.read(file, model="abc")


def test_a_full_reference_takes_two_megabytes_at_most(tmp_path):
    random = np.random.default_rng(0)
    Reference.of(
        Observed.of(random.normal(size=(1000, 1024)), random.dirichlet(np.ones(10), 1000)), np.zeros(1000, int)
    ).write(tmp_path / "reference.npz")
    assert (tmp_path / "reference.npz").stat().st_size < 2.1e6


def test_each_group_is_drawn_once_before_any_is_drawn_twice():
    groups = numbered(["a"] * 10 + ["b"] * 3 + ["c"])
    assert sorted(groups[drawn_from(groups, 3)].tolist()) == [0, 1, 2]
    assert sorted(groups[drawn_from(groups, 5)].tolist()) == [0, 0, 1, 1, 2]
    assert len(drawn_from(groups, 99)) == 14


def test_features_beyond_the_range_of_float16_become_its_largest_numbers():
    assert Observed.of([[1e9, -1e9]], [[1.0]]).features.tolist() == [[65504.0, -65504.0]]
