"""Few pictures: the warnings, the learning curve and the cross-validated probe, and every way to have too little."""

import itertools
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import TINY_RECIPE, make_folder
from PIL import Image

from kt.data.splits import Split, Splits
from kt.freeze import everything
from kt.kinds.pictures.kind import Pictures
from kt.learnability import scarcity
from kt.learnability.counts import few_pictures
from kt.learnability.features import AT_MOST, Known, drawn
from kt.learnability.probes import cross_validation, learning_curve, outlook
from kt.recipe import Phase


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
    curve, _ = learning_curve(clouds(60), names(), balanced=False, seed=0, nouns=Pictures)
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
    curve, _ = learning_curve(known, names(2), balanced=False, seed=0, nouns=Pictures)
    assert curve[-1]["balanced_accuracy"] < 0.75
    assert cross_validation(known, names(2), balanced=False, seed=0)["balanced_accuracy"] < 0.75
    alone = replace(known, groups=np.arange(200).astype(str))
    assert learning_curve(alone, names(2), balanced=False, seed=0, nouns=Pictures)[0][-1]["balanced_accuracy"] > 0.95


def test_the_same_seed_draws_the_same_curve_and_another_seed_another():
    known = clouds(20)
    first = learning_curve(known, names(), balanced=True, seed=3, nouns=Pictures)
    assert learning_curve(known, names(), balanced=True, seed=3, nouns=Pictures) == first
    assert learning_curve(known, names(), balanced=True, seed=4, nouns=Pictures) != first


def test_a_class_with_a_single_thing_has_no_curve_and_is_named():
    known = clouds(10)
    lonely = replace(known, groups=np.where(known.labels == 1, "one", known.groups))
    curve, sentence = learning_curve(lonely, names(), balanced=False, seed=0, nouns=Pictures)
    assert curve == []
    assert sentence == "There is no learning curve: class 'class 1' has a single independent picture to learn from."


def test_sizes_that_few_pictures_cannot_tell_apart_are_left_out():
    curve, _ = learning_curve(clouds(11), names(), balanced=False, seed=0, nouns=Pictures)
    sizes = [point["images"] for point in curve]
    assert sizes[0] == 6  # two of each class
    assert len(sizes) == 3
    assert all(later > 1.3 * earlier for earlier, later in itertools.pairwise(sizes))


@pytest.mark.parametrize("each", [2, 3, 4])
def test_a_handful_of_pictures_gives_plain_numbers_or_none(each):
    curve, sentence = learning_curve(clouds(each, 2), names(2), balanced=False, seed=0, nouns=Pictures)
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
    curve, sentence = learning_curve(twice, names(2), balanced=False, seed=0, nouns=Pictures)
    assert all(math.isfinite(point["balanced_accuracy"]) for point in curve)
    assert "rises" not in sentence.replace("does not rise", "")


# --------------------------------------------------------------------------------------------------------- outlook


def test_errors_that_fall_as_a_power_are_carried_on_exactly():
    sizes = [8, 16, 32, 64]
    errors = 0.8 * np.array(sizes) ** -0.5
    sentence = outlook(sizes, 1 - np.array([errors, errors]), Pictures)
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
    assert expected in outlook([8, 16, 32, 64], np.array(accuracies), Pictures)


def test_two_sizes_are_no_curve():
    assert "too few pictures" in outlook([2, 4], np.array([[0.5, 0.9]]), Pictures)


def test_of_very_many_pictures_some_are_drawn_and_rare_classes_are_kept():
    many = part((3000, 15), size=(2, 2))
    some = drawn(many, seed=0, many="pictures")
    assert len(some) == AT_MOST
    assert np.bincount(some.labels).tolist() == [AT_MOST - 15, 15]
    place = many.names.index(some.names[400])
    assert (some.examples[400] == many.examples[place]).all()
    assert some.groups[400] == many.groups[place]
    few = part((30, 30))
    assert drawn(few, seed=0, many="pictures") is few


# --------------------------------------------------------------------------------------- bad input, by command line


PROBE_RECIPE = (
    TINY_RECIPE.replace("import Classifier, Phase", "import Classifier, LinearProbe")
    .replace("from kt.freeze import frozen, last_blocks\n", "")
    .replace('        Phase("train_head", trainable=frozen, epochs=4, lr=3e-2),\n', "        LinearProbe(),\n")
    .replace('        Phase("fine_tune", trainable=last_blocks(1), epochs=2, lr=1e-3),\n', "")
)


def dead(recipe):
    """The recipe with a backbone that gives nothing but zeros."""
    return recipe.replace("keras.layers.ReLU(", "keras.layers.Rescaling(0.0, ")


def one_class(folder):
    make_folder(folder, {"red": 8})


def one_picture_of_a_class(folder):
    make_folder(folder, {"red": 12, "green": 1})


def all_pictures_equal(folder):
    for label in ("red", "green"):
        (folder / label).mkdir(parents=True)
        for index in range(6):
            Image.new("RGB", (40, 40), (120, 130, 140)).save(folder / label / f"{index}.png")


def every_picture_in_two_classes(folder):
    make_folder(folder, {"red": 8})
    shutil.copytree(folder / "red", folder / "crimson")


def three_of_each(folder):
    make_folder(folder, {"red": 3, "green": 3})


def one_to_learn_from(folder):
    """Given splits, so that train may have a single picture of a class."""
    make_folder(folder / "all", {"red": 14, "green": 9})
    for split, places in (("train", (0, 1)), ("validation", (1, 5)), ("test", (5, 9))):
        for label, more in (("red", 3 if split == "train" else 0), ("green", 0)):
            (folder / split / label).mkdir(parents=True)
            for index in range(places[0], places[1]):
                shutil.copy(folder / "all" / label / f"{index:03d}.png", folder / split / label)
            for index in range(9, 9 + more):
                shutil.copy(folder / "all" / label / f"{index:03d}.png", folder / split / label)
    shutil.rmtree(folder / "all")


def run_on(pictures, recipe, tmp_path, kt_ends, monkeypatch, *arguments):
    """`kt run` without exports: exit code, standard error, and the report where there is one."""
    pictures(tmp_path / "pictures")
    (tmp_path / "tiny.py").write_text(recipe, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    code, _, err = kt_ends("run", "tiny.py", "--set", "export=", *arguments)
    report = tmp_path / "runs" / "tiny" / "LATEST" / "report.json"
    return code, err, json.loads(report.read_text()) if report.is_file() else None


@pytest.mark.parametrize("recipe", [TINY_RECIPE, PROBE_RECIPE], ids=["phases", "probe"])
@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (one_class, "At least two classes are needed, and there is only one, 'red'"),
        (one_picture_of_a_class, "Class 'green' has 1 independent picture, and 3 are needed"),
        (all_pictures_equal, "(copies, and pictures of one group, count as one): 'green' 1 of 6, 'red' 1 of 6"),
    ],
)
def test_pictures_that_cannot_be_learned_from_end_in_one_line_of_advice(
    pictures, message, recipe, tmp_path, kt_ends, monkeypatch
):
    code, err, report = run_on(pictures, recipe, tmp_path, kt_ends, monkeypatch)
    assert (code, report) == (3, None)
    assert err.splitlines()[-1].startswith("error: ")
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize("recipe", [TINY_RECIPE, PROBE_RECIPE], ids=["phases", "probe"])
@pytest.mark.parametrize("pictures", [every_picture_in_two_classes, three_of_each, one_to_learn_from])
def test_pictures_that_teach_little_end_in_figures_that_say_so(pictures, recipe, tmp_path, kt_ends, monkeypatch):
    code, err, report = run_on(pictures, recipe, tmp_path, kt_ends, monkeypatch)
    assert code == 0, err
    assert "Traceback" not in err
    assert any("to learn from; below about 20" in note for note in report["notes"])
    low, high = report["test"]["intervals"]["balanced_accuracy"]
    assert high - low > 0.2  # eight right answers of eight leave 0.74 to 1
    assert report["cross_validation"] is None or report["cross_validation"]["intervals"]["balanced_accuracy"][0] < 0.85


def nine_of_each(folder):
    make_folder(folder, {"red": 9, "green": 9})


@pytest.mark.parametrize("recipe", [TINY_RECIPE, PROBE_RECIPE], ids=["phases", "probe"])
def test_a_backbone_that_sees_no_difference_is_refused_before_it_is_trained(recipe, tmp_path, kt_ends, monkeypatch):
    code, err, report = run_on(nine_of_each, dead(recipe), tmp_path, kt_ends, monkeypatch)
    assert (code, report) == (3, None)
    assert "error: All examples have the same features, so nothing tells the classes apart." in err
    assert "phase train_head" not in err


def test_without_stored_features_the_answers_tell_that_nothing_was_learned(tmp_path, kt_ends, monkeypatch):
    code, err, report = run_on(nine_of_each, dead(TINY_RECIPE), tmp_path, kt_ends, monkeypatch, "--no-cache")
    assert code == 0
    assert "no learning curve: frozen layers are not computed once" in err
    assert report["learning_curve"] == []
    assert any(note.startswith("every test picture was answered with") for note in report["notes"])


# -------------------------------------------------------------------------------------------------- in the whole run


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The tiny recipe on pictures of its own, and their splits."""
    from kt.recipe import load

    folder = tmp_path_factory.mktemp("tiny")
    make_folder(folder / "pictures", {"red": 20, "green": 20})
    (folder / "tiny.py").write_text(TINY_RECIPE.replace('"pictures"', repr(str(folder / "pictures"))), encoding="utf-8")
    recipe = load(folder / "tiny.py").recipe
    return recipe, recipe.data()


def built_from(recipe, splits):
    from kt.network.model import build
    from kt.training import seed_everything

    seed_everything(recipe.seed)
    return build(recipe, kind=splits.kind, num_classes=len(splits.classes))


def test_the_probes_move_nothing_and_leave_the_training_as_it_was(tiny):
    from kt.training import train

    recipe, splits = tiny
    plain, probed = built_from(recipe, splits), built_from(recipe, splits)
    before = probed.model.get_weights()
    found = scarcity(probed, recipe, splits)()
    assert len(found.learning_curve) >= 2
    assert all((one == other).all() for one, other in zip(before, probed.model.get_weights(), strict=True))
    train(plain, recipe, splits)
    train(probed, recipe, splits)
    for one, other in zip(plain.model.get_weights(), probed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_no_test_picture_changes_what_probes_say(tiny):
    recipe, splits = tiny
    found = scarcity(built_from(recipe, splits), recipe, splits)()
    blank = replace(splits.test, examples=np.zeros_like(splits.test.examples), labels=splits.test.labels[::-1].copy())
    other = scarcity(built_from(recipe, splits), recipe, replace(splits, test=blank))()
    assert replace(other, likeness=None) == replace(found, likeness=None)
    assert found.cross_validation["images"] == len(splits.train) + len(splits.validation)


def test_augmented_pictures_are_probed_as_they_are(tiny):
    from kt import Views

    recipe, splits = tiny
    views = replace(recipe, augment=Views(lambda images: 255 - images, views=2))
    plain = scarcity(built_from(recipe, splits), recipe, splits)()
    assert scarcity(built_from(views, splits), views, splits)() == plain


def test_a_backbone_without_weights_that_trains_as_a_whole_is_not_probed(tiny, capsys):
    recipe, splits = tiny
    scratch = replace(recipe, phases=[Phase("all", trainable=everything, epochs=1, lr=1e-3)])
    found = scarcity(built_from(scratch, splits), scratch, splits)()
    assert (found.learning_curve, found.outlook, found.cross_validation) == ((), "", None)
    assert "no learning curve: there are no pretrained weights, and nothing is frozen" in capsys.readouterr().err
