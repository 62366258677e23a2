"""kt.checkup.things and kt.checkup.apart: pictures of one thing under names that don't tell, and honest figures."""

from dataclasses import replace

import numpy as np
import pytest

from kt.checkup.apart import LARGE, group_findings, held_apart, told_apart, unaccepted
from kt.checkup.order import neighbours_in_order, numbered
from kt.checkup.things import ENOUGH, Things, find_things, share_with_partner
from kt.findings import ACTIONS, Finding
from kt.kinds.pictures.kind import Pictures

NOUNS = Pictures((8, 8))
WIDTH = 60


def photographed(*, things, shots, seed=0, noise=0.25, classes=3, signal=0.35):
    """Features, labels and things: each thing has its own look, a weak sign of its class, and noise a shot."""
    random = np.random.default_rng(seed)
    labels = np.arange(things) % classes
    looks = random.normal(0, 1, (things, WIDTH)) + signal * random.normal(0, 1, (classes, WIDTH))[labels]
    thing = np.repeat(np.arange(things), shots)
    rows = looks[thing] + noise * random.normal(0, 1, (len(thing), WIDTH))
    order = random.permutation(len(thing))
    return rows[order].astype(np.float32), labels[thing][order], thing[order]


def same(numbers):
    return np.asarray(numbers)[:, None] == np.asarray(numbers)[None]


def test_shots_of_one_thing_are_found_and_no_others_are_joined():
    rows, labels, thing = photographed(things=60, shots=4)
    found = find_things(rows, labels)
    assert found.found and found.by == ("features",) and found.share == 1
    assert (same(found.numbers) == same(thing)).all()
    assert sorted(len(group) for group in found.groups()) == [4] * 60
    assert all(len(set(thing[group])) == 1 for group in found.groups())


def test_harder_shots_are_found_by_what_differs_between_the_easy_ones():
    random = np.random.default_rng(3)
    rows, labels, thing = photographed(things=80, shots=5, noise=0.1)
    light = random.normal(0, 1.0, (len(rows), 1)) * random.normal(
        0, 1, (1, WIDTH)
    )  # one direction, far more than noise
    found = find_things(rows + light.astype(np.float32), labels)
    pairs, true = same(found.numbers), same(thing)
    np.fill_diagonal(pairs, False)
    assert (pairs & true).sum() / (true.sum() - len(rows)) > 0.9
    assert (pairs & true).sum() / pairs.sum() > 0.95


@pytest.mark.parametrize("seed", range(8))
def test_a_set_of_independent_photographs_gets_no_groups(seed):
    rows, labels, _ = photographed(things=240, shots=1, seed=seed, signal=0.6)
    found = find_things(rows, labels, names=[f"photos/img_{place:04}.jpg" for place in range(240)])
    assert not found.found and found.groups() == [] and len(set(found.numbers)) == 240
    assert share_with_partner(rows, labels) < ENOUGH


@pytest.mark.parametrize("signal", [2.0, 4.0, 20.0])
def test_classes_far_from_each_other_are_no_groups(signal):
    rows, labels, _ = photographed(things=240, shots=1, signal=signal)
    assert not find_things(rows, labels).found and share_with_partner(rows, labels) < ENOUGH / 2


def test_a_part_of_the_things_photographed_several_times_is_enough():
    several, labels, thing = photographed(things=30, shots=3, seed=1)
    once, more, alone = photographed(things=150, shots=1, seed=2)
    found = find_things(np.concatenate([several, once]), np.concatenate([labels, more]))
    truth = np.concatenate([thing, 1000 + alone])
    assert (same(found.numbers) >= same(truth)).all(), "all shots of one thing are found"
    assert len(set(found.numbers)) > 0.95 * 180, "and few other things are joined"
    assert found.share == pytest.approx(90 / 240, abs=0.05)


def test_pictures_that_are_as_near_to_other_classes_are_no_evidence():
    rows, labels, _ = photographed(things=240, shots=1, signal=0.0)
    dark = np.arange(240) % 8 == 0
    rows[dark] = 0.2 * rows[dark] + 3.0  # as pictures at night: nearly the same, whatever they show
    labels = np.random.default_rng(2).permutation(labels)
    assert share_with_partner(rows, labels) == 0 and not find_things(rows, labels).found
    once = labels.copy()
    once[dark] = 0
    assert share_with_partner(rows, once) >= ENOUGH, "in one class alone they are"


def test_few_wrong_labels_do_not_hide_the_other_shots():
    rows, labels, thing = photographed(things=60, shots=6)
    wrong = np.random.default_rng(4).permutation(len(labels))[:18]
    labels[wrong] = (labels[wrong] + 1) % 3
    found = find_things(rows, labels)
    right = np.setdiff1d(np.arange(len(labels)), wrong)
    assert (same(found.numbers[right]) == same(thing[right])).mean() > 0.999


def test_groups_that_are_known_are_no_news():
    rows, labels, thing = photographed(things=40, shots=4)
    told = [f"thing {number}" for number in thing]
    assert not find_things(rows, labels, groups=told).found
    assert share_with_partner(rows, labels, told) == 0
    assert share_with_partner(rows, labels) == 1
    half = [f"{number} {place % 2}" for place, number in enumerate(thing)]  # each thing told as two
    found = find_things(rows, labels, groups=half)
    assert found.found and (same(found.numbers) == same(thing)).all()


def test_running_numbers_count_only_if_neighbours_are_nearer_in_features():
    # Shots so different that features alone say nothing: of one thing they are only a little nearer than others.
    rows, labels, thing = photographed(things=60, shots=5, noise=1.0, signal=0.0)
    assert not find_things(rows, labels).found
    order = np.argsort(labels * 1000 + thing, kind="stable")
    number = np.empty(len(order), int)
    number[order] = np.arange(len(order))
    told = find_things(rows, labels, names=[f"a/IMG_{each:04}.jpg" for each in number])
    assert told.by == ("numbers",)
    pairs, true = same(told.numbers), same(thing)
    np.fill_diagonal(pairs, False)
    assert (pairs & true).sum() / (true.sum() - len(rows)) > 0.9
    assert len(set(told.numbers)) > 0.6 * 60, "a wrong neighbour joins two things, and few are wrong"
    mixed = np.random.default_rng(0).permutation(len(order))
    assert not find_things(rows, labels, names=[f"a/IMG_{each:04}.jpg" for each in mixed]).found


def test_times_count_in_the_same_way_and_unknown_ones_do_not():
    rows, labels, thing = photographed(things=60, shots=5, noise=1.0, signal=0.0)
    random = np.random.default_rng(5)
    times = 600.0 * thing + random.uniform(0, 20, len(thing))
    assert find_things(rows, labels, times=times).by == ("times",)
    assert not find_things(rows, labels, times=np.full(len(thing), np.nan)).found


def test_names_give_a_series_and_a_number():
    assert numbered("a/IMG_0042.jpg") == ("IMG_#", 42)
    assert numbered("IMG_20240501_120733.jpg") == ("IMG_20240501_#", 120733)
    assert numbered("x/0b1d98b4-0c3b-4a7e-9f5e-2c7d6d1f9a10___RS_HL_7536.JPG") == ("___RS_HL_#", 7536)
    assert numbered("shot12b.png") == ("shot#b", 12)
    assert numbered("0b1d98b4-0c3b-4a7e-9f5e-2c7d6d1f9a10.jpg") is None
    assert numbered("leaf.png") is None


def test_neighbours_are_of_one_folder_class_and_series_and_no_large_step_apart():
    names = ["a/x_1.png", "a/x_2.png", "a/x_3.png", "a/x_90.png", "b/x_4.png", "a/y_4.png", "a/x_4.png"]
    (order,) = neighbours_in_order(names, None, np.array([0, 0, 0, 0, 0, 0, 1]))
    assert order.pairs.tolist() == [[0, 1], [1, 2]]
    assert [part.tolist() for part in order.members] == [[0, 1, 2, 3]]
    assert [*neighbours_in_order(["leaf.png"] * 3, None, np.zeros(3, int))] == []


def test_one_class_or_few_pictures_are_answered_with_nothing():
    rows, _, _ = photographed(things=20, shots=3)
    assert not find_things(rows, np.zeros(60, int)).found
    assert share_with_partner(rows, np.zeros(60, int)) == 0
    assert not find_things(rows[:2], np.array([0, 1])).found
    assert not find_things(rows, np.arange(60)).found, "each picture is a class of its own"


def test_constant_features_are_answered_with_an_answer():
    labels = np.arange(40) % 2
    assert np.isfinite(find_things(np.zeros((40, 5), np.float32), labels).share)


def test_the_same_set_gives_the_same_groups_in_any_order():
    rows, labels, _ = photographed(things=40, shots=4, seed=6)
    places = np.random.default_rng(1).permutation(len(labels))
    one, other = find_things(rows, labels), find_things(rows[places], labels[places])
    assert (same(one.numbers[places]) == same(other.numbers)).all()


def test_cross_validation_falls_to_what_holds_for_things_never_seen():
    rows, labels, thing = photographed(things=300, shots=4, seed=7, signal=0.25)
    seen = thing < 150
    found = find_things(rows[seen], labels[seen])
    apart = held_apart(rows[seen], labels[seen], found, classes=3)
    true = held_apart(rows[seen], labels[seen], Things(thing[seen], 1.0, ("features",)), classes=3)
    assert apart.split.value > 0.95, "each thing is known from its other shots"
    assert apart.whole.value == pytest.approx(true.whole.value, abs=0.05)
    from kt import linear

    unseen = linear.fit(rows[seen], labels[seen], classes=3, groups=[*map(str, thing[seen])]).scores(rows[~seen])
    truth = (unseen.argmax(axis=1) == labels[~seen]).mean()
    assert apart.whole.value == pytest.approx(truth, abs=0.08)
    assert apart.large and apart.fall.value > LARGE and apart.fall.interval[0] > 0
    assert apart.whole.interval[0] < apart.whole.value < apart.whole.interval[1]
    assert (apart.pictures, apart.things, apart.groups) == (600, 150, 150)
    assert apart.fall.value == pytest.approx(apart.split.value - apart.whole.value)
    assert apart.in_words(NOUNS).startswith(
        f"cross-validation gives a balanced accuracy of {apart.split.value:.2f}, but {apart.whole.value:.2f} ("
    )
    assert "600 pictures seem to show 150 things" in apart.in_words(NOUNS)


def test_of_many_pictures_whole_things_of_each_class_are_measured(monkeypatch):
    monkeypatch.setattr("kt.checkup.apart.MOST", 300)
    rows, labels, thing = photographed(things=150, shots=6, seed=7, signal=0.25)
    apart = held_apart(rows, labels, Things(thing, 1.0, ("features",)), classes=3)
    assert 300 <= apart.measured <= 318 and apart.measured % 6 == 0
    assert (apart.pictures, apart.things, apart.fewest) == (900, 150, 50)
    assert apart.split.value > 0.95 and apart.large


def test_groups_that_change_nothing_are_said_to_change_nothing():
    rows, labels, _ = photographed(things=60, shots=3, signal=4.0)
    found = find_things(rows, labels)
    apart = held_apart(rows, labels, found, classes=3)
    assert found.found and not apart.matters
    assert "hardly a difference" in apart.in_words(NOUNS)
    assert {each.severity for each in group_findings(found, [*map(str, range(180))], apart, nouns=NOUNS)} == {"note"}


def test_a_class_of_one_thing_gives_no_figure_but_a_finding():
    rows, labels, thing = photographed(things=40, shots=4, classes=2)
    found = Things(np.where(labels == 1, 0, 1 + thing), 1.0, ("features",))
    assert held_apart(rows, labels, found, classes=2) is None
    first = group_findings(found, [*map(str, range(160))], None, nouns=NOUNS)[0]
    assert first.severity == "error" and "in a class all show one thing" in first.words


def test_findings_name_each_group_once_with_a_decision_for_each_picture():
    rows, labels, _ = photographed(things=150, shots=4, seed=7, signal=0.25)
    names = [f"class_{label}/{place}.jpg" for place, label in enumerate(labels)]
    found = find_things(rows, labels)
    summary, *groups = group_findings(found, names, held_apart(rows, labels, found, classes=3), nouns=NOUNS)
    assert all(
        text[0].isupper() and text.endswith(".") for each in (summary, *groups) for text in (each.words, each.advice)
    )
    assert summary.kind == "group" and summary.severity == "error" and not summary.fixes
    assert summary.figures["fall"] == pytest.approx(summary.figures["split"] - summary.figures["whole"])
    assert summary.figures["things"] == 150 and summary.figures["share"] == 1
    assert len(groups) == 150 and {len(each.items) for each in groups} == {4}
    values = [{fix.value for fix in each.fixes} for each in groups]
    assert all(len(value) == 1 for value in values) and len(set.union(*values)) == 150
    assert {fix.action for each in groups for fix in each.fixes} <= set(ACTIONS)
    assert [fix.path for fix in groups[0].fixes] == [*groups[0].items]
    assert all(Finding.from_json(each.to_json()) == each for each in [summary, *groups])
    assert group_findings(Things(np.arange(5), 0.0, ()), names[:5], None, nouns=NOUNS) == []


def test_a_run_warns_with_the_figure_that_is_left_and_only_if_enough_pictures_have_a_partner():
    rows, labels, thing = photographed(things=150, shots=4, seed=7, signal=0.25)
    names = [f"{place}.png" for place in range(len(labels))]
    found = told_apart(rows, labels, names, names, classes=3, nouns=NOUNS)
    assert found is not None and found.kind == "group" and found.severity == "error" and not found.fixes
    assert found.figures["split"] > 0.9 and found.figures["fall"] > LARGE
    warning = unaccepted(found)
    assert warning.startswith("at least 100% of the pictures to learn from seem to show the same thing as another one")
    assert f"but {found.figures['whole']:.2f} (" in warning and warning.endswith("kt check proposes groups")
    assert told_apart(rows, labels, [*map(str, thing)], names, classes=3, nouns=NOUNS) is None, "the groups are told"
    first = np.unique(thing, return_index=True)[1]
    alone = [names[place] for place in first]
    assert told_apart(rows[first], labels[first], alone, alone, classes=3, nouns=NOUNS) is None
    assert unaccepted(None) == unaccepted(replace(found, severity="note")) == ""


def test_the_cautious_figure_holds_out_all_that_is_alike():
    rows, labels, thing = photographed(things=150, shots=4, seed=7, signal=0.25)
    several = Things(np.arange(600), 1.0, ("features",), alike=thing)
    apart = held_apart(rows, labels, several, classes=3)
    true = held_apart(rows, labels, Things(thing, 1.0, ("features",)), classes=3)
    assert apart.whole.value > 0.9, "shots that were not found are known by heart"
    assert apart.cautious == pytest.approx(true.whole.value, abs=0.03) and true.cautious is None
    half = Things(thing * 2 + np.arange(600) % 2, 1.0, ("features",), alike=np.where(labels == 0, 0, thing + 1))
    assert held_apart(rows, labels, half, classes=3).cautious is None, "in a class all is alike"
    said = replace(true, cautious=0.41).in_words(NOUNS)
    assert "on things that the model has not seen, or even 0.41 if all that is alike shows one thing: 600" in said
    finding = group_findings(several, [*map(str, range(600))], replace(true, cautious=0.41), nouns=NOUNS)[0]
    assert finding.figures["cautious"] == 0.41


def test_groups_are_judged_by_the_groups_around_them():
    # Kinds within the classes: things of a kind are much more like each other than things of other classes are.
    random = np.random.default_rng(11)
    kinds = random.normal(0, 0.5, (12, WIDTH))
    kind = np.repeat(np.arange(12), 12)
    looks = kinds[kind] + random.normal(0, 0.7, (144, WIDTH))
    thing = np.repeat(np.arange(144), 5)
    rows = (looks[thing] + random.normal(0, 0.35, (720, WIDTH))).astype(np.float32)
    found = find_things(rows, kind[thing] % 3)
    pairs, true = same(found.numbers), same(thing)
    assert (pairs & true).sum() / true.sum() > 0.95 and (pairs & true).sum() / pairs.sum() > 0.9
    assert len(set(found.alike)) < len(set(found.numbers))


def test_the_probes_choice_of_strength_and_its_figures_heed_accepted_groups():
    from kt import linear
    from kt.learnability.features import Known
    from kt.learnability.probes import cross_validation

    rows, labels, thing = photographed(things=60, shots=6, seed=8, signal=0.3)
    groups = [f"thing {number}" for number in thing]
    alone = [str(place) for place in range(len(labels))]
    free = linear.fit(rows, labels, classes=3, groups=alone)
    told = linear.fit(rows, labels, classes=3, groups=groups)
    assert told.C < free.C, "known by heart, a weak penalty looks best"
    figures = [
        cross_validation(Known(rows, labels, np.array(own)), ["a", "b", "c"], balanced=True, seed=0)
        for own in (alone, groups)
    ]
    assert figures[0]["balanced_accuracy"] > 0.95 and figures[1]["balanced_accuracy"] < 0.85
    assert figures[1]["groups"] == 60


def test_accepted_groups_reach_the_splits_and_the_advice(tmp_path):
    from PIL import Image

    from kt.data import Folder
    from kt.strategy.advise.pictures import to_learn

    random = np.random.default_rng(9)
    lines = ["path,action,value"]
    for label in ("bad", "good"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(24):
            picture = random.integers(0, 255, (16, 16, 3), np.uint8)
            Image.fromarray(picture).save(tmp_path / "photos" / label / f"{number:02}.png")
            lines.append(f"{label}/{number:02}.png,group,{label} thing {number // 4}")
    (tmp_path / "fixes.csv").write_text("\n".join(lines) + "\n")
    photos = Folder(tmp_path / "photos", image_size=(16, 16), fixes=tmp_path / "fixes.csv")()
    sides = [set(part.groups) for part in photos.parts().values()]
    assert sum(map(len, sides)) == 12 and len(set.union(*sides)) == 12, "no thing lies in two splits"
    labels, groups = to_learn(photos)
    assert len(labels) == 4 * len(set(groups))
    assert not find_things(random.normal(size=(len(labels), 20)), labels, groups=groups).found


def test_many_pictures_are_compared_in_fewer_coordinates_with_the_same_result(monkeypatch):
    rows, labels, thing = photographed(things=60, shots=4)
    monkeypatch.setattr("kt.checkup.things.MANY", 100)
    monkeypatch.setattr("kt.checkup.things.PROJECTED", 55)
    monkeypatch.setattr("kt.checkup.things._BLOCK", 1000)
    numbers = find_things(rows, labels).numbers
    assert (same(numbers) >= same(thing)).all() and len(set(numbers)) > 0.9 * 60


def test_advice_warns_of_the_same_unless_groups_say_so():
    from kt.data.splits import Split, Splits
    from kt.strategy.advise import _several_times
    from kt.strategy.advise.depths import DepthFeatures

    rows, labels, thing = photographed(things=40, shots=3)

    def splits(groups):
        def part(places):
            names = tuple(f"{place}.png" for place in places)
            return Split(
                np.zeros((len(places), 8, 8, 3), np.uint8),
                labels[places],
                names,
                tuple(groups[place] for place in places),
            )

        parts = {"train": part(np.arange(100)), "validation": part(np.arange(100, 120)), "test": part(np.arange(2))}
        return Splits(**parts, classes=("a", "b", "c"), batch_size=8, origin="here", digest="")

    depths = [DepthFeatures("top", 1.0, rows)]
    assert "kt check" in _several_times(depths, splits([str(place) for place in range(120)]), seed=0)
    assert _several_times(depths, splits([f"thing {number}" for number in thing]), seed=0) == ""
