"""Where a model fails: slices, the nearest training pictures, the map, the blocks that moved."""

import json
import os

import numpy as np
import pytest
from conftest import REPOSITORY, facts_from, on_each_backend
from test_report import failed_of, made_up, page_of, visible

from kt.data.items import Item
from kt.data.reading import read_pictures
from kt.data.splits import Split
from kt.failures.errors import commonest, wrongest_places
from kt.failures.folders import NONE, folders
from kt.failures.mapped import feature_map, sampled
from kt.failures.nearest import nearest
from kt.failures.results import Failures, Insight
from kt.failures.slices import FEWEST, slices
from kt.kinds.kind import Property, properties_of
from kt.kinds.pictures.kind import Pictures
from kt.kinds.rows.kind import Column, Rows
from kt.linear.space import widest

BELOW, ABOVE = "below {}", "from {} on"


def numbers(name, values):
    return Property(name, np.asarray(values, float), below=BELOW, above=ABOVE, places=2)


def smallest(found):
    told = [prop.p for prop in found.properties] + [each.p for prop in found.properties for each in prop.slices]
    return min(p for p in told if p is not None)


def drawn(random, *, groups, planted=0.0, classes=3):
    """Answers and five properties of a set in which classes differ in both, and groups in both too."""
    number = int(groups.max()) + 1
    labels = random.integers(0, classes, number)[groups]
    level = np.log(np.array([19.0, 4.0, 1.5]))[labels]
    shared = random.normal(0, 1.5, number)[groups] if number < len(groups) else 0.0
    values = [
        random.normal(0, 1, number)[groups] + 0.7 * random.normal(0, 1, len(groups)) + 0.8 * labels for _ in range(5)
    ]
    right = random.random(len(groups)) < 1 / (1 + np.exp(-(level + shared + planted * values[0])))
    return right, labels, [numbers(f"p{place}", each) for place, each in enumerate(values)]


# --------------------------------------------------------------------------------------------------------- slices


@pytest.mark.slow
@pytest.mark.parametrize(
    "groups", [np.arange(300), np.repeat(np.arange(40), 10), np.repeat(np.arange(15), 30)], ids=["alone", "40", "15"]
)
def test_where_no_slice_differs_one_is_found_no_more_often_than_is_promised(groups, monkeypatch):
    monkeypatch.setattr("kt.failures.slices.DRAWS", 499)
    monkeypatch.setattr("kt.failures.slices.RESAMPLES", 10)
    random, tries = np.random.default_rng(7), 200
    alarms = 0
    for seed in range(tries):
        right, labels, properties = drawn(random, groups=groups)
        found = slices(right, labels, properties, groups=[str(g) for g in groups], seed=seed)
        assert found.tests == 25
        alarms += smallest(found) <= found.alarm
    assert alarms <= 19  # above this in one of a hundred tries, if the rate is 5%


def test_dark_pictures_that_are_answered_wrongly_are_found_and_named():
    random = np.random.default_rng(1)
    labels = np.arange(240) % 3
    pixels = random.integers(90, 200, (240, 24, 24, 3)).astype(np.uint8)
    dark = np.arange(240) % 8 < 2
    pixels[dark] //= 3
    right = random.random(240) < np.where(dark, 0.5, 0.95)
    found = slices(right, labels, Pictures((24, 24)).properties(pixels), groups=[str(i) for i in range(240)])
    brightness = found.properties[0]
    assert brightness.name == "brightness" and brightness.trend > 0 and brightness.p <= 0.01
    worst = brightness.slices[0]
    assert worst.words.startswith("darker than ") and worst.p <= 0.01
    assert worst.examples == 60 and worst.interval[0] < worst.accuracy < 0.7 < worst.elsewhere
    assert worst.interval[1] < worst.elsewhere


def test_a_hard_class_with_dark_pictures_does_not_make_dark_pictures_hard():
    random = np.random.default_rng(2)
    labels = np.repeat([0, 1], 150)
    brightness = random.normal(labels * 40.0, 15)
    right = random.random(300) < np.where(labels == 0, 0.5, 0.98)
    assert abs(np.corrcoef(brightness, right)[0, 1]) > 0.3
    found = slices(right, labels, [numbers("brightness", brightness)], groups=[str(i) for i in range(300)])
    assert smallest(found) > 0.05
    darkest = found.properties[0].slices[0]
    assert darkest.accuracy < 0.6 and abs(darkest.accuracy - darkest.elsewhere) < 0.15


def test_a_folder_is_compared_across_classes_and_one_that_is_a_class_can_not_be():
    names = [f"test/{label}/camera_{camera}/{i}.jpg" for i, (label, camera) in enumerate([("a", 1), ("b", 2)] * 2)]
    assert folders(names, ["a", "b"] * 2).names == ("camera_1", "camera_2") * 2
    assert folders(["good/1.jpg", "2.jpg"], ["good", "bad"]).names == (NONE, NONE)
    labels = np.arange(200) % 2
    camera = np.arange(200) // 50 % 2
    right = np.where(camera == 1, np.arange(200) % 3 > 0, True)
    told = Property("folder", names=tuple(f"camera_{each}" for each in camera), of="in {}")
    own = Property("class", names=tuple(f"class_{each}" for each in labels))
    found = slices(right, labels, [told, own], groups=[str(i) for i in range(200)])
    by_level = {each.level: each for prop in found.properties for each in prop.slices}
    assert by_level["camera_1"].words == "in camera_1" and by_level["camera_1"].p <= 0.01
    assert by_level["camera_1"].accuracy < 0.7 and by_level["camera_1"].elsewhere == 1
    assert by_level["class_0"].p is None and by_level["class_0"].elsewhere is None
    assert found.tests == 2


def test_frames_of_few_things_prove_nothing_and_the_worst_things_are_listed():
    groups = np.repeat(np.arange(FEWEST - 2), 50)
    right, labels = groups != 3, groups % 2
    values = numbers("p", groups + np.random.default_rng(0).random(len(groups)))
    found = slices(right, labels, [values], groups=[str(g) for g in groups], names=[f"apple {g}" for g in groups])
    assert "8 independent examples are too few" in found.untold and found.tests == 0
    assert all(each.p is None for each in found.properties[0].slices) and found.properties[0].p is None
    assert [group.name for group in found.groups] == ["apple 3"]
    assert found.groups[0].accuracy == 0 and found.groups[0].examples == 50


def test_one_thing_alone_is_no_evidence_however_many_frames_it_has():
    groups = np.repeat(np.arange(30), 20)
    right, labels = groups != 4, groups % 2
    found = slices(
        right, labels, [numbers("p", np.where(groups == 4, 9.0, groups % 5))], groups=[str(g) for g in groups]
    )
    assert smallest(found) > 0.05


@pytest.mark.parametrize("right", [np.ones(80, bool), np.zeros(80, bool)])
def test_where_all_answers_are_alike_nothing_differs_and_intervals_have_a_width(right):
    found = slices(right, np.arange(80) % 2, [numbers("p", np.arange(80))], groups=[str(i) for i in range(80)])
    assert smallest(found) == 1
    for each in found.properties[0].slices:
        assert 0 < each.interval[1] - each.interval[0] < 0.3


def test_properties_that_do_not_vary_or_are_known_of_few_are_left_out():
    few = np.where(np.arange(100) < 10, np.arange(100), np.nan)
    properties = [numbers("same", np.ones(100)), numbers("few", few), Property("name", names=("x",) * 100)]
    found = slices(np.arange(100) % 2 == 0, np.zeros(100, int), properties, groups=[str(i) for i in range(100)])
    assert found.properties == () and "no properties that vary" in found.untold


# ------------------------------------------------------------------------------------------------------ properties


def test_the_properties_of_pictures_are_what_they_are_called():
    random = np.random.default_rng(3)
    grain = random.normal(0, 30, (64, 64, 1)) * np.ones(3)
    plain = np.clip(128 + grain, 0, 255).astype(np.uint8)
    smooth = np.clip(128 + 3 * (grain + np.roll(grain, 1, 0) + np.roll(grain, 1, 1)) / 3, 0, 255).astype(np.uint8)
    pale = np.clip(128 + grain / 4, 0, 255).astype(np.uint8)
    dark = plain // 4
    red = np.array([200, 20, 20], np.uint8) * np.ones((64, 64, 1), np.uint8)
    flat = np.full((64, 64, 3), 77, np.uint8)
    pictures = np.stack([plain, smooth, pale, dark, red, flat])
    sizes = np.array([[100, 300]] * 6, np.int32)
    values = {prop.name: prop.values for prop in properties_of(Pictures((64, 64)), pictures, sizes)}
    assert values["brightness"][3] < 40 < values["brightness"][5] == pytest.approx(77, abs=0.01)
    assert values["contrast"][2] == pytest.approx(values["contrast"][0] / 4, rel=0.1) and values["contrast"][5] == 0
    assert values["sharpness"][1] < 0.8 * values["sharpness"][0]
    assert values["sharpness"][2] == pytest.approx(values["sharpness"][0], rel=0.1)  # little contrast is no blur
    assert values["colourfulness"][0] == 0 and values["colourfulness"][4] > 50
    assert (values["size"] == 100).all() and (values["elongation"] == 3).all()


def test_rows_have_their_columns_and_a_kind_that_tells_of_none_has_none():
    kind = Rows((Column("age {years}", mean=30, spread=10), Column("colour", categories=("red", "blue"))))
    age, colour = properties_of(kind, np.array([[20, 0], [40, -1]], np.float32))
    assert age.values.tolist() == [20, 40] and age.below.format(age.written(25)) == "with age {years} below 25.0"
    assert colour.names == ("red", "nothing known") and colour.of.format("red") == "with colour red"
    assert properties_of(object(), np.zeros((2, 3))) == ()


def test_the_size_of_a_picture_is_kept_as_it_was_before_it_was_resized(tmp_path):
    from PIL import Image

    for place, size in enumerate([(40, 30), (20, 50)]):
        Image.new("RGB", size, (9 * place, 0, 0)).save(tmp_path / f"{place}.png")
    deep = np.arange(24 * 36, dtype=np.uint16).reshape(24, 36)
    Image.fromarray(deep).save(tmp_path / "2.png")
    (tmp_path / "3.png").write_bytes(b"none")
    items = [Item(tmp_path / f"{place}.png", "a", f"{place}", f"{place}") for place in (3, 2, 0, 1)]
    assert read_pictures(items, (16, 16)).sizes.tolist() == [[24, 36], [30, 40], [50, 20]]


# ------------------------------------------------------------------------------------------------- errors, neighbours


def test_the_commonest_mistakes_come_with_pictures_of_different_things():
    labels = np.array([0] * 6 + [1] * 4)
    groups = ("x", "x", "x", "y", "z", "z", "p", "q", "r", "s")
    test = Split(np.zeros((10, 8, 8, 3), np.uint8), labels, tuple(map(str, range(10))), groups)
    scores = np.tile([0.1, 0.9], (10, 1))
    scores[:6, 1] = [0.9, 0.95, 0.8, 0.7, 0.6, 0.99]
    scores[6] = [0.8, 0.2]
    first, second = commonest(test, scores)
    assert (first.label, first.predicted, first.examples) == (0, 1, 6)
    assert first.places == (5, 1, 3, 0)  # the surest of z, of x and of y, then the next
    assert (second.label, second.predicted, second.places) == (1, 0, (6,))
    assert wrongest_places(test, scores)[0] in range(10)


def test_the_nearest_training_examples_are_of_different_groups_and_a_stranger_is_told():
    random = np.random.default_rng(4)
    centres = random.normal(0, 1, (10, 32))
    train = np.repeat(centres, 4, axis=0) + random.normal(0, 0.05, (40, 32))
    groups = [f"{place // 2}" for place in range(40)]
    near, far = nearest(train, groups, np.stack([centres[3], -centres.sum(axis=0)]))
    assert set(near.places[:2]) <= {12, 13, 14, 15} and len({groups[place] for place in near.places}) == 3
    assert list(near.similarities) == sorted(near.similarities, reverse=True) and near.similarities[0] > 0.95
    assert far.nearer >= 0.95 > near.nearer


def test_the_map_has_the_two_widest_directions_and_the_same_rows_the_same_places():
    random = np.random.default_rng(5)
    rows = random.normal(0, [9, 5, 1, 1, 1], (50, 5)) @ np.linalg.qr(random.normal(size=(5, 5)))[0]
    places, kept = widest(rows)
    assert kept == pytest.approx(1 - 3 / (81 + 25 + 3), abs=0.02)
    assert np.abs(places[:, 0]).std() > np.abs(places[:, 1]).std()
    assert np.array_equal(places, widest(rows)[0])
    assert widest(np.ones((4, 1)))[0].tolist() == [[0, 0]] * 4
    train, test = np.repeat(np.eye(3), 5, axis=0), np.eye(3)[[0, 1, 1]]
    labels = np.repeat(np.arange(3), 5), np.array([0, 1, 2])
    told = feature_map("before", train, test, labels, classes=3)
    assert told.alike == (1.0, 1.0, 0.0)
    assert np.abs(told.to_json()["spots"]).max() == 1
    part = Split(np.zeros((2000, 1)), np.arange(2000) % 400, ("",) * 2000, ("",) * 2000)
    assert set(part.labels[sampled(part, classes=400, seed=0)]) == set(range(400))


# ------------------------------------------------------------------------------------------------------- the page


def test_the_page_says_in_words_which_slice_is_answered_worse(tmp_path):
    results, splits, scores = made_up(images=200)
    test, dark = splits.test, np.arange(200) % 4 == 0
    test.examples[:] = np.where(dark, 30, 150 + np.arange(200) % 50)[:, None, None, None]
    scores = np.eye(2)[np.where(dark & (np.arange(200) % 8 < 4), 1 - test.labels, test.labels)] * 0.8 + 0.1
    lone = [Split(part.examples, part.labels, part.names, part.names) for part in splits.parts().values()]
    splits = type(splits)(*lone, splits.classes, 8, splits.origin, splits.digest)
    text = visible(page_of(results, splits, scores, tmp_path, failed=failed_of(splits, scores)))
    assert "Where it fails Pictures darker than 150 are answered worse: 0.50 against 1.00 of other pictures" in text
    quiet = made_up(images=200)
    calm = visible(page_of(*quiet, tmp_path, failed=failed_of(*quiet[1:])))
    assert "No slice differs beyond chance." in calm and "are answered worse" not in calm


def test_each_error_has_the_training_pictures_beside_it_and_what_they_suggest(tmp_path):
    results, splits, scores = made_up(("bad", "good", "odd"))
    page = page_of(results, splits, scores, tmp_path, failed=failed_of(splits, scores))
    told = json.loads((tmp_path / "report.json").read_text())
    assert all(len(each["nearest"]) == 3 for each in told["wrongest"])
    assert page.count('alt="Near it in training: ') == 3 * len(told["wrongest"])
    assert "Training has no picture like it." in visible(page)
    assert "Near it" not in page_of(results, splits, scores, tmp_path)
    assert {(each["label"], each["predicted"]) for each in told["confused"]} == {
        (label, said)
        for row, label in zip(told["test"]["confusion_matrix"], splits.classes, strict=True)
        for count, said in zip(row, splits.classes, strict=True)
        if count and label != said
    }


def test_the_page_of_two_thousand_pictures_stays_below_five_megabytes(tmp_path):
    results, splits, scores = made_up(tuple("abcdefghij"), images=700)
    random = np.random.default_rng(0)
    for part in splits.parts().values():
        part.examples[:] = random.integers(0, 255, part.examples.shape)  # noise packs worst
    failed = failed_of(splits, scores)
    spots = random.normal(size=(600, 2)).astype(np.float32)
    views = tuple(type(view)(view.when, 1280, 0.2, spots, (0.5,) * 10) for view in failed.insight.maps)
    insight = Insight(failed.insight.neighbours, 1400, "frozen", views, tuple(range(300)), tuple(range(300)))
    page = page_of(results, splits, scores, tmp_path, failed=Failures(failed.slices, insight))
    assert len(page) < 5_000_000
    assert page.count('<svg class="peek"') == 1200 and page.count('id="map-pictures"') == 1


# ------------------------------------------------------------------------------------------------ on three backends


@on_each_backend
def test_features_are_found_and_blocks_compared_on_each_backend(backend, tmp_path):
    facts, said = facts_from("failures_facts.py", str(tmp_path), backend=backend, PYTHONPATH=os.fspath(REPOSITORY))
    assert facts["views"] == ["before", "after"], said
    moved = facts["blocks"]
    assert moved["block_1"] == 0 and moved["block_2"] > 0
    assert facts["neighbours"] and facts["own_is_nearest"] > 0.9
    assert facts["frozen"] == {"views": ["frozen"], "blocks": {}}
    assert facts["from_scratch"] == {"views": ["after"], "blocks": {}}
