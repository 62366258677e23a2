"""Few pictures: the warnings, the learning curve and the cross-validated probe, and every way to have too little."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from kt.data.splits import Split, Splits
from kt.scarcity import AT_MOST, Known, _drawn, cross_validation, few_pictures, learning_curve, outlook


def clouds(each, classes=3, *, features=20, spread=3.0, seed=0):
    """Pictures as points around the centre of their class, and each on its own."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    points = random.normal(size=(classes, features))[labels] + spread * random.normal(size=(len(labels), features))
    return Known(points.astype(np.float32), labels, np.arange(len(labels)).astype(str))


def names(classes=3):
    return [f"class {number}" for number in range(classes)]


def part(things, *, each=1, size=(8, 8)):
    """A split with so many things of each class, `each` pictures of every one."""
    labels = np.repeat(np.arange(len(things)), np.array(things) * each)
    groups = tuple(f"{label} {place // each}" for label, place in zip(labels, range(len(labels)), strict=True))
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), *size, 3)).astype(np.uint8)
    return Split(pixels, labels, tuple(f"{place}.png" for place in range(len(labels))), groups)


def splits(train, *, validation=(30, 30), test=(30, 30), each=1):
    classes = tuple("abcdefgh"[: len(train)])
    return Splits(
        part(train, each=each), part(validation), part(test), classes, batch_size=8, origin="here", digest="0" * 64
    )


# -------------------------------------------------------------------------------------------------------- warnings


def test_enough_pictures_are_no_reason_to_warn():
    assert few_pictures(splits((20, 20), test=(20, 20))) == ()


def test_the_class_with_the_fewest_is_named_and_the_others_are_counted():
    (warning,) = few_pictures(splits((30, 12, 19, 5), validation=(30,) * 4, test=(30,) * 4))
    assert warning.startswith("class 'd' has 5 pictures (and 2 more classes have fewer than 20) to learn from; ")


def test_many_pictures_of_few_things_are_few():
    (warning,) = few_pictures(splits((4, 30), each=50))
    assert warning.startswith("class 'a' has 4 things (on 200 pictures) to learn from")


@pytest.mark.parametrize(("pictures", "low"), [(1, "0.15"), (5, "0.62"), (19, "0.88")])
def test_few_test_pictures_leave_much_open_even_if_all_are_right(pictures, low):
    """By Jeffreys' interval; the exact one of Clopper and Pearson goes down to 0.025, 0.48 and 0.82."""
    (warning,) = few_pictures(splits((30, 30), test=(30, pictures)))
    plural = "s" if pictures > 1 else ""
    assert warning == (
        f"class 'b' has {pictures} picture{plural} to be tested on; even if all are answered rightly, the true share "
        f"may be {low}"
    )


# ---------------------------------------------------------------------------------------------------------- curve


def test_the_curve_rises_with_the_pictures_and_its_band_holds_it():
    curve, _ = learning_curve(clouds(60), names(), balanced=False, seed=0)
    assert [point["images"] for point in curve] == pytest.approx([18, 36, 72, 144], abs=3)
    assert [point["images_per_class"] for point in curve] == pytest.approx([6, 12, 24, 48], abs=1)
    assert curve[-1]["balanced_accuracy"] > curve[0]["balanced_accuracy"] + 0.05
    for point in curve:
        assert 0 <= point["low"] < point["balanced_accuracy"] < point["high"] <= 1


def test_what_was_learned_from_is_never_judged():
    """Labels by chance: who has seen the picture, or another of its thing, would know them all."""
    random = np.random.default_rng(1)
    things = random.normal(size=(40, 50))
    labels = np.arange(40) % 2
    known = Known(
        np.repeat(things, 5, axis=0).astype(np.float32), np.repeat(labels, 5), np.repeat(np.arange(40), 5).astype(str)
    )
    curve, _ = learning_curve(known, names(2), balanced=False, seed=0)
    assert curve[-1]["balanced_accuracy"] < 0.75
    assert cross_validation(known, names(2), balanced=False, seed=0)["balanced_accuracy"] < 0.75
    alone = replace(known, groups=np.arange(200).astype(str))
    assert learning_curve(alone, names(2), balanced=False, seed=0)[0][-1]["balanced_accuracy"] > 0.95


def test_the_same_seed_draws_the_same_curve_and_another_seed_another():
    known = clouds(20)
    first = learning_curve(known, names(), balanced=True, seed=3)
    assert learning_curve(known, names(), balanced=True, seed=3) == first
    assert learning_curve(known, names(), balanced=True, seed=4) != first


def test_a_class_with_a_single_thing_has_no_curve_and_is_named():
    known = clouds(10)
    lonely = replace(known, groups=np.where(known.labels == 1, "one", known.groups))
    curve, sentence = learning_curve(lonely, names(), balanced=False, seed=0)
    assert curve == []
    assert sentence == "There is no learning curve: class 'class 1' has a single independent picture to learn from."


@pytest.mark.parametrize("each", [2, 3, 4])
def test_a_handful_of_pictures_gives_plain_numbers_or_none(each):
    curve, sentence = learning_curve(clouds(each, 2), names(2), balanced=False, seed=0)
    assert "too few pictures" in sentence
    found = cross_validation(clouds(each, 2), names(2), balanced=False, seed=0)
    json.dumps([curve, found], allow_nan=False)
    low, high = found["intervals"]["balanced_accuracy"]
    assert high - low > 0.3  # whatever was right, so few pictures are no proof


def test_groups_that_hold_two_classes_are_judged_all_the_same():
    """The same picture under two labels: half of them are wrong, whatever is learned."""
    known = clouds(8, 1)
    twice = Known(np.tile(known.features, (2, 1)), np.repeat([0, 1], 8), np.tile(known.groups, 2))
    assert cross_validation(twice, names(2), balanced=False, seed=0)["accuracy"] == pytest.approx(0.5)
    curve, sentence = learning_curve(twice, names(2), balanced=False, seed=0)
    assert all(math.isfinite(point["balanced_accuracy"]) for point in curve)
    assert "rises" not in sentence.replace("does not rise", "")


# --------------------------------------------------------------------------------------------------------- outlook


def test_errors_that_fall_as_a_power_are_carried_on_exactly():
    sizes = [8, 16, 32, 64]
    errors = 0.8 * np.array(sizes) ** -0.5
    sentence = outlook(sizes, 1 - np.array([errors, errors]))
    gain = 100 * errors[-1] * (1 - 2**-0.5)
    assert (
        f"from 64 pictures a class (0.900) to twice as many a linear probe would gain about {gain:.1f} points"
        in sentence
    )
    assert sentence.endswith("That is extrapolated, not measured.")


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ([[0.80, 0.801, 0.80, 0.80]], "does not rise clearly"),
        ([[0.7, 0.75, 0.8, 0.85], [0.8, 0.79, 0.8, 0.78]], "does not rise clearly"),
        ([[0.9, 0.99, 0.999, 1.0]], "nearly always right"),
        ([[0.9, 0.8, 0.7, 0.6]], "does not rise clearly"),
    ],
)
def test_what_does_not_rise_in_every_draw_is_not_promised(accuracies, expected):
    assert expected in outlook([8, 16, 32, 64], np.array(accuracies))


def test_two_sizes_are_no_curve():
    assert "too few pictures" in outlook([2, 4], np.array([[0.5, 0.9]]))


def test_of_very_many_pictures_some_are_drawn_and_rare_classes_are_kept():
    many = part((3000, 15), size=(2, 2))
    drawn = _drawn(many, seed=0)
    assert len(drawn) == AT_MOST
    assert np.bincount(drawn.labels).tolist() == [AT_MOST - 15, 15]
    place = many.names.index(drawn.names[500])
    assert (drawn.pixels[500] == many.pixels[place]).all()
    assert drawn.groups[500] == many.groups[place]
    few = part((30, 30))
    assert _drawn(few, seed=0) is few
